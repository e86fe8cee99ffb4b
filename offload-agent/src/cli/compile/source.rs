//! Files on the command line, each of one bridge: `FILE`, or `BRIDGE=FILE` where there are several bridges.

use std::convert::Infallible;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use flow_compiler::openflow::BridgeName;
use flow_compiler::ports::PortMap;

use super::CompileError;

/// A file, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The bridge, where it is told.
    pub bridge: Option<BridgeName>,
    /// The file; `-` is standard input.
    pub file: PathBuf,
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        // A path may hold an equals sign, the name of a bridge holds no slash.
        Ok(match text.split_once('=').filter(|(bridge, _)| !bridge.contains('/')) {
            Some((bridge, file)) => {
                Source { bridge: Some(BridgeName::from(bridge)), file: PathBuf::from(file) }
            }
            None => Source { bridge: None, file: PathBuf::from(text) },
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(bridge) = &self.bridge {
            write!(f, "{bridge}=")?;
        }
        self.file.display().fmt(f)
    }
}

impl Source {
    /// Whether it is standard input.
    pub(super) fn is_stdin(&self) -> bool {
        self.file == Path::new("-")
    }

    /// All of the file.
    pub(super) fn read(&self) -> Result<String, CompileError> {
        read(&self.file)
    }

    /// The bridge it belongs to: the one that is told, the only one there is, or the one its name begins with.
    pub(super) fn bridge(&self, ports: &PortMap) -> Result<BridgeName, CompileError> {
        let known = || known_bridges(ports);
        if let Some(bridge) = &self.bridge {
            return match ports.bridges.contains_key(bridge) {
                true => Ok(bridge.clone()),
                false => Err(CompileError::NoSuchBridge { bridge: bridge.clone(), known: known() }),
            };
        }
        let mut bridges = ports.bridges.keys();
        let (first, second) = (bridges.next(), bridges.next());
        let only = first.filter(|_| second.is_none());
        let named = only.or_else(|| self.named_after(ports));
        let which = || CompileError::WhichBridge { file: self.file.clone(), known: known() };
        named.cloned().ok_or_else(which)
    }

    /// `br-int.flows.txt` is of `br-int`.
    fn named_after<'a>(&self, ports: &'a PortMap) -> Option<&'a BridgeName> {
        let name = self.file.file_name()?.to_str()?;
        let begins = |bridge: &&BridgeName| {
            name.strip_prefix(bridge.0.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        ports.bridges.keys().find(begins)
    }
}

/// The bridges by name, with commas between.
fn known_bridges(ports: &PortMap) -> String {
    let names: Vec<&str> = ports.bridges.keys().map(|name| name.0.as_str()).collect();
    names.join(", ")
}

/// All of a file, or of standard input.
pub(super) fn read(file: &Path) -> Result<String, CompileError> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|problem| CompileError::Read { file: file.to_owned(), problem })
}

#[cfg(test)]
mod tests {
    use flow_compiler::ports::BridgePorts;

    use super::*;

    fn source(text: &str) -> Source {
        text.parse().unwrap_or_else(|never: Infallible| match never {})
    }

    fn bridges(names: &[&str]) -> PortMap {
        let one = |name: &&str| (BridgeName::from(*name), BridgePorts::default());
        PortMap { bridges: names.iter().map(one).collect() }
    }

    #[test]
    fn a_bridge_may_stand_before_its_file() {
        assert_eq!(source("br0=a.txt").bridge, Some(BridgeName::from("br0")));
        assert_eq!(source("/tmp/x=y.txt").bridge, None);
        assert_eq!(source("br0=/tmp/a=b").to_string(), "br0=/tmp/a=b");
    }

    #[test]
    fn a_file_without_a_bridge_is_of_the_only_one_or_of_the_one_in_its_name() {
        let bridge = |text: &str, names: &[&str]| source(text).bridge(&bridges(names));
        assert_eq!(bridge("a.txt", &["br0"]).unwrap(), BridgeName::from("br0"));
        let both = ["br-int", "br-provider"];
        assert_eq!(bridge("/x/br-int.flows.txt", &both).unwrap(), BridgeName::from("br-int"));
        let error = bridge("br-internal.txt", &both).unwrap_err().to_string();
        assert!(error.contains("BRIDGE=FILE") && error.contains("br-int, br-provider"), "{error}");
        assert!(bridge("br9=a.txt", &both).is_err());
    }
}
