//! What can be wrong with the input of `offload-agent compile`.

use std::path::PathBuf;

use flow_compiler::capabilities::UnknownProfile;
use flow_compiler::openflow::BridgeName;
use flow_compiler::openflow::text::ParseError;
use flow_compiler::ports::FdbError;

use super::ports::PortsFileError;
use crate::cli::Exit;

/// What is wrong with the input.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A file cannot be read.
    #[error("{file}: {problem}; give a file that can be read, or - for standard input", file = .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        problem: std::io::Error,
    },
    /// Two files are standard input.
    #[error("two of the files are both standard input; put one of them into a file")]
    StandardInputTwice,
    /// Rules, groups, meters or the TLV map cannot be understood.
    #[error("{file}: {problem}", file = .file.display())]
    Text {
        /// The file.
        file: PathBuf,
        /// Where, and what would be right.
        problem: Box<ParseError>,
    },
    /// The FDB cannot be understood.
    #[error("{file}: {problem}", file = .file.display())]
    Fdb {
        /// The file.
        file: PathBuf,
        /// Where, and what would be right.
        problem: FdbError,
    },
    /// The ports cannot be understood.
    #[error("{file}: {problem}", file = .file.display())]
    Ports {
        /// The file.
        file: PathBuf,
        /// Where, and what would be right.
        problem: PortsFileError,
    },
    /// Two files have the same bridge.
    #[error("--ports: bridge {0} is in two of the files; give each bridge once")]
    BridgeTwice(BridgeName),
    /// There are several bridges, and nothing says whose the file is.
    #[error("{file}: whose is it? write BRIDGE=FILE; the bridges are {known}", file = .file.display())]
    WhichBridge {
        /// The file.
        file: PathBuf,
        /// The bridges.
        known: String,
    },
    /// There is no such bridge.
    #[error("there is no bridge `{bridge}`; the bridges of --ports are {known}")]
    NoSuchBridge {
        /// What was asked for.
        bridge: BridgeName,
        /// What there is.
        known: String,
    },
    /// The capabilities are neither a profile nor a file.
    #[error("--capabilities: {0}; and there is no file of that name")]
    Profile(UnknownProfile),
    /// The file of capabilities cannot be understood.
    #[error("{file}: {reason}", file = .file.display())]
    Capabilities {
        /// The file.
        file: PathBuf,
        /// Where, and what is wrong.
        reason: String,
    },
    /// There is no such port.
    #[error("--from-port: there is no port `{port}`; the ports are {known}")]
    NoSuchPort {
        /// What was asked for.
        port: String,
        /// What there is.
        known: String,
    },
    /// There is no such device.
    #[error("--card and --uplink: there is no device `{name}`; the devices are {known}")]
    NoSuchDevice {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The packet to explain is none.
    #[error("--explain-packet: {0}")]
    Packet(PacketError),
    /// The file of traffic cannot be understood.
    #[error("{file}: {reason}", file = .file.display())]
    TrafficFile {
        /// The file.
        file: PathBuf,
        /// Where, and what is wrong.
        reason: String,
    },
    /// A packet of the file of traffic is none.
    #[error("{file}: {name}: {problem}", file = .file.display())]
    Traffic {
        /// The file.
        file: PathBuf,
        /// What the file calls it.
        name: String,
        /// What is wrong with it.
        problem: PacketError,
    },
    /// Standard output is gone.
    #[error("standard output: {0}")]
    Write(std::io::Error),
}

/// What is wrong with a packet that is asked about.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// It cannot be understood.
    #[error(transparent)]
    Syntax(Box<ParseError>),
    /// It comes from no port.
    #[error("it must say by which port the packet comes in: in_port=NUMBER, or in_port=NAME")]
    FromNowhere,
    /// There are several bridges, and the packet names none.
    #[error("in which bridge? write 'BRIDGE FLOW', as `ofproto/trace` takes it")]
    OfWhichBridge,
    /// It comes by a tunnel, and its header cannot be made.
    #[error("it comes by tunnel {port}: {why}")]
    OfTunnel {
        /// The port.
        port: String,
        /// What is missing, or wrong with the port.
        why: String,
    },
    /// What is said of its connection.
    #[error("ct_connections: {0}")]
    Connection(String),
}

impl CompileError {
    /// What the shell is told.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Write(_) => Exit::Failed,
            _ => Exit::BadConfig,
        }
    }
}
