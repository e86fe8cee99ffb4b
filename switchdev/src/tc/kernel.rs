//! The kernel's TC over netlink.

use std::sync::mpsc::{self, SyncSender};
use std::thread;

use netlink_packet_core::Emitable;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use tc_filter::{Attach, ChainId, Filter, FilterId, HwPolicy, IfIndex};

use super::codec::{self, Unreadable};
use super::{Applied, Dump, Observed, Op, Outcome, Sentence, Tc, TcError};
use crate::netlink::NetlinkError;
use crate::netlink::bulk::{Bulk, Reply, Request, WINDOW_MESSAGES};
use crate::netlink::request::Connection;

const NETLINK_ROUTE: isize = 0;

const NEW_QDISC: u16 = 36;
const DELETE_QDISC: u16 = 37;
const NEW_FILTER: u16 = 44;
const DELETE_FILTER: u16 = 45;
const GET_FILTER: u16 = 46;

const REPLACE: u16 = 0;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;

/// `TC_H_CLSACT`, which is also the parent of an ingress qdisc.
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;

mod errno {
    pub(super) const PERM: i32 = 1;
    pub(super) const NOENT: i32 = 2;
    pub(super) const ACCES: i32 = 13;
    pub(super) const EXIST: i32 = 17;
    pub(super) const NODEV: i32 = 19;
    pub(super) const INVAL: i32 = 22;
    pub(super) const NOSPC: i32 = 28;
    pub(super) const OPNOTSUPP: i32 = 95;
}

/// The kernel's TC, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Kernel {
    changes: Bulk,
    questions: Connection,
}

impl Kernel {
    /// Opens the sockets. It needs no rights yet.
    ///
    /// # Errors
    /// [`TcError::Socket`] where the system gives no netlink socket.
    pub fn open() -> Result<Self, TcError> {
        let changes = Bulk::open(NETLINK_ROUTE).map_err(|error| socket("opening", &error))?;
        let questions =
            Connection::open(NETLINK_ROUTE).map_err(|error| socket("opening", &error))?;
        Ok(Self { changes, questions })
    }

    /// What hangs on one chain of an attach point.
    ///
    /// # Errors
    /// As [`Tc::dump`].
    pub fn dump_chain(&mut self, attach: Attach, chain: ChainId) -> Result<Dump, TcError> {
        self.dump_of(&codec::dump_message(attach, Some(chain)), attach)
    }

    fn dump_of(&mut self, question: &[u8], attach: Attach) -> Result<Dump, TcError> {
        let what = format!("listing the filters of {attach}");
        let answers = self.questions.dump(GET_FILTER, question, &what).map_err(dump_error)?;
        let mut dump = Dump::default();
        for decoded in answers.iter().filter_map(|answer| codec::decode(answer)) {
            match decoded {
                Ok(observed) => dump.filters.push(observed),
                Err(undecoded) => dump.undecoded.push(undecoded),
            }
        }
        dump.filters.sort_by_key(|observed: &Observed| observed.filter.id());
        Ok(dump)
    }
}

impl Tc for Kernel {
    /// Messages are encoded while the kernel is busy with those before them.
    fn apply(&mut self, ops: &[Op]) -> Result<Vec<Outcome>, TcError> {
        if ops.len() <= WINDOW_MESSAGES {
            return self.apply_window(ops, encode(ops));
        }
        let (ready, windows) = mpsc::sync_channel(WINDOWS_AHEAD);
        thread::scope(|scope| {
            scope.spawn(move || encode_ahead(ops, &ready));
            let outcomes = windows.into_iter().map(|(ops, window)| self.apply_window(ops, window));
            let outcomes: Result<Vec<_>, _> = outcomes.collect();
            Ok(outcomes?.into_iter().flatten().collect())
        })
    }

    fn dump(&mut self, attach: Attach) -> Result<Dump, TcError> {
        self.dump_of(&codec::dump_message(attach, None), attach)
    }
}

impl Kernel {
    fn apply_window(
        &mut self,
        ops: &[Op],
        window: Vec<Result<Request, TcError>>,
    ) -> Result<Vec<Outcome>, TcError> {
        let (good, bad): (Vec<_>, Vec<_>) = window.into_iter().map(split).unzip();
        let good: Vec<Request> = good.into_iter().flatten().collect();
        let replies = self.changes.exchange(&good).map_err(|error| socket("sending", &error))?;
        let mut replies = replies.into_iter();
        let outcome = |(op, bad): (&Op, Option<TcError>)| match bad {
            Some(error) => Err(error),
            None => outcome(op, replies.next().unwrap_or(Reply::Lost)),
        };
        Ok(ops.iter().zip(bad).map(outcome).collect())
    }
}

/// How many windows may wait for the kernel.
const WINDOWS_AHEAD: usize = 4;

fn encode(ops: &[Op]) -> Vec<Result<Request, TcError>> {
    ops.iter().map(request).collect()
}

/// One window of ops, and what each became.
type Window<'a> = (&'a [Op], Vec<Result<Request, TcError>>);

/// Ends early where nobody waits any more: the socket has failed.
fn encode_ahead<'a>(ops: &'a [Op], ready: &SyncSender<Window<'a>>) {
    for window in ops.chunks(WINDOW_MESSAGES) {
        if ready.send((window, encode(window))).is_err() {
            return;
        }
    }
}

fn split(request: Result<Request, TcError>) -> (Option<Request>, Option<TcError>) {
    match request {
        Ok(request) => (Some(request), None),
        Err(error) => (None, Some(error)),
    }
}

/// The body of the message that adds a filter, behind the netlink header: what `tc` would send.
///
/// # Errors
/// [`TcError::Malformed`] where no message can say what the filter does.
pub fn encoded(filter: &Filter) -> Result<Vec<u8>, TcError> {
    codec::filter_message(filter).map_err(malformed)
}

fn request(op: &Op) -> Result<Request, TcError> {
    match op {
        Op::AddClsact(device) => Ok(qdisc_request(NEW_QDISC, CREATE | EXCLUSIVE, *device)),
        Op::DelClsact(device) => Ok(qdisc_request(DELETE_QDISC, 0, *device)),
        Op::Add(filter) => filter_request(filter, CREATE | EXCLUSIVE),
        Op::Replace(filter) => filter_request(filter, CREATE | REPLACE),
        Op::Delete(id) => Ok(delete_request(id)),
    }
}

fn qdisc_request(message_type: u16, flags: u16, device: IfIndex) -> Request {
    let mut message = TcMessage::with_index(device.0.cast_signed());
    message.header.handle = TcHandle::from(CLSACT_HANDLE);
    message.header.parent = TcHandle::from(CLSACT);
    message.attributes = vec![TcAttribute::Kind("clsact".to_owned())];
    let mut payload = vec![0; message.buffer_len()];
    message.emit(&mut payload);
    Request { message_type, flags, payload, acknowledge: false }
}

/// A driver has words that matter only where the filter may also run in software: elsewhere it
/// was not asked, or its words come with a refusal.
fn filter_request(filter: &Filter, flags: u16) -> Result<Request, TcError> {
    let acknowledge = filter.hw == HwPolicy::Both;
    Ok(Request { message_type: NEW_FILTER, flags, payload: encoded(filter)?, acknowledge })
}

fn delete_request(id: &FilterId) -> Request {
    let payload = codec::id_message(id);
    Request { message_type: DELETE_FILTER, flags: 0, payload, acknowledge: false }
}

fn outcome(op: &Op, reply: Reply) -> Outcome {
    match reply {
        Reply::Done { warning } => Ok(Applied { refusal: warning.map(Sentence::new) }),
        Reply::Lost => Err(TcError::AnswerLost),
        Reply::Refused { errno, sentence } => Err(refusal(op, errno, sentence)),
    }
}

/// What an error number means depends on what was asked.
fn refusal(op: &Op, number: i32, sentence: Option<String>) -> TcError {
    let silent = sentence.is_none();
    let words = sentence.map_or_else(|| Sentence::new(name_of(number)), Sentence::new);
    match (number, op) {
        (errno::PERM | errno::ACCES, _) => TcError::NotPermitted,
        (errno::NODEV, _) => TcError::NoDevice(words),
        (errno::EXIST, _) => TcError::Exists(words),
        (errno::NOSPC, _) => TcError::NoSpace(words),
        (errno::NOENT, Op::Delete(_) | Op::DelClsact(_)) => TcError::NotFound(words),
        (errno::NOENT, op) => missing_part(op, words),
        (errno::INVAL, Op::DelClsact(_)) => TcError::NotFound(words),
        (errno::INVAL, _) if words.as_str() == NO_PARENT => TcError::NoClsact(words),
        (errno::OPNOTSUPP, Op::AddClsact(_) | Op::DelClsact(_)) => no_tc(words),
        (errno::OPNOTSUPP, Op::Add(filter) | Op::Replace(filter))
            if silent && filter.hw == HwPolicy::SkipHw =>
        {
            no_tc(words)
        }
        (errno::OPNOTSUPP, _) => TcError::NotSupported(words),
        (number, _) => TcError::Refused(words, number),
    }
}

/// `__tcf_qdisc_find()`; the error number alone is that of any bad filter.
const NO_PARENT: &str = "Parent Qdisc doesn't exists";
/// `tcf_proto_lookup_ops()`.
const NO_CLASSIFIER: &str = "TC classifier not found";

/// Adding something answers ENOENT only where the kernel lacks the code for it.
fn missing_part(op: &Op, sentence: Sentence) -> TcError {
    let (part, option) = match op {
        Op::AddClsact(_) | Op::DelClsact(_) => ("clsact".to_owned(), "CONFIG_NET_SCH_INGRESS"),
        Op::Add(_) | Op::Replace(_) | Op::Delete(_) if sentence.as_str() == NO_CLASSIFIER => {
            ("flower classifier".to_owned(), "CONFIG_NET_CLS_FLOWER")
        }
        Op::Add(filter) | Op::Replace(filter) => (kinds(filter), "CONFIG_NET_ACT_*"),
        Op::Delete(_) => return TcError::NotFound(sentence),
    };
    TcError::KernelLacks { part, option, sentence }
}

fn kinds(filter: &Filter) -> String {
    let kinds: Vec<&str> = filter.actions.iter().map(tc_filter::Action::kind).collect();
    format!("TC action among {}", kinds.join(", "))
}

fn no_tc(sentence: Sentence) -> TcError {
    TcError::KernelLacks { part: "TC".to_owned(), option: "CONFIG_NET_SCHED", sentence }
}

fn name_of(number: i32) -> String {
    let text = std::io::Error::from_raw_os_error(number).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn malformed(error: Unreadable) -> TcError {
    TcError::Malformed(error.to_string())
}

fn socket(doing: &'static str, error: &dyn std::fmt::Display) -> TcError {
    TcError::Socket { doing, error: error.to_string() }
}

fn dump_error(error: NetlinkError) -> TcError {
    match error.errno() {
        Some(errno::PERM | errno::ACCES) => TcError::NotPermitted,
        Some(errno::OPNOTSUPP) => no_tc(Sentence::new(name_of(errno::OPNOTSUPP))),
        _ => TcError::DumpBroken(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use rustix::thread::CapabilitySets;

    use super::*;

    fn add(flags: &str, actions: &str) -> Op {
        let head = "dev if7 ingress prio 1 handle 0x1 protocol ip flower";
        Op::Add(format!("{head} {flags} {actions}").parse().unwrap())
    }

    fn check(op: &Op, errno: i32, sentence: Option<&str>, expected: &str) {
        let error = refusal(op, errno, sentence.map(str::to_owned));
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn without_rights_the_error_says_what_is_needed() {
        check(
            &Op::AddClsact(IfIndex(7)),
            errno::PERM,
            None,
            "TC may not be changed here: it needs root, or CAP_NET_ADMIN in this network namespace",
        );
    }

    /// The kernel asks for the capability before it looks at the device.
    #[test]
    fn a_thread_without_rights_is_refused_as_such() {
        let asked = thread::spawn(|| {
            give_up_capabilities();
            Kernel::open().unwrap().apply(&[Op::AddClsact(IfIndex(1))]).unwrap()
        });
        assert_eq!(asked.join().unwrap(), [Err(TcError::NotPermitted)]);
    }

    fn give_up_capabilities() {
        let none = rustix::thread::CapabilitySet::empty();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        rustix::thread::set_capabilities(None, sets).unwrap();
    }

    #[test]
    fn a_kernel_without_flower_is_named_as_such() {
        check(
            &add("skip_hw", "action pass"),
            errno::NOENT,
            Some(NO_CLASSIFIER),
            "the kernel has no flower classifier (TC classifier not found): \
             it needs CONFIG_NET_CLS_FLOWER",
        );
    }

    #[test]
    fn a_kernel_without_an_action_names_those_that_were_asked_for() {
        check(
            &add("", "action vlan pop pipe action ct clear pipe"),
            errno::NOENT,
            Some("Failed to load TC action module"),
            "the kernel has no TC action among vlan, ct (Failed to load TC action module): \
             it needs CONFIG_NET_ACT_*",
        );
    }

    #[test]
    fn a_kernel_without_clsact_or_without_tc_is_named_as_such() {
        let op = Op::AddClsact(IfIndex(7));
        check(
            &op,
            errno::NOENT,
            Some("Specified qdisc kind is unknown"),
            "the kernel has no clsact (Specified qdisc kind is unknown): \
             it needs CONFIG_NET_SCH_INGRESS",
        );
        check(
            &op,
            errno::OPNOTSUPP,
            None,
            "the kernel has no TC (Operation not supported): it needs CONFIG_NET_SCHED",
        );
    }

    #[test]
    fn the_drivers_words_come_with_the_refusal_of_a_hardware_filter() {
        let op = add("skip_sw", "action pass");
        check(&op, errno::OPNOTSUPP, Some("no chains here"), "not supported: no chains here");
        check(&op, errno::NOSPC, None, "no room left: No space left on device");
        check(&op, errno::INVAL, Some("bad mask"), "refused: bad mask (errno 22)");
    }

    #[test]
    fn a_filter_that_cannot_be_said_fails_alone() {
        let good = Op::Delete(match add("", "action pass") {
            Op::Add(filter) => filter.id(),
            _ => unreachable!(),
        });
        let bad = add("dst_port 80", "action pass");
        let requests: Vec<_> = [good, bad].iter().map(request).collect();
        assert!(requests[0].is_ok());
        assert!(matches!(requests[1], Err(TcError::Malformed(_))));
    }

    #[test]
    fn only_what_may_have_a_drivers_words_is_acknowledged() {
        let acknowledged = |flags| request(&add(flags, "action pass")).unwrap().acknowledge;
        assert!(acknowledged(""));
        assert!(!acknowledged("skip_sw"));
        assert!(!acknowledged("skip_hw"));
    }
}
