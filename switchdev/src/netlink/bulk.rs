//! Many changes in few system calls.
//!
//! Messages go out in windows, one `send` each. The kernel works through a window before `send`
//! returns and answers every message that failed; those that went well it answers only where an
//! acknowledgement is asked for. Asking for one with the last message of a window is enough to
//! know that the window is through. So a window of 100 changes costs two system calls and one
//! answer, not a hundred.
//!
//! Measured on a simulated node, both in the same boot (`hw-tests bench rules`): 4 to 5 times the
//! filters a second of `tc -batch`, and 0.93 to 0.97 of a loop that only sends messages that are
//! ready.
//!
//! A change that is acknowledged tells more: a driver's words for not taking a filter come back
//! with a yes. The caller asks for those messages only that can have such words.
//!
//! Should an answer be lost (`ENOBUFS`: the socket's receive buffer was full), the fate of all
//! unanswered changes of that window is unknown, and said to be so.

use std::io;

use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use super::message::{ACK, Body, REQUEST, append, decode};

/// More than this gains nothing, see `hw-tests bench rules`.
pub(crate) const WINDOW_MESSAGES: usize = 128;
/// A window must fit the socket's send buffer, which is 208 KiB unless an administrator changed it.
const WINDOW_BYTES: usize = 96 << 10;
/// Room for the answers to a window in which everything is refused, several times over.
const RECEIVE_BUFFER: usize = 4 << 20;
const RECEIVE_BYTES: usize = 64 << 10;
/// `MSG_DONTWAIT`: what the kernel has to say has been said when `send` returned.
const DO_NOT_WAIT: i32 = 0x40;
/// `ENOBUFS`.
const NO_BUFFERS: i32 = 105;

/// One change to ask for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) message_type: u16,
    pub(crate) flags: u16,
    pub(crate) payload: Vec<u8>,
    /// Whether a yes may come with words that matter.
    pub(crate) acknowledge: bool,
}

/// What came of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It was done.
    Done { warning: Option<String> },
    /// It was refused.
    Refused { errno: i32, sentence: Option<String> },
    /// It is not known what came of it.
    Lost,
}

/// A socket for many changes. It belongs to the network namespace the thread was in when it was
/// opened.
pub(crate) struct Bulk {
    socket: Socket,
    sequence: u32,
    received: Vec<u8>,
}

impl std::fmt::Debug for Bulk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bulk").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Bulk {
    /// `protocol` is a `NETLINK_*` number, 0 for links and TC.
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        // Without CAP_NET_ADMIN the default stays, and the first change is refused anyhow.
        let _ = set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER);
        Ok(Self { socket, sequence: 0, received: Vec::with_capacity(RECEIVE_BYTES) })
    }

    /// Asks for all changes, in order. The replies are as many.
    pub(crate) fn exchange(&mut self, requests: &[Request]) -> io::Result<Vec<Reply>> {
        let mut replies = Vec::with_capacity(requests.len());
        let mut rest = requests;
        while !rest.is_empty() {
            let (window, after) = rest.split_at(window_len(rest));
            replies.extend(self.exchange_window(window)?);
            rest = after;
        }
        Ok(replies)
    }

    fn exchange_window(&mut self, window: &[Request]) -> io::Result<Vec<Reply>> {
        let first = self.sequence.wrapping_add(1);
        let bytes = self.encode(window);
        self.socket.send(&bytes, 0)?;
        let mut answers = Answers::new(first, window.len());
        while self.receive(&mut answers)? {}
        Ok(answers.into_replies())
    }

    fn encode(&mut self, window: &[Request]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(WINDOW_BYTES);
        for (place, request) in (1..).zip(window) {
            let last = place == window.len();
            let ack = if last || request.acknowledge { ACK } else { 0 };
            self.sequence = self.sequence.wrapping_add(1);
            let flags = REQUEST | ack | request.flags;
            let (kind, payload) = (request.message_type, &request.payload);
            append(&mut bytes, kind, flags, self.sequence, payload);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    /// Takes one datagram of answers; `false` where there is none left.
    fn receive(&mut self, answers: &mut Answers) -> io::Result<bool> {
        self.received.clear();
        match self.socket.recv_from(&mut self.received, DO_NOT_WAIT) {
            Ok(_) => answers.take(&self.received),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.raw_os_error() == Some(NO_BUFFERS) => answers.overrun = true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}

/// How many requests go into the next window: one at least, however long it is.
fn window_len(requests: &[Request]) -> usize {
    let mut bytes = 0;
    let fits = requests.iter().take(WINDOW_MESSAGES).take_while(|request| {
        bytes += request.payload.len() + 64;
        bytes <= WINDOW_BYTES
    });
    fits.count().max(1)
}

/// The answers to one window, each in its place.
#[derive(Debug)]
struct Answers {
    first: u32,
    replies: Vec<Option<Reply>>,
    overrun: bool,
}

impl Answers {
    fn new(first: u32, count: usize) -> Self {
        Self { first, replies: vec![None; count], overrun: false }
    }

    /// An answer to another window, or one that cannot be read, is passed over: what stays
    /// unanswered is counted as lost.
    fn take(&mut self, bytes: &[u8]) {
        for answer in decode(bytes).unwrap_or_default() {
            let place = usize::try_from(answer.sequence.wrapping_sub(self.first)).ok();
            let Some(reply) = place.and_then(|place| self.replies.get_mut(place)) else { continue };
            *reply = match answer.body {
                Body::Done { warning } => Some(Reply::Done { warning }),
                Body::Refused { errno, sentence } => Some(Reply::Refused { errno, sentence }),
                Body::Data(_) => continue,
            };
        }
    }

    /// Silence means yes once the last message is answered and nothing was lost on the way.
    fn into_replies(self) -> Vec<Reply> {
        let through = !self.overrun && self.replies.last().is_some_and(Option::is_some);
        let silence = if through { Reply::Done { warning: None } } else { Reply::Lost };
        self.replies.into_iter().map(|reply| reply.unwrap_or_else(|| silence.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::message::encode;

    /// An answer of the kernel: `NLMSG_ERROR`, capped.
    fn answer(sequence: u32, errno: i32) -> Vec<u8> {
        let payload = [(-errno).to_ne_bytes().as_slice(), &[0; 16]].concat();
        encode(2, 0x100, sequence, &payload)
    }

    fn done() -> Reply {
        Reply::Done { warning: None }
    }

    fn refused(errno: i32) -> Reply {
        Reply::Refused { errno, sentence: None }
    }

    #[test]
    fn an_error_finds_its_message_and_silence_is_a_yes() {
        let mut answers = Answers::new(u32::MAX, 4);
        answers.take(&answer(1, 17));
        answers.take(&answer(2, 0));
        assert_eq!(answers.into_replies(), [done(), done(), refused(17), done()]);
    }

    #[test]
    fn without_the_last_answer_silence_is_no_answer() {
        let mut answers = Answers::new(10, 3);
        answers.take(&answer(11, 17));
        assert_eq!(answers.into_replies(), [Reply::Lost, refused(17), Reply::Lost]);
    }

    #[test]
    fn after_an_overrun_silence_is_no_answer() {
        let mut answers = Answers::new(10, 2);
        answers.overrun = true;
        answers.take(&answer(11, 0));
        assert_eq!(answers.into_replies(), [Reply::Lost, done()]);
    }

    #[test]
    fn answers_to_an_earlier_window_change_nothing() {
        let mut answers = Answers::new(10, 1);
        answers.take(&answer(9, 17));
        answers.take(&answer(10, 0));
        assert_eq!(answers.into_replies(), [done()]);
    }

    #[test]
    fn a_window_is_bounded_by_count_and_by_bytes() {
        let request = |bytes| Request {
            message_type: 0,
            flags: 0,
            payload: vec![0; bytes],
            acknowledge: false,
        };
        assert_eq!(window_len(&vec![request(100); 1000]), WINDOW_MESSAGES);
        assert_eq!(window_len(&vec![request(40 << 10); 10]), 2);
        assert_eq!(window_len(&vec![request(200 << 10); 10]), 1);
    }

    #[test]
    fn the_kernel_refuses_each_message_by_itself() {
        let mut bulk = Bulk::open(0).unwrap();
        // RTM_GETLINK for devices that are not there.
        let absent = Request {
            message_type: 18,
            flags: 0,
            payload: [[0; 4], [0xf0, 0xff, 0xff, 0x7f], [0; 4], [0; 4]].concat(),
            acknowledge: false,
        };
        let replies = bulk.exchange(&vec![absent; 300]).unwrap();
        assert_eq!(replies, vec![refused(19); 300]);
    }
}
