//! One blocking connection to a database server: for who changes something and goes.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::message::{self, Incoming};
use crate::transaction;
use crate::{Condition, JsonStream, OPEN_VSWITCH, Outcome, OvsdbError, Remote, Transaction};

/// How long an answer may take, beyond what a transaction itself waits.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// One message may not fill the memory.
const MESSAGE_LIMIT: usize = 64 << 20;
const READ_CHUNK: usize = 16 << 10;

/// A connection to the database server, which does one thing at a time.
#[derive(Debug)]
pub struct Client {
    remote: Remote,
    stream: Stream,
    incoming: JsonStream,
    requests: u64,
}

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`OvsdbError::Connect`].
    pub fn connect(remote: &Remote) -> Result<Self, OvsdbError> {
        let connect = |source| OvsdbError::Connect { remote: remote.clone(), source };
        let stream = match remote {
            Remote::Unix(path) => Stream::Unix(UnixStream::connect(path).map_err(connect)?),
            Remote::Tcp(address) => Stream::Tcp(TcpStream::connect(address).map_err(connect)?),
        };
        Ok(Self { remote: remote.clone(), stream, incoming: JsonStream::default(), requests: 0 })
    }

    /// Where it is connected to.
    #[must_use]
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Does a transaction.
    ///
    /// # Errors
    /// [`OvsdbError::Transaction`] where nothing of it was done; when the connection breaks before the answer it may
    /// have been done or not.
    pub fn transact(&mut self, transaction: &Transaction) -> Result<Outcome, OvsdbError> {
        self.transact_within(transaction, ANSWER_TIMEOUT)
    }

    fn transact_within(
        &mut self,
        transaction: &Transaction,
        patience: Duration,
    ) -> Result<Outcome, OvsdbError> {
        let answer = self.call("transact", &transaction.params(), patience)?;
        let refused = |refusal| OvsdbError::Transaction { remote: self.remote.clone(), refusal };
        transaction.outcome(&answer).map_err(refused)
    }

    /// Does a transaction that waits for something ([`Transaction::wait`]) for up to `patience`.
    ///
    /// # Errors
    /// As [`Client::transact`]; [`OvsdbError::is_wait_timeout`] when it did not come to pass.
    pub fn transact_patiently(
        &mut self,
        transaction: &Transaction,
        patience: Duration,
    ) -> Result<Outcome, OvsdbError> {
        self.transact_within(transaction, patience + ANSWER_TIMEOUT)
    }

    /// Does a transaction on the switch's configuration and waits until `ovs-vswitchd` has done what it says.
    ///
    /// # Errors
    /// As [`Client::transact`]; [`OvsdbError::is_wait_timeout`] when the transaction was done but the switch did not
    /// follow within `patience`.
    pub fn configure(
        &mut self,
        change: Transaction,
        patience: Duration,
    ) -> Result<Outcome, OvsdbError> {
        let outcome = self.transact(&transaction::ask_for_progress(change))?;
        let Some(wanted) = transaction::progress_asked_for(&outcome) else { return Ok(outcome) };
        // `cur_cfg` may already be larger, so what is waited for is that a row with at least that is there.
        let caught_up = [Condition::at_least("cur_cfg", wanted)];
        let wait =
            Transaction::on(OPEN_VSWITCH).wait_for_a_row("Open_vSwitch", &caught_up, patience);
        self.transact_patiently(&wait, patience).map(|_| outcome)
    }

    /// Whether the server answers.
    ///
    /// # Errors
    /// As every request.
    pub fn probe(&mut self) -> Result<(), OvsdbError> {
        self.call("echo", &json!([]), ANSWER_TIMEOUT).map(drop)
    }

    fn call(
        &mut self,
        method: &str,
        params: &Value,
        patience: Duration,
    ) -> Result<Value, OvsdbError> {
        self.requests += 1;
        let id = self.requests.to_string();
        self.send(&message::request(&id, method, params))?;
        let deadline = Instant::now() + patience;
        loop {
            let message = self.read_message(deadline, patience)?;
            match message::classify(message, Some(&id)) {
                Incoming::Answer(Ok(result)) => return Ok(result),
                Incoming::Answer(Err(error)) => {
                    return Err(OvsdbError::Refused { remote: self.remote.clone(), error });
                }
                Incoming::Echo(reply) => self.send(&reply)?,
                Incoming::Update(_) | Incoming::Other => {}
            }
        }
    }

    fn send(&mut self, message: &Value) -> Result<(), OvsdbError> {
        let bytes = message.to_string().into_bytes();
        let sent = match &mut self.stream {
            Stream::Unix(stream) => stream.write_all(&bytes),
            Stream::Tcp(stream) => stream.write_all(&bytes),
        };
        sent.map_err(|source| self.broke(source))
    }

    fn read_message(&mut self, deadline: Instant, patience: Duration) -> Result<Value, OvsdbError> {
        let mut chunk = vec![0; READ_CHUNK];
        loop {
            if let Some(object) = self.incoming.next_object() {
                let decode = |source| OvsdbError::Decode { remote: self.remote.clone(), source };
                return serde_json::from_slice(&object).map_err(decode);
            }
            if self.incoming.waiting() > MESSAGE_LIMIT {
                return Err(OvsdbError::TooLarge {
                    remote: self.remote.clone(),
                    limit: MESSAGE_LIMIT,
                });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.read(&mut chunk, left) {
                Ok(0) => return Err(OvsdbError::Closed { remote: self.remote.clone() }),
                Ok(count) => self.incoming.push(chunk.get(..count).unwrap_or_default()),
                Err(error) if is_timeout(&error) => {
                    return Err(OvsdbError::Silent {
                        remote: self.remote.clone(),
                        seconds: patience.as_secs(),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.broke(source)),
            }
        }
    }

    fn read(&mut self, chunk: &mut [u8], left: Duration) -> io::Result<usize> {
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match &mut self.stream {
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(left))?;
                stream.read(chunk)
            }
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(left))?;
                stream.read(chunk)
            }
        }
    }

    fn broke(&self, source: io::Error) -> OvsdbError {
        OvsdbError::Io { remote: self.remote.clone(), source }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
