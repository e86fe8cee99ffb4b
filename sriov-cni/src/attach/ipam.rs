//! IPAM by another plugin: found in `CNI_PATH`, run with our environment and a configuration on stdin.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::protocol::{BadResult, CniResult, Version};

/// A call of an IPAM plugin, as the ledger keeps it: enough to give the addresses back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delegate {
    /// The plugin.
    pub plugin: String,
    /// Where plugins are.
    pub path: Vec<PathBuf>,
    /// Its configuration.
    pub conf: Map<String, Value>,
    /// `CNI_CONTAINERID`, `CNI_IFNAME`, `CNI_NETNS`, `CNI_ARGS`.
    pub env: BTreeMap<String, String>,
    /// Addresses to try one after the other.
    pub pool: Vec<String>,
}

/// What went wrong with an IPAM plugin.
#[derive(Debug, thiserror::Error)]
pub enum IpamError {
    /// There is no such plugin.
    #[error(
        "ipam.type {plugin:?}: no such plugin in CNI_PATH ({path}); install it there (containernetworking-plugins has host-local and static)"
    )]
    NotFound {
        /// Asked for.
        plugin: String,
        /// Where was looked.
        path: String,
    },
    /// The name is none.
    #[error("ipam.type {0:?} is no plugin's name; it is the name of a file in CNI_PATH, without /")]
    Name(String),
    /// It could not be run.
    #[error("IPAM plugin {}: {source}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It says no.
    #[error("IPAM plugin {plugin}: {message}")]
    Refused {
        /// The plugin.
        plugin: String,
        /// Its code.
        code: u32,
        /// Its sentence.
        message: String,
    },
    /// It answers nonsense.
    #[error("IPAM plugin {plugin}: its result cannot be used: {source}")]
    Result {
        /// The plugin.
        plugin: String,
        /// What is wrong.
        source: BadResult,
    },
    /// No address of the pool is free.
    #[error("args.cni.ip_pool: none of {pool} could be had; the last answer: {last}")]
    Exhausted {
        /// The pool.
        pool: String,
        /// What the plugin said of the last.
        last: Box<IpamError>,
    },
}

impl IpamError {
    /// Whether the plugin says no to two verbs in the same words: it does not accept the configuration.
    pub(super) fn is_same_refusal(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Refused { code, message, .. },
                Self::Refused { code: other_code, message: other_message, .. },
            ) => code == other_code && message == other_message,
            _ => false,
        }
    }
}

impl Delegate {
    /// Asks for addresses.
    ///
    /// # Errors
    /// [`IpamError`]. Addresses may have been given; [`Delegate::release`] gives them back.
    pub fn allocate(&self) -> Result<CniResult, IpamError> {
        if self.pool.is_empty() {
            return self.result_of("ADD", &self.conf);
        }
        let mut last = None;
        for address in &self.pool {
            match self.result_of("ADD", &with_ips(&self.conf, std::slice::from_ref(address))) {
                Ok(result) => return Ok(result),
                Err(error) => last = Some(Box::new(error)),
            }
            // A plugin that failed may have kept something.
            self.release()?;
        }
        let none = || Box::new(IpamError::Name(self.plugin.clone()));
        Err(IpamError::Exhausted { pool: self.pool.join(", "), last: last.unwrap_or_else(none) })
    }

    /// Gives back what the container has of this network.
    ///
    /// # Errors
    /// [`IpamError`].
    pub fn release(&self) -> Result<(), IpamError> {
        self.run("DEL", &self.conf).map(drop)
    }

    /// Whether the plugin is there to be asked.
    ///
    /// # Errors
    /// [`IpamError::Name`], [`IpamError::NotFound`].
    pub fn is_there(&self) -> Result<(), IpamError> {
        self.program().map(drop)
    }

    /// Lets the plugin look whether all is there.
    ///
    /// # Errors
    /// [`IpamError`], with what it misses.
    pub fn check(&self, prev_result: &Value) -> Result<(), IpamError> {
        let mut conf = self.conf.clone();
        conf.insert("prevResult".to_owned(), prev_result.clone());
        self.run("CHECK", &conf).map(drop)
    }

    /// Hands GC or STATUS on. A plugin of an older version says that it does not know the verb, which is no failure.
    ///
    /// # Errors
    /// [`IpamError`].
    pub fn forward(&self, verb: &str) -> Result<(), IpamError> {
        const UNKNOWN_VERB: u32 = 4;
        match self.run(verb, &self.conf) {
            Err(IpamError::Refused { code: UNKNOWN_VERB, .. }) => Ok(()),
            answer => answer.map(drop),
        }
    }

    fn result_of(&self, verb: &str, conf: &Map<String, Value>) -> Result<CniResult, IpamError> {
        let answer = self.run(verb, conf)?;
        CniResult::from_json(&answer)
            .map_err(|source| IpamError::Result { plugin: self.plugin.clone(), source })
    }

    /// A plugin may be older than the configuration: Debian 12's do not know 1.1.0.
    fn run(&self, verb: &str, conf: &Map<String, Value>) -> Result<Value, IpamError> {
        const INCOMPATIBLE_VERSION: u32 = 1;
        match self.run_once(verb, conf) {
            Err(IpamError::Refused { code: INCOMPATIBLE_VERSION, .. }) if is_latest(conf) => {
                self.run_once(verb, &older(conf))
            }
            answer => answer,
        }
    }

    fn run_once(&self, verb: &str, conf: &Map<String, Value>) -> Result<Value, IpamError> {
        let program = self.program()?;
        let failed = |source| IpamError::Run { program: program.clone(), source };
        let path: Vec<String> = self.path.iter().map(|path| path.display().to_string()).collect();
        let mut child = Command::new(&program)
            .envs(&self.env)
            .env("CNI_COMMAND", verb)
            .env("CNI_PATH", path.join(":"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(failed)?;
        let said = exchange(&mut child, conf);
        // Whatever went wrong, it is not left running behind our back.
        let status = child.wait().map_err(failed)?;
        let said = said.map_err(failed)?;
        let answer = serde_json::from_slice(&said).unwrap_or(Value::Null);
        if status.success() { Ok(answer) } else { Err(self.refused(&answer, &said)) }
    }

    fn refused(&self, answer: &Value, stdout: &[u8]) -> IpamError {
        let said = answer.get("msg").and_then(Value::as_str).map(str::to_owned);
        let details =
            answer.get("details").and_then(Value::as_str).filter(|details| !details.is_empty());
        let message = said.unwrap_or_else(|| String::from_utf8_lossy(stdout).trim().to_owned());
        IpamError::Refused {
            plugin: self.plugin.clone(),
            code: answer
                .get("code")
                .and_then(Value::as_u64)
                .and_then(|code| u32::try_from(code).ok())
                .unwrap_or_default(),
            message: details
                .map_or_else(|| message.clone(), |details| format!("{message} ({details})")),
        }
    }

    fn program(&self) -> Result<PathBuf, IpamError> {
        if self.plugin.contains('/') || matches!(self.plugin.as_str(), "" | "." | "..") {
            return Err(IpamError::Name(self.plugin.clone()));
        }
        let candidates = self.path.iter().map(|directory: &PathBuf| directory.join(&self.plugin));
        candidates.into_iter().find(|program| is_program(program)).ok_or_else(|| {
            IpamError::NotFound {
                plugin: self.plugin.clone(),
                path: self
                    .path
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect::<Vec<_>>()
                    .join(":"),
            }
        })
    }
}

/// Gives a plugin its configuration, and reads what it says.
fn exchange(child: &mut Child, conf: &Map<String, Value>) -> io::Result<Vec<u8>> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    if let Some(mut stdin) = stdin {
        let written = stdin.write_all(Value::Object(conf.clone()).to_string().as_bytes());
        // A plugin that failed early does not read; its answer says why.
        written.or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        })?;
    }
    let mut said = Vec::new();
    if let Some(mut stdout) = stdout {
        stdout.read_to_end(&mut said)?;
    }
    Ok(said)
}

fn is_latest(conf: &Map<String, Value>) -> bool {
    conf.get("cniVersion") == Some(&json!(Version::LATEST.to_string()))
}

/// The configuration in the version before, with the result of ADD in it where there is one.
fn older(conf: &Map<String, Value>) -> Map<String, Value> {
    let mut conf = conf.clone();
    conf.insert("cniVersion".to_owned(), json!(Version::V1_0_0.to_string()));
    if let Some(result) = conf.get_mut("prevResult") {
        *result = CniResult::from_json(result).unwrap_or_default().to_json(Version::V1_0_0);
    }
    conf
}

fn is_program(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file()
}

/// The configuration with addresses asked for, in the way of the capability `ips`.
pub(crate) fn with_ips(conf: &Map<String, Value>, addresses: &[String]) -> Map<String, Value> {
    let mut conf = conf.clone();
    let runtime = conf.entry("runtimeConfig").or_insert_with(|| json!({}));
    if let Some(runtime) = runtime.as_object_mut() {
        runtime.insert("ips".to_owned(), json!(addresses));
    }
    conf
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A plugin that is this shell script.
    fn delegate(script: &str) -> (tempfile::TempDir, Delegate) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("fake");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let env = [("CNI_CONTAINERID".to_owned(), "c1".to_owned())].into();
        let conf =
            json!({"cniVersion": "1.0.0", "ipam": {"type": "fake"}}).as_object().unwrap().clone();
        let path = vec!["/nowhere".into(), dir.path().to_owned()];
        (dir, Delegate { plugin: "fake".into(), path, conf, env, pool: Vec::new() })
    }

    #[test]
    fn a_plugin_gets_the_verb_the_environment_and_the_configuration() {
        let (dir, delegate) = delegate(
            r#"cat > "$(dirname $0)/stdin"; echo "$CNI_COMMAND $CNI_CONTAINERID" > "$(dirname $0)/env"
               echo '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.5/24"}]}'"#,
        );
        assert_eq!(delegate.allocate().unwrap().ips[0].address.to_string(), "10.0.0.5/24");
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("env"), "ADD c1\n");
        assert_eq!(
            serde_json::from_str::<Value>(&read("stdin")).unwrap()["ipam"]["type"],
            json!("fake")
        );
    }

    #[test]
    fn a_refusal_is_told_in_the_plugins_words() {
        let (_dir, delegate) =
            delegate(r#"echo '{"code": 7, "msg": "no room", "details": "full"}'; exit 1"#);
        assert_eq!(
            delegate.allocate().unwrap_err().to_string(),
            "IPAM plugin fake: no room (full)"
        );
        let (_dir, delegate) = super::tests::delegate("echo hello; exit 3");
        assert_eq!(delegate.release().unwrap_err().to_string(), "IPAM plugin fake: hello");
    }

    #[test]
    fn of_a_pool_the_first_that_is_free_is_taken() {
        let (_dir, mut delegate) = delegate(
            r#"conf=$(cat); [ "$CNI_COMMAND" = DEL ] && exit 0
               case "$conf" in *10.0.0.7*) echo '{"ips":[{"address":"10.0.0.7/24"}]}';; *) echo '{"msg":"taken"}'; exit 1;; esac"#,
        );
        delegate.pool = vec!["10.0.0.6".into(), "10.0.0.7".into()];
        assert_eq!(delegate.allocate().unwrap().ips[0].address.to_string(), "10.0.0.7/24");
        delegate.pool = vec!["10.0.0.6".into()];
        let error = delegate.allocate().unwrap_err().to_string();
        assert!(
            error.contains("none of 10.0.0.6 could be had") && error.contains("taken"),
            "{error}"
        );
    }

    #[test]
    fn a_plugin_that_is_not_there_says_where_was_looked() {
        let (_dir, mut delegate) = delegate("");
        delegate.plugin = "dhcpd".into();
        let error = delegate.allocate().unwrap_err().to_string();
        assert!(
            error.starts_with("ipam.type \"dhcpd\": no such plugin in CNI_PATH (/nowhere:"),
            "{error}"
        );
        delegate.plugin = "../sh".into();
        assert!(delegate.allocate().unwrap_err().to_string().contains("is no plugin's name"));
    }

    #[test]
    fn an_older_plugin_is_asked_in_its_own_version() {
        let (_dir, mut delegate) = delegate(
            r#"case "$(cat)" in *'"cniVersion":"1.0.0"'*) echo '{"ips":[{"address":"10.0.0.5/24"}]}';;
               *) echo '{"code": 1, "msg": "incompatible CNI versions"}'; exit 1;; esac"#,
        );
        delegate.conf.insert("cniVersion".into(), json!("1.1.0"));
        assert_eq!(delegate.allocate().unwrap().ips.len(), 1);
        delegate.conf.insert("cniVersion".into(), json!("0.4.0"));
        assert!(delegate.allocate().unwrap_err().to_string().contains("incompatible"));
    }

    #[test]
    fn a_verb_that_an_older_plugin_does_not_know_is_no_failure() {
        let (_dir, delegate) =
            delegate(r#"echo '{"code": 4, "msg": "unknown CNI_COMMAND: GC"}'; exit 1"#);
        assert!(delegate.forward("GC").is_ok());
    }
}
