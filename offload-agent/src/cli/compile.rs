//! `offload-agent compile`: rules and ports from files, filters and verdicts on standard output. Nothing is touched.

mod output;
mod ports;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use flow_compiler::capabilities::{Capabilities, UnknownProfile};
use flow_compiler::openflow::text::{Names, ParseError, parse_rules};
use flow_compiler::openflow::{BridgeName, BridgeRules, Ruleset};
use flow_compiler::ports::BridgePorts;
use tc_filter::{Attach, IfIndex};

use super::Exit;
use ports::PortsFileError;

const HELP: &str = "\
The ports file is what `ovs-ofctl dump-ports-desc BRIDGE` or `ovs-ofctl show BRIDGE` prints, where every
port is taken for a port of one card and LOCAL for the bridge's own; or YAML or JSON that says more:

  bridge: br0
  ports:
    - {number: 1, name: np0, kind: uplink, switch: c0ffee}
    - {number: 2, name: np0r0, kind: representor, switch: c0ffee, link: up}
    - {number: 9, name: vxlan0, kind: tunnel}
  # kinds: uplink, representor, system, internal, patch, tunnel, bond

Examples:
  ovs-ofctl dump-flows br0 > flows; ovs-ofctl dump-ports-desc br0 > ports
  offload-agent compile --flows flows --ports ports
  ovs-ofctl dump-flows br0 | offload-agent compile --flows - --ports ports --output tc | tc -batch -
  offload-agent compile --flows flows --ports ports --capabilities mlx5 --from-port np0r0

Exit codes:
  0  compiled; a rule that cannot be offloaded is an answer, not a failure
  1  the output could not be written
  2  the command line or a file is wrong; standard error names the place and what would be right";

/// `offload-agent compile`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The rules, as `ovs-ofctl dump-flows BRIDGE` prints them; "-" is standard input.
    #[arg(long, value_name = "FILE")]
    pub flows: PathBuf,
    /// The ports of the bridge; "-" is standard input.
    #[arg(long, value_name = "FILE")]
    pub ports: PathBuf,
    /// What the card can do: nicsim, software, mlx5 or ice, or a YAML or JSON file.
    #[arg(long, value_name = "FILE|NAME", default_value = "nicsim")]
    pub capabilities: String,
    /// What to print.
    #[arg(long, value_enum, default_value = "verdicts")]
    pub output: Output,
    /// Only what concerns packets that come in by this port.
    #[arg(long, value_name = "PORT")]
    pub from_port: Option<String>,
}

/// What `compile` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line a filter, for `tc -batch`.
    Tc,
    /// Filters, verdicts and their sum, for programs.
    Json,
    /// One line a rule: what becomes of it, and why; and the sum.
    Verdicts,
}

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
    /// Both files are standard input.
    #[error("--flows and --ports are both standard input; put one of them into a file")]
    StandardInputTwice,
    /// A rule cannot be understood.
    #[error("{file}: {problem}", file = .file.display())]
    Flows {
        /// The file.
        file: PathBuf,
        /// Where, and what would be right.
        problem: Box<ParseError>,
    },
    /// The ports cannot be understood.
    #[error("{file}: {problem}", file = .file.display())]
    Ports {
        /// The file.
        file: PathBuf,
        /// Where, and what would be right.
        problem: PortsFileError,
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
    /// Standard output is gone.
    #[error("standard output: {0}")]
    Write(std::io::Error),
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

/// Compiles and prints.
///
/// # Errors
///
/// [`CompileError`] names the file and the place.
pub fn run(args: &Args) -> Result<Exit, CompileError> {
    let stdin = Path::new("-");
    if args.flows == stdin && args.ports == stdin {
        return Err(CompileError::StandardInputTwice);
    }
    let (bridge, bridge_ports) = read_ports(&args.ports)?;
    let rules = read_flows(&args.flows, &bridge_ports)?;
    let capabilities = read_capabilities(&args.capabilities)?;
    let from_port =
        args.from_port.as_deref().map(|port| find_port(port, &bridge_ports)).transpose()?;

    let ruleset = Ruleset { bridges: BTreeMap::from([(bridge.clone(), rules)]) };
    let names = device_names(&bridge_ports);
    let ports = flow_compiler::ports::PortMap { bridges: BTreeMap::from([(bridge, bridge_ports)]) };
    let compiled = flow_compiler::compile(&ruleset, &ports, &capabilities);
    let shown = output::Shown::new(&compiled, &names, from_port);
    shown.print(args.output, &mut std::io::stdout().lock()).map_err(CompileError::Write)?;
    Ok(Exit::Success)
}

fn read(file: &Path) -> Result<String, CompileError> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|problem| CompileError::Read { file: file.to_owned(), problem })
}

fn read_ports(file: &Path) -> Result<(BridgeName, BridgePorts), CompileError> {
    let text = read(file)?;
    ports::parse(&text).map_err(|problem| CompileError::Ports { file: file.to_owned(), problem })
}

fn read_flows(file: &Path, ports: &BridgePorts) -> Result<BridgeRules, CompileError> {
    let numbers = ports.ports.iter().map(|(number, port)| (port.name.clone(), *number));
    let names = Names { ports: numbers.collect(), ..Names::default() };
    let rules = parse_rules(&read(file)?, &names)
        .map_err(|error| CompileError::Flows { file: file.to_owned(), problem: Box::new(error) })?;
    Ok(rules.into_iter().collect())
}

/// A profile by name, or else a file.
fn read_capabilities(name: &str) -> Result<Capabilities, CompileError> {
    let file = Path::new(name);
    match Capabilities::profile(name) {
        Err(_) if file.exists() => serde_saphyr::from_str(&read(file)?).map_err(|error| {
            CompileError::Capabilities { file: file.to_owned(), reason: ports::first_line(&error) }
        }),
        profile => profile.map_err(CompileError::Profile),
    }
}

/// A port by its name or number.
fn find_port(wanted: &str, ports: &BridgePorts) -> Result<Attach, CompileError> {
    let named =
        |(number, port): &(&flow_compiler::openflow::OfPort, &flow_compiler::ports::Port)| {
            port.name == wanted || number.to_string() == wanted
        };
    let found = ports.ports.iter().find(named).and_then(|(_, port)| port.ifindex);
    let known: Vec<&str> = ports.ports.values().map(|port| port.name.as_str()).collect();
    found.map(|index| Attach::Ingress(IfIndex(index.0))).ok_or_else(|| CompileError::NoSuchPort {
        port: wanted.to_owned(),
        known: known.join(", "),
    })
}

fn device_names(ports: &BridgePorts) -> BTreeMap<String, IfIndex> {
    let devices = ports.ports.values();
    devices.filter_map(|port| Some((port.name.clone(), IfIndex(port.ifindex?.0)))).collect()
}
