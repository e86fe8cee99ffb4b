//! The stream of a database server: cut into objects, read as rows, and described as ports.

#![no_main]

use flow_compiler::ports::Database;
use libfuzzer_sys::fuzz_target;
use offload_agent::ovs::rows;
use ovsdb_client::JsonStream;

fuzz_target!(|bytes: &[u8]| {
    let mut stream = JsonStream::default();
    let mut database = Database::default();
    stream.push(bytes);
    while let Some(object) = stream.next_object() {
        if let Ok(value) = serde_json::from_slice(&object) {
            database.apply_all(rows::updates(&value));
        }
    }
    drop(database.ports());
});
