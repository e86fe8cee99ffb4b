//! Messages of a switch: any bytes are a message or an error.

#![no_main]

use flow_compiler::openflow::wire::{self, HEADER_LEN, Header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_LEN>() else { return };
    if let Ok(header) = Header::decode(header) {
        drop(wire::decode(&header, body));
    }
});
