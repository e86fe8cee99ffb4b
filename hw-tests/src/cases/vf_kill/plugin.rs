//! The CNI plugin as a runtime calls it, with something going wrong in the middle of it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

/// System calls that change something, or send something that does. Opening a file to write is told by what is written, and a kill
/// between the two is one before the write.
const CHANGING: &str =
    "sendto,sendmsg,write,rename,renameat2,unlink,unlinkat,fsync,ftruncate,mkdir,connect";
/// Those that bring answers, too: one that fails is an answer lost.
const TALKING: &str = "sendto,sendmsg,recvfrom,recvmsg,read,write,rename,renameat2,unlink,unlinkat,fsync,ftruncate,mkdir,connect";

/// Those that read what the kernel shows as files.
const READING: &str = "openat,readlink";
const SYSFS: &str = "\"/sys/";

const SIGKILL: i32 = 9;
/// Where Debian puts IPAM plugins.
const CNI_PATH: &str = "/usr/lib/cni";
/// What `strace` saw.
const TRACE: &str = "/run/vf-kill-trace";
/// How `strace` marks a call that it let fail.
const INJECTED: &str = "(INJECTED)";
/// The dynamic loader's status when it could not load a program.
const NOT_LOADED: i32 = 127;

/// What happens to the plugin when it enters a call. The call is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    Killed,
    Failed,
    /// It fails, and is one that reads sysfs.
    Unread,
}

/// A system call of the plugin's first thread: of those with this name the `nth`, counted from 1, as `strace` counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    name: String,
    nth: usize,
}

/// The plugin with one attachment's configuration.
#[derive(Debug)]
pub(super) struct Plugin {
    binary: PathBuf,
    conf: Value,
    netns: String,
}

/// How a call with a mishap ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It made no such call this time.
    Unhurt,
    /// It was killed, or never loaded, at this call.
    Killed(String),
    /// It succeeded although this call failed.
    Succeeded(String),
    /// It said so, when this call failed.
    Refused { call: String, error: String },
}

impl Plugin {
    pub(super) fn new(binary: PathBuf, conf: Value, netns: &Path) -> Self {
        Self { binary, conf, netns: netns.display().to_string() }
    }

    /// Calls a verb that must succeed.
    pub(super) fn done(&self, verb: &str) -> anyhow::Result<()> {
        let output = self.call(verb, None)?;
        ensure!(output.status.success(), "{verb}: {}", said(&output));
        Ok(())
    }

    /// Calls a verb that must succeed, and tells at which calls a mishap can meet it.
    pub(super) fn calls(&self, verb: &str, mishap: Mishap) -> anyhow::Result<Vec<At>> {
        let output = self.call(verb, Some(self.strace(mishap)))?;
        ensure!(output.status.success(), "{verb}: {}", said(&output));
        let concerns = |line: &str| mishap != Mishap::Unread || line.contains(SYSFS);
        Ok(calls_in(&trace()?, concerns))
    }

    /// Calls a verb with a mishap.
    pub(super) fn hurt(&self, verb: &str, mishap: Mishap, at: &At) -> anyhow::Result<Ended> {
        let what = match mishap {
            Mishap::Killed => "signal=KILL",
            Mishap::Failed | Mishap::Unread => "error=EIO",
        };
        let mut strace = self.strace(mishap);
        strace.args(["-e", &format!("inject={}:{what}:when={}", at.name, at.nth)]);
        let output = self.call(verb, Some(strace))?;
        ended(&output, &trace()?).with_context(|| format!("{verb}: {}", said(&output)))
    }

    fn strace(&self, mishap: Mishap) -> Command {
        let calls = match mishap {
            Mishap::Killed => CHANGING,
            Mishap::Failed => TALKING,
            Mishap::Unread => READING,
        };
        let mut strace = Command::new("strace");
        strace.args(["-qq", "-s", "60", "-o", TRACE, "-e", &format!("trace={calls}")]);
        strace
    }

    /// Calls a verb, of the plugin or of it below `command`.
    fn call(&self, verb: &str, command: Option<Command>) -> anyhow::Result<Output> {
        let mut command = match command {
            None => Command::new(&self.binary),
            Some(mut below) => {
                below.arg(&self.binary);
                below
            }
        };
        let mut child = command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", "kill")
            .env("CNI_IFNAME", "net1")
            .env("CNI_NETNS", &self.netns)
            .env("CNI_PATH", CNI_PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the plugin")?;
        let conf = match verb {
            "GC" => gc(&self.conf),
            _ => self.conf.clone(),
        };
        let mut input = child.stdin.take().context("no standard input")?;
        // One that was killed early does not read.
        let _ = input.write_all(conf.to_string().as_bytes());
        drop(input);
        Ok(child.wait_with_output()?)
    }
}

fn trace() -> anyhow::Result<String> {
    fs::read_to_string(TRACE).context("strace left no trace")
}

/// The calls of these lines that concern us, counted among all.
fn calls_in(trace: &str, concerns: impl Fn(&str) -> bool) -> Vec<At> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let is_name =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let mut calls = Vec::new();
    for line in trace.lines() {
        let Some((name, _)) = line.split_once('(').filter(|(name, _)| is_name(name)) else {
            continue;
        };
        let nth = seen.entry(name).or_default();
        *nth += 1;
        if concerns(line) {
            calls.push(At { name: name.to_owned(), nth: *nth });
        }
    }
    calls
}

/// `strace` ends itself as its program ended.
fn ended(output: &Output, trace: &str) -> anyhow::Result<Ended> {
    let call = trace.lines().find(|line| line.ends_with(INJECTED)).map(str::to_owned);
    match (output.status.code(), call) {
        (None, _) if output.status.signal() == Some(SIGKILL) => {
            let last = trace.lines().rev().find(|line| line.contains('('));
            Ok(Ended::Killed(last.unwrap_or("the start").to_owned()))
        }
        (Some(0), None) => Ok(Ended::Unhurt),
        (Some(0), Some(call)) => Ok(Ended::Succeeded(call)),
        (Some(NOT_LOADED), Some(call)) => Ok(Ended::Killed(call)),
        (Some(1), Some(call)) => Ok(Ended::Refused { error: sentence(output, &call)?, call }),
        (_, call) => bail!("it ended with {} at {call:?}", output.status),
    }
}

/// The call that tells the runtime.
pub(super) fn is_answer(call: &str) -> bool {
    call.starts_with("write(1,")
}

/// What a runtime is told. One that cannot be told finds nothing on the plugin's standard output.
fn sentence(output: &Output, call: &str) -> anyhow::Result<String> {
    if is_answer(call) {
        return Ok(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let error: Value = serde_json::from_slice(&output.stdout).context("no JSON on stdout")?;
    let text = error["msg"].as_str().context("an error without msg")?;
    ensure!(error["code"].is_u64(), "an error without code: {error}");
    Ok(text.to_owned())
}

/// The runtime knows of no attachment.
fn gc(conf: &Value) -> Value {
    let mut conf = conf.clone();
    conf["cni.dev/valid-attachments"] = json!([]);
    conf
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} no. {}", self.name, self.nth)
    }
}

fn said(output: &Output) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{} {}", out.trim(), err.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_their_names() {
        let trace = "write(3, \")\\n\", 2)  = 2\nfsync(3) = 0\n+++ exited (0) +++\nwrite(1, \"x\", 1) = 1\n";
        let calls = |concerns: fn(&str) -> bool| -> Vec<String> {
            calls_in(trace, concerns).iter().map(ToString::to_string).collect()
        };
        assert_eq!(calls(|_| true), ["write no. 1", "fsync no. 1", "write no. 2"]);
        assert_eq!(calls(|line| line.contains("x")), ["write no. 2"]);
    }
}
