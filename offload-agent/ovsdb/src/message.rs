//! The messages of JSON-RPC 1.0, as OVSDB uses it. A request must not carry a `jsonrpc` member: the server hangs up on it.

use serde_json::{Value, json};

/// A request that is answered under the same `id`.
#[must_use]
pub fn request(id: &str, method: &str, params: &Value) -> Value {
    json!({"id": id, "method": method, "params": params})
}

/// Whether somebody is still there, from either side.
#[must_use]
pub fn echo(id: &str) -> Value {
    request(id, "echo", &json!([]))
}

/// The answer that the server wants to its `echo`.
#[must_use]
pub fn echo_reply(request: &Value) -> Value {
    json!({"id": request.get("id"), "result": request.get("params"), "error": null})
}

/// What a message that came in is to us.
#[derive(Debug, PartialEq)]
pub enum Incoming {
    /// The answer to the request with our `id`, or the server's refusal of it, as text.
    Answer(Result<Value, String>),
    /// The server asks whether we are there; this is what it wants to hear.
    Echo(Value),
    /// Rows that changed: `<table-updates>` of a monitor.
    Update(Value),
    /// Anything else.
    Other,
}

/// Tells what a message is to who waits for an answer under `id`.
#[must_use]
pub fn classify(mut message: Value, id: Option<&str>) -> Incoming {
    match message.get("method").and_then(Value::as_str) {
        Some("echo") => return Incoming::Echo(echo_reply(&message)),
        Some("update") => {
            let tables = message.pointer_mut("/params/1").map(Value::take);
            return tables.map_or(Incoming::Other, Incoming::Update);
        }
        Some(_) => return Incoming::Other,
        None => {}
    }
    if id.is_none() || message.get("id").and_then(Value::as_str) != id {
        return Incoming::Other;
    }
    match message.get("error").filter(|error| !error.is_null()) {
        Some(error) => Incoming::Answer(Err(error.to_string())),
        None => {
            Incoming::Answer(Ok(message.get_mut("result").map(Value::take).unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_is_told_from_news() {
        let answer = json!({"id": "a", "result": [1], "error": null});
        assert_eq!(classify(answer.clone(), Some("a")), Incoming::Answer(Ok(json!([1]))));
        assert_eq!(classify(answer, Some("b")), Incoming::Other);
        let refusal = json!({"id": "a", "result": null, "error": "no"});
        assert_eq!(classify(refusal, Some("a")), Incoming::Answer(Err("\"no\"".into())));
        let update = json!({"id": null, "method": "update", "params": ["w", {"Port": {}}]});
        assert_eq!(classify(update, Some("a")), Incoming::Update(json!({"Port": {}})));
    }

    #[test]
    fn an_echo_is_answered_with_what_it_brought() {
        let echo = json!({"id": "echo", "method": "echo", "params": [5]});
        let reply = json!({"id": "echo", "result": [5], "error": null});
        assert_eq!(classify(echo, Some("echo")), Incoming::Echo(reply));
    }

    proptest! {
        #[test]
        fn any_json_is_something(method in "echo|update|stolen|", params in "[a-z]{0,3}", shape in 0..4) {
            let params = match shape { 0 => json!(params), 1 => json!([params]), 2 => json!({}), _ => Value::Null };
            let message = json!({"id": "a", "method": method, "params": params});
            let _ = classify(message, Some("a"));
            let _ = classify(json!([params]), None);
        }
    }
}
