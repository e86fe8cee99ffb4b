//! A blocking netlink connection: one question at a time, each with a time-out.
//!
//! Bulk work has its own transport. Here a request is sent, and its answers are read until the
//! kernel says it is done or refuses; answers to anything else are passed over.

use std::io;
use std::time::{Duration, Instant};

use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::error::NetlinkError;
use super::message::{ACK, Body, DUMP, REQUEST, decode, encode};

/// A change of e-switch mode makes the driver tear down and rebuild all its netdevs, which takes
/// tens of seconds on a card with many VFs.
const TIME_OUT: Duration = Duration::from_secs(120);

/// The kernel fills at most 32 KiB a `recv` (`netlink_dump()` in `net/netlink/af_netlink.c`).
const RECEIVE_BYTES: usize = 64 << 10;

/// How often a dump is asked for anew when the list changes under it.
const DUMP_ATTEMPTS: u32 = 10;

/// `MSG_DONTWAIT`.
const DONT_WAIT: i32 = 0x40;

/// More parts than the longest list has.
const MOST_PARTS: u32 = 10_000;

/// A socket of the network namespace that the thread was in when it was opened.
pub(crate) struct Connection {
    socket: Socket,
    sequence: u32,
    /// Answers may be left that nobody has read. The kernel refuses a dump while another has not been read to its end.
    unread: bool,
}

impl Connection {
    /// `protocol` is a `NETLINK_*` number, 16 for generic netlink.
    pub(crate) fn open(protocol: isize) -> Result<Self, NetlinkError> {
        let request = || format!("opening netlink protocol {protocol}");
        let socket = connect(protocol);
        let socket =
            socket.map_err(|source| NetlinkError::Socket { request: request(), source })?;
        Ok(Self { socket, sequence: 0, unread: false })
    }

    /// Sends one request and returns the payloads of its answers. `what` says in words what it is
    /// for, and starts every error's text.
    pub(crate) fn request(
        &mut self,
        message_type: u16,
        flags: u16,
        payload: &[u8],
        what: &str,
    ) -> Result<Vec<Vec<u8>>, NetlinkError> {
        let answers = self.exchange(message_type, REQUEST | ACK | flags, payload, what)?;
        Ok(answers.data)
    }

    /// Asks for a whole list; anew when it changed while the kernel was walking it.
    pub(crate) fn dump(
        &mut self,
        message_type: u16,
        payload: &[u8],
        what: &str,
    ) -> Result<Vec<Vec<u8>>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let answers = self.exchange(message_type, REQUEST | DUMP, payload, what)?;
            if !answers.interrupted {
                return Ok(answers.data);
            }
        }
        Err(NetlinkError::Interrupted { request: what.to_owned(), attempts: DUMP_ATTEMPTS })
    }

    fn exchange(
        &mut self,
        message_type: u16,
        flags: u16,
        payload: &[u8],
        what: &str,
    ) -> Result<Answers, NetlinkError> {
        if std::mem::replace(&mut self.unread, true) {
            self.pass_over_the_unread();
        }
        let answers = self.ask(message_type, flags, payload, what);
        self.unread = !matches!(answers, Ok(_) | Err(NetlinkError::Refused { .. }));
        answers
    }

    fn pass_over_the_unread(&self) {
        let mut bytes = Vec::with_capacity(RECEIVE_BYTES);
        for _ in 0..MOST_PARTS {
            bytes.clear();
            if self.socket.recv_from(&mut bytes, DONT_WAIT).is_err() {
                return;
            }
        }
    }

    fn ask(
        &mut self,
        message_type: u16,
        flags: u16,
        payload: &[u8],
        what: &str,
    ) -> Result<Answers, NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let message = encode(message_type, flags, self.sequence, payload);
        self.socket.send(&message, 0).map_err(|source| socket_error(source, what))?;
        let deadline = Instant::now() + TIME_OUT;
        let mut answers = Answers::default();
        while !answers.done {
            if Instant::now() > deadline {
                return Err(timed_out(what));
            }
            self.receive(&mut answers, what)?;
        }
        Ok(answers)
    }

    fn receive(&self, answers: &mut Answers, what: &str) -> Result<(), NetlinkError> {
        let mut bytes = Vec::with_capacity(RECEIVE_BYTES);
        self.socket.recv_from(&mut bytes, 0).map_err(|source| socket_error(source, what))?;
        answers.take(&bytes, self.sequence, what)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

/// What has come of the answers to one request.
#[derive(Debug, Default)]
struct Answers {
    data: Vec<Vec<u8>>,
    interrupted: bool,
    done: bool,
}

impl Answers {
    fn take(&mut self, bytes: &[u8], sequence: u32, what: &str) -> Result<(), NetlinkError> {
        let malformed = |reason: super::message::InvalidMessage| NetlinkError::Malformed {
            request: what.to_owned(),
            reason: reason.to_string(),
        };
        // An answer to a request that timed out may still be under way; it has another sequence.
        for answer in
            decode(bytes).map_err(malformed)?.into_iter().filter(|a| a.sequence == sequence)
        {
            self.interrupted |= answer.interrupted;
            match answer.body {
                Body::Data(payload) => self.data.push(payload.to_vec()),
                Body::Done { .. } => self.done = true,
                Body::Refused { errno, sentence } => {
                    return Err(NetlinkError::Refused {
                        request: what.to_owned(),
                        errno,
                        sentence,
                    });
                }
            }
        }
        Ok(())
    }
}

fn connect(protocol: isize) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // A kernel without extended acknowledgements (before 4.12) still answers, only without words.
    let _ = socket.set_ext_ack(true);
    let _ = socket.set_cap_ack(true);
    set_socket_timeout(&socket, Timeout::Recv, Some(TIME_OUT))?;
    Ok(socket)
}

fn socket_error(source: io::Error, what: &str) -> NetlinkError {
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::AGAIN) => timed_out(what),
        _ => NetlinkError::Socket { request: what.to_owned(), source },
    }
}

fn timed_out(what: &str) -> NetlinkError {
    NetlinkError::TimedOut { request: what.to_owned(), after: TIME_OUT }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERIC: isize = 16;
    const CONTROL_FAMILY: u16 = 16;

    #[test]
    fn the_kernel_answers_a_request_and_a_dump() {
        let mut connection = Connection::open(GENERIC).unwrap();
        // CTRL_CMD_GETFAMILY of the control family itself, by its number.
        let by_id = [3, 1, 0, 0, 6, 0, 1, 0, 16, 0, 0, 0];
        assert_eq!(connection.request(CONTROL_FAMILY, 0, &by_id, "a test").unwrap().len(), 1);
        assert!(!connection.dump(CONTROL_FAMILY, &[3, 1, 0, 0], "a test").unwrap().is_empty());
    }

    #[test]
    fn a_refusal_names_the_request() {
        let mut connection = Connection::open(GENERIC).unwrap();
        let unknown_command = [0xee, 1, 0, 0];
        let error =
            connection.request(CONTROL_FAMILY, 0, &unknown_command, "asking nonsense").unwrap_err();
        assert!(error.is(Errno::OPNOTSUPP));
        assert!(
            error.to_string().starts_with("asking nonsense: Operation not supported"),
            "{error}"
        );
    }

    /// As after a receive that failed: the kernel has more to say, and nobody listens.
    #[test]
    fn what_was_left_unread_is_in_nobodys_way() {
        const ROUTE: isize = 0;
        const GET_ROUTE: u16 = 26;
        let mut connection = Connection::open(ROUTE).unwrap();
        let every_table = [0; 12];
        let whole = connection.dump(GET_ROUTE, &every_table, "a test").unwrap();
        for _ in 0..3 {
            let message = encode(GET_ROUTE, REQUEST | DUMP, 99, &every_table);
            connection.socket.send(&message, 0).unwrap();
            connection.unread = true;
            let again = connection.dump(GET_ROUTE, &every_table, "a test").unwrap();
            assert_eq!(again.len(), whole.len());
            assert!(!connection.unread);
        }
    }

    #[test]
    fn answers_to_other_requests_are_passed_over() {
        let mut answers = Answers::default();
        answers.take(&encode(20, 0, 6, &[1]), 7, "a test").unwrap();
        answers.take(&encode(20, 0, 7, &[2]), 7, "a test").unwrap();
        assert_eq!((answers.data, answers.done), (vec![vec![2]], false));
    }
}
