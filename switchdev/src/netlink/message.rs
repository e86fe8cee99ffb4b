//! Netlink messages: the header, and the kernel's answers that are no data.
//!
//! The header (`struct nlmsghdr`) is 16 bytes: length, type, flags, sequence number, port. An answer
//! of type `NLMSG_ERROR` holds a negative errno or 0, a copy of the request (only its header, when it
//! is capped), and with `NETLINK_EXT_ACK` attributes that say in words what was wrong.

use super::attr::{Attributes, text};

pub(crate) const HEADER: usize = 16;

pub(crate) const REQUEST: u16 = 0x1;
pub(crate) const ACK: u16 = 0x4;
pub(crate) const DUMP: u16 = 0x300;

const DUMP_INTERRUPTED: u16 = 0x10;
const CAPPED: u16 = 0x100;
const ACK_TLVS: u16 = 0x200;

const TYPE_ERROR: u16 = 2;
const TYPE_DONE: u16 = 3;

const EXT_ACK_MESSAGE: u16 = 1;

/// The message with its header in front.
pub(crate) fn encode(message_type: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    append(&mut bytes, message_type, flags, sequence, payload);
    bytes
}

/// The same behind other messages.
pub(crate) fn append(
    bytes: &mut Vec<u8>,
    message_type: u16,
    flags: u16,
    sequence: u32,
    payload: &[u8],
) {
    let length = u32::try_from(HEADER + payload.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&message_type.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    // Port 0: the kernel fills in the socket's own.
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
}

/// One message of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) sequence: u32,
    /// The list changed while the kernel was walking it; it must be asked for again.
    pub(crate) interrupted: bool,
    pub(crate) body: Body<'a>,
}

/// What a message of an answer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// Data; the payload after the netlink header.
    Data(&'a [u8]),
    /// The request was carried out, or the dump is complete. The kernel may still have something to
    /// say about it, such as why a driver did not take a filter.
    Done { warning: Option<String> },
    /// The request was refused.
    Refused { errno: i32, sentence: Option<String> },
}

/// Bytes that are no netlink messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes are no netlink message")]
pub(crate) struct InvalidMessage(pub(crate) usize);

/// The messages in what one `recv` returned.
pub(crate) fn decode(mut bytes: &[u8]) -> Result<Vec<Answer<'_>>, InvalidMessage> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let length = usize::try_from(word(bytes, 0)?).map_err(|_| InvalidMessage(bytes.len()))?;
        let message = bytes.get(..length).filter(|m| m.len() >= HEADER);
        let message = message.ok_or(InvalidMessage(bytes.len()))?;
        answers.push(decode_one(message)?);
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    Ok(answers)
}

fn decode_one(message: &[u8]) -> Result<Answer<'_>, InvalidMessage> {
    let (message_type, flags) = (half(message, 4)?, half(message, 6)?);
    let payload = &message[HEADER..];
    let body = match message_type {
        TYPE_ERROR => acknowledgement(payload, flags)?,
        TYPE_DONE => done(payload, flags),
        _ => Body::Data(payload),
    };
    let interrupted = flags & DUMP_INTERRUPTED != 0;
    Ok(Answer { sequence: word(message, 8)?, interrupted, body })
}

fn acknowledgement(payload: &[u8], flags: u16) -> Result<Body<'_>, InvalidMessage> {
    let errno = word(payload, 0)?.cast_signed().wrapping_neg();
    let request = if flags & CAPPED != 0 { HEADER } else { word(payload, 4)? as usize };
    let words = payload.get(request.saturating_add(4).next_multiple_of(4)..);
    let sentence = words.filter(|_| flags & ACK_TLVS != 0).and_then(sentence);
    if errno == 0 {
        return Ok(Body::Done { warning: sentence });
    }
    Ok(Body::Refused { errno, sentence })
}

/// A dump may end in an error too: `NLMSG_DONE` then holds the errno, and no copy of the request.
fn done(payload: &[u8], flags: u16) -> Body<'_> {
    let errno = word(payload, 0).unwrap_or(0).cast_signed().wrapping_neg();
    if errno <= 0 {
        return Body::Done { warning: None };
    }
    let words = payload.get(4..).filter(|_| flags & ACK_TLVS != 0);
    Body::Refused { errno, sentence: words.and_then(sentence) }
}

fn sentence(attributes: &[u8]) -> Option<String> {
    Attributes::parse(attributes).ok()?.get(EXT_ACK_MESSAGE).and_then(text)
}

fn word(bytes: &[u8], at: usize) -> Result<u32, InvalidMessage> {
    let word = bytes.get(at..at.saturating_add(4)).and_then(|b| b.try_into().ok());
    word.map(u32::from_ne_bytes).ok_or(InvalidMessage(bytes.len()))
}

fn half(bytes: &[u8], at: usize) -> Result<u16, InvalidMessage> {
    let half = bytes.get(at..at.saturating_add(2)).and_then(|b| b.try_into().ok());
    half.map(u16::from_ne_bytes).ok_or(InvalidMessage(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::super::attr::Writer;
    use super::*;
    use proptest::prelude::*;

    /// An `NLMSG_ERROR` as the kernel builds it in `netlink_ack()`.
    fn refusal(flags: u16, request: &[u8], sentence: &str) -> Vec<u8> {
        let mut payload = (-16_i32).to_ne_bytes().to_vec();
        payload.extend(request);
        payload.extend(Writer::default().string(EXT_ACK_MESSAGE, sentence).into_bytes());
        encode(TYPE_ERROR, flags, 9, &payload)
    }

    fn check_refusal(bytes: &[u8]) {
        let sentence = Some("eswitch is busy".to_owned());
        let body = Body::Refused { errno: 16, sentence };
        assert_eq!(decode(bytes), Ok(vec![Answer { sequence: 9, interrupted: false, body }]));
    }

    #[test]
    fn a_refusal_keeps_the_drivers_sentence() {
        let request = encode(20, REQUEST | ACK, 9, &[1, 2, 3, 4, 5, 6, 7, 8]);
        check_refusal(&refusal(ACK_TLVS, &request, "eswitch is busy"));
        check_refusal(&refusal(ACK_TLVS | CAPPED, &request[..HEADER], "eswitch is busy"));
    }

    #[test]
    fn errno_zero_is_yes() {
        let bytes = encode(TYPE_ERROR, CAPPED, 3, &[0; 20]);
        assert_eq!(decode(&bytes).unwrap()[0].body, Body::Done { warning: None });
    }

    #[test]
    fn a_yes_may_come_with_a_warning() {
        let words = Writer::default().string(EXT_ACK_MESSAGE, "not in hardware").into_bytes();
        let payload = [&[0; 20][..], &words].concat();
        let bytes = encode(TYPE_ERROR, CAPPED | ACK_TLVS, 3, &payload);
        let warning = Some("not in hardware".to_owned());
        assert_eq!(decode(&bytes).unwrap()[0].body, Body::Done { warning });
    }

    #[test]
    fn a_dump_that_ends_in_an_error_is_refused() {
        let bytes = encode(TYPE_DONE, 0x2, 3, &(-95_i32).to_ne_bytes());
        assert_eq!(decode(&bytes).unwrap()[0].body, Body::Refused { errno: 95, sentence: None });
    }

    #[test]
    fn one_recv_may_hold_several_messages() {
        let mut bytes = encode(20, 0x2 | DUMP_INTERRUPTED, 1, &[7]);
        bytes.resize(20, 0);
        bytes.extend(encode(TYPE_DONE, 0x2, 1, &[0; 4]));
        let answers = decode(&bytes).unwrap();
        assert_eq!((answers[0].interrupted, answers[0].body.clone()), (true, Body::Data(&[7])));
        assert_eq!(answers[1].body, Body::Done { warning: None });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }

        #[test]
        fn any_error_answer_is_read_or_refused(flags: u16, payload: Vec<u8>) {
            let _ = decode(&encode(TYPE_ERROR, flags, 1, &payload));
            let _ = decode(&encode(TYPE_DONE, flags, 1, &payload));
        }
    }
}
