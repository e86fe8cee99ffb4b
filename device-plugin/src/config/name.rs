//! `intel.com/sriov_a`: what pods ask for, and what files and variables are named after.

use std::fmt;
use std::str::FromStr;

/// A resource's name with its prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceName {
    prefix: String,
    name: String,
}

/// A prefix or name that Kubernetes or a file system would not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The part before the slash.
    #[error("give a DNS name in small letters such as intel.com, and none of kubernetes.io")]
    Prefix,
    /// The part after the slash.
    #[error("give letters, digits, '_' and '-' only, a letter or digit first and last, 63 at most")]
    Name,
    /// There is no slash.
    #[error("give PREFIX/NAME, such as intel.com/sriov")]
    NoSlash,
}

/// Kubernetes' limit for the prefix of a qualified name is 253, and a quota puts `requests.` before it.
const MAX_PREFIX: usize = 253 - "requests.".len();
/// Kubernetes' limit for the name behind the prefix.
const MAX_NAME: usize = 63;

impl ResourceName {
    /// A name from its parts, by the rules of kubelet, which would refuse any other when it is registered.
    ///
    /// # Errors
    /// [`InvalidName`], saying which part is wrong.
    pub fn new(prefix: &str, name: &str) -> Result<Self, InvalidName> {
        let in_prefix =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
        let in_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !fits(prefix, MAX_PREFIX, in_prefix) || !is_dns_name(prefix) || is_native(prefix) {
            return Err(InvalidName::Prefix);
        }
        if !fits(name, MAX_NAME, in_name) || !has_plain_ends(name) {
            return Err(InvalidName::Name);
        }
        Ok(Self { prefix: prefix.to_owned(), name: name.to_owned() })
    }

    /// The part before the slash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The part after the slash.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the socket that kubelet asks.
    #[must_use]
    pub fn socket(&self) -> String {
        format!("{}_{}.sock", self.prefix, self.name)
    }

    /// The variable that a container finds its devices in. Dots become underscores; a dash stays, as in
    /// `sriov-network-device-plugin`, though no shell can read such a variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("PCIDEVICE_{}_{}", self.prefix, self.name).replace('.', "_").to_uppercase()
    }

    /// The name as a part of a file's name.
    #[must_use]
    pub fn file_stem(&self) -> String {
        format!("{}-{}", self.prefix, self.name)
    }
}

fn fits(text: &str, most: usize, allowed: impl Fn(u8) -> bool) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(allowed)
}

/// Kubernetes' own resources are nobody's to offer.
fn is_native(prefix: &str) -> bool {
    prefix.ends_with("kubernetes.io") || prefix.starts_with("requests.")
}

fn has_plain_ends(name: &str) -> bool {
    let plain = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    plain(name.as_bytes().first()) && plain(name.as_bytes().last())
}

fn is_dns_name(text: &str) -> bool {
    text.split('.').all(|part| !part.is_empty() && !part.starts_with('-') && !part.ends_with('-'))
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.prefix, self.name)
    }
}

impl FromStr for ResourceName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (prefix, name) = text.split_once('/').ok_or(InvalidName::NoSlash)?;
        Self::new(prefix, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_and_variables_follow_from_it() {
        let name: ResourceName = "intel.com/sriov-net_a".parse().unwrap();
        assert_eq!(name.variable(), "PCIDEVICE_INTEL_COM_SRIOV-NET_A");
        assert_eq!(name.socket(), "intel.com_sriov-net_a.sock");
        assert_eq!(name.file_stem(), "intel.com-sriov-net_a");
    }

    #[test]
    fn what_kubernetes_would_not_take_is_refused() {
        let texts = [
            "sriov",
            "/a",
            "a/",
            "a/b/c",
            "intel..com/a",
            "-x/a",
            "a b/c",
            "x/a.b",
            "../a",
            "Intel.com/a",
            "x/_a",
            "x/a-",
            "node.kubernetes.io/a",
            "requests.x/a",
        ];
        for text in texts {
            assert!(text.parse::<ResourceName>().is_err(), "{text}");
        }
        assert_eq!(ResourceName::new("x", &"a".repeat(64)), Err(InvalidName::Name));
    }
}
