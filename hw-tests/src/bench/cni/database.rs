//! An OVSDB server that answers at once, as `ovsdb-server` and an idle `ovs-vswitchd` would: one bridge, and the port that was added last.

use std::io::{BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};

/// The row of the port, while there is one.
type Port = Arc<Mutex<Option<Value>>>;

const ROW: &str = "8f3a3c1e-1f0a-4c5e-9b1d-000000000001";

/// Serves for as long as this process lives.
pub(super) fn serve(socket: &Path) -> std::io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    let port = Port::default();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let port = Arc::clone(&port);
            // A client that goes away is done.
            thread::spawn(move || drop(answer_all(&stream, &port)));
        }
    });
    Ok(())
}

fn answer_all(mut stream: &UnixStream, port: &Port) -> anyhow::Result<()> {
    let requests = serde_json::Deserializer::from_reader(BufReader::new(stream));
    for request in requests.into_iter::<Value>() {
        let request = request?;
        let operations = request["params"].as_array().into_iter().flatten().skip(1);
        let results: Vec<Value> = operations.map(|operation| result(operation, port)).collect();
        let answer = json!({"id": request["id"], "result": results, "error": null});
        stream.write_all(answer.to_string().as_bytes())?;
    }
    Ok(())
}

fn result(operation: &Value, port: &Port) -> Value {
    let mut port = port.lock().unwrap_or_else(PoisonError::into_inner);
    let table = operation["table"].as_str().unwrap_or_default();
    match operation["op"].as_str().unwrap_or_default() {
        "select" => json!({"rows": rows(table, port.as_ref())}),
        "insert" => {
            if table == "Port" {
                *port = Some(operation["row"].clone());
            }
            json!({"uuid": ["uuid", ROW]})
        }
        "mutate" | "update" | "delete" => {
            if operation["mutations"][0][1] == "delete" {
                *port = None;
            }
            json!({"count": 1})
        }
        _ => json!({}),
    }
}

fn rows(table: &str, port: Option<&Value>) -> Vec<Value> {
    let none = json!(["set", []]);
    match (table, port) {
        ("Bridge", _) => {
            vec![json!({"_uuid": ["uuid", ROW], "name": "br0", "ports": none, "mirrors": none})]
        }
        ("Port", Some(row)) => {
            vec![json!({"_uuid": ["uuid", ROW], "external_ids": row["external_ids"]})]
        }
        ("Interface", Some(_)) => vec![json!({"ofport": 1, "error": none})],
        ("Open_vSwitch", _) => vec![json!({"next_cfg": 1})],
        _ => Vec::new(),
    }
}
