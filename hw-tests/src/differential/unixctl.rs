//! The control socket of an Open vSwitch daemon: what `ovs-appctl` speaks, on one connection that stays.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// A daemon that does not answer for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
const CHUNK: usize = 1 << 16;

/// A connection to a daemon.
#[derive(Debug)]
pub(crate) struct UnixCtl {
    socket: UnixStream,
    received: Vec<u8>,
    asked: u64,
}

impl UnixCtl {
    /// Connects to a `.ctl` socket.
    pub(crate) fn connect(path: &Path) -> anyhow::Result<UnixCtl> {
        let socket = UnixStream::connect(path).with_context(|| path.display().to_string())?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(UnixCtl { socket, received: Vec::new(), asked: 0 })
    }

    /// Asks, and waits for the answer: the text, or the daemon's own complaint.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        words: &[&str],
    ) -> anyhow::Result<Result<String, String>> {
        self.asked += 1;
        let request = json!({ "id": self.asked, "method": method, "params": words });
        self.socket.write_all(request.to_string().as_bytes())?;
        let answer = self.answer()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match &answer["error"] {
            Value::Null => Ok(Ok(text(&answer["result"]))),
            complaint => Ok(Err(text(complaint))),
        }
    }

    /// The next whole JSON value; the daemon puts nothing between them.
    fn answer(&mut self) -> anyhow::Result<Value> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.received).into_iter();
            if let Some(Ok(value)) = values.next() {
                let used = values.byte_offset();
                self.received.drain(..used);
                return Ok(value);
            }
            match self.socket.read(&mut chunk)? {
                0 => bail!("ovs-vswitchd has closed its control socket"),
                length => self.received.extend_from_slice(&chunk[..length]),
            }
        }
    }
}
