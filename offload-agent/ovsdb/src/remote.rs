//! Where a database server listens, in OVS's own spelling: `unix:/run/openvswitch/db.sock`, `tcp:127.0.0.1:6640`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a database server listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remote {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A TCP port, as `HOST:PORT`.
    Tcp(String),
}

/// The text names no server that we can speak to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRemote {
    /// TLS.
    #[error("{0:?} asks for TLS, which is not spoken here; use the node's own unix:/PATH")]
    Tls(String),
    /// Anything else.
    #[error("{0:?} is not unix:/PATH, a /PATH, or tcp:HOST:PORT")]
    Other(String),
}

impl Remote {
    /// Where OVS's packages put the socket.
    #[must_use]
    pub fn default_socket() -> Self {
        Self::Unix(PathBuf::from("/var/run/openvswitch/db.sock"))
    }
}

impl From<&Path> for Remote {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

impl FromStr for Remote {
    type Err = InvalidRemote;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if path.starts_with('/') {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        if text.starts_with("ssl:") {
            return Err(InvalidRemote::Tls(text.to_owned()));
        }
        let tcp = text.strip_prefix("tcp:").filter(|address| has_port(address));
        tcp.map(|address| Self::Tcp(address.to_owned()))
            .ok_or_else(|| InvalidRemote::Other(text.to_owned()))
    }
}

fn has_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_spelt_as_ovs_spells_them() {
        let socket = Remote::Unix("/run/db.sock".into());
        assert_eq!("unix:/run/db.sock".parse(), Ok(socket.clone()));
        assert_eq!("/run/db.sock".parse(), Ok(socket));
        assert_eq!("tcp:[::1]:6640".parse(), Ok(Remote::Tcp("[::1]:6640".into())));
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_the_remedy() {
        let refusal = |text: &str| text.parse::<Remote>().unwrap_err().to_string();
        assert!(refusal("ssl:10.0.0.1:6640").contains("unix:/PATH"));
        for text in ["", "db.sock", "tcp:", "tcp:host", "tcp::1", "tcp:host:99999"] {
            assert!(refusal(text).contains("is not unix:/PATH"), "{text}");
        }
    }
}
