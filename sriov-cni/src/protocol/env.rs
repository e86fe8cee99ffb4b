//! What a runtime says in the environment: the verb, the container, its network namespace and interface.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the runtime wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Attach a container to the network.
    Add,
    /// Give everything back.
    Del,
    /// Is the attachment as ADD left it?
    Check,
    /// Give back all attachments but those that are listed.
    Gc,
    /// Could an ADD succeed now?
    Status,
    /// Which versions are spoken here?
    Version,
}

/// The container's end of an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_NETNS`; a DEL may come without it.
    pub netns: Option<PathBuf>,
}

/// A call, as its environment tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What is wanted.
    pub verb: Verb,
    /// Of which attachment; GC, STATUS and VERSION are of none.
    pub attachment: Option<Attachment>,
    /// `CNI_ARGS`, by name.
    pub args: BTreeMap<String, String>,
    /// `CNI_PATH`: where other plugins are.
    pub path: Vec<PathBuf>,
}

/// The pod, as a Kubernetes runtime names it in `CNI_ARGS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodIdentity {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`; older runtimes do not say.
    pub uid: String,
}

/// A variable of the environment is missing or wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// No verb of the specification.
    #[error("CNI_COMMAND is {0:?}; it must be ADD, DEL, CHECK, GC, STATUS or VERSION")]
    Verb(String),
    /// A variable that this verb needs is not set.
    #[error("{variable} is not set; the runtime must set it to {wanted}")]
    Missing {
        /// The variable.
        variable: &'static str,
        /// What it should hold.
        wanted: &'static str,
    },
    /// A variable makes no sense.
    #[error("{variable} is {value:?}; it must be {wanted}")]
    Invalid {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        wanted: &'static str,
    },
}

const CONTAINER_WANTED: &str = "a container's id: letters, digits, and . _ - after the first";
const IFNAME_WANTED: &str =
    "an interface's name: 1 to 15 bytes without / : or white space, and not . or ..";
const NETNS_WANTED: &str = "the path of the container's network namespace";
/// The kernel's `IFNAMSIZ`, without its NUL.
const IFNAME_LIMIT: usize = 15;

impl Call {
    /// Reads the environment by name.
    ///
    /// # Errors
    /// [`EnvError`] naming the variable.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        let verb = read_verb(&variable("CNI_COMMAND").unwrap_or_default())?;
        let paths = variable("CNI_PATH").unwrap_or_default();
        Ok(Self {
            verb,
            attachment: read_attachment(verb, &variable)?,
            args: read_args(&variable("CNI_ARGS").unwrap_or_default())?,
            path: paths.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect(),
        })
    }

    /// The pod, where the runtime is one of Kubernetes.
    #[must_use]
    pub fn pod(&self) -> Option<PodIdentity> {
        let arg = |name: &str| self.args.get(name).cloned();
        Some(PodIdentity {
            namespace: arg("K8S_POD_NAMESPACE")?,
            name: arg("K8S_POD_NAME")?,
            uid: arg("K8S_POD_UID").unwrap_or_default(),
        })
    }
}

fn read_verb(text: &str) -> Result<Verb, EnvError> {
    Ok(match text {
        "ADD" => Verb::Add,
        "DEL" => Verb::Del,
        "CHECK" => Verb::Check,
        "GC" => Verb::Gc,
        "STATUS" => Verb::Status,
        "VERSION" => Verb::Version,
        _ => return Err(EnvError::Verb(text.to_owned())),
    })
}

fn read_attachment(
    verb: Verb,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<Option<Attachment>, EnvError> {
    if matches!(verb, Verb::Gc | Verb::Status | Verb::Version) {
        return Ok(None);
    }
    let container = require("CNI_CONTAINERID", CONTAINER_WANTED, variable)?;
    check("CNI_CONTAINERID", &container, CONTAINER_WANTED, is_container)?;
    let ifname = require("CNI_IFNAME", IFNAME_WANTED, variable)?;
    check("CNI_IFNAME", &ifname, IFNAME_WANTED, is_ifname)?;
    let netns = match verb {
        Verb::Del => variable("CNI_NETNS").filter(|path| !path.is_empty()),
        _ => Some(require("CNI_NETNS", NETNS_WANTED, variable)?),
    };
    Ok(Some(Attachment { container, ifname, netns: netns.map(PathBuf::from) }))
}

fn require(
    name: &'static str,
    wanted: &'static str,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<String, EnvError> {
    let value = variable(name).filter(|value| !value.is_empty());
    value.ok_or(EnvError::Missing { variable: name, wanted })
}

fn check(
    variable: &'static str,
    value: &str,
    wanted: &'static str,
    right: impl Fn(&str) -> bool,
) -> Result<(), EnvError> {
    if right(value) {
        return Ok(());
    }
    Err(EnvError::Invalid { variable, value: value.to_owned(), wanted })
}

fn is_container(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// What the kernel takes for a name (`dev_valid_name()` in `net/core/dev.c`).
pub(crate) fn is_ifname(text: &str) -> bool {
    (1..=IFNAME_LIMIT).contains(&text.len())
        && !matches!(text, "." | "..")
        && !text
            .bytes()
            .any(|byte| byte == b'/' || byte == b':' || byte.is_ascii_whitespace() || byte == 0)
}

/// `NAME=VALUE;NAME=VALUE`.
fn read_args(text: &str) -> Result<BTreeMap<String, String>, EnvError> {
    let pair = |word: &str| {
        let pair = word.split_once('=').filter(|(name, _)| !name.is_empty());
        let pair = pair.map(|(name, value)| (name.to_owned(), value.to_owned()));
        pair.ok_or_else(|| EnvError::Invalid {
            variable: "CNI_ARGS",
            value: word.to_owned(),
            wanted: "NAME=VALUE pairs with ; between them",
        })
    };
    text.split(';').filter(|word| !word.is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(changes: &[(&str, &str)]) -> Result<Call, String> {
        let mut variables = BTreeMap::from([
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c-1"),
            ("CNI_IFNAME", "net1"),
            ("CNI_NETNS", "/run/netns/pod"),
            ("CNI_PATH", "/opt/cni/bin:/usr/lib/cni"),
        ]);
        variables.extend(changes.iter().copied());
        Call::read(|name| variables.get(name).map(ToString::to_string))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_call_is_read() {
        let call =
            read(&[("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=web")]).unwrap();
        assert_eq!((call.verb, call.path.len()), (Verb::Add, 2));
        let pod = call.pod().unwrap();
        assert_eq!((pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str()), ("a", "web", ""));
    }

    #[test]
    fn del_comes_without_a_namespace_and_the_others_do_not() {
        let del = read(&[("CNI_COMMAND", "DEL"), ("CNI_NETNS", "")]).unwrap();
        assert_eq!(del.attachment.unwrap().netns, None);
        let error = read(&[("CNI_NETNS", "")]).unwrap_err();
        assert!(error.starts_with("CNI_NETNS is not set; the runtime must set it to"), "{error}");
    }

    #[test]
    fn each_wrong_variable_is_named() {
        let wrong = [
            ("CNI_COMMAND", "add"),
            ("CNI_CONTAINERID", "../c"),
            ("CNI_IFNAME", "a-name-that-is-too-long"),
            ("CNI_IFNAME", ".."),
            ("CNI_ARGS", "MAC"),
        ];
        for (variable, value) in wrong {
            let error = read(&[(variable, value)]).unwrap_err();
            assert!(error.starts_with(variable) && error.contains(value), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_environment_is_read_or_refused(
            verb in "ADD|DEL|GC|.{0,4}", container in ".{0,20}", ifname in ".{0,20}", args in ".{0,40}"
        ) {
            let _ = read(&[
                ("CNI_COMMAND", &verb), ("CNI_CONTAINERID", &container), ("CNI_IFNAME", &ifname), ("CNI_ARGS", &args),
            ]);
        }
    }
}
