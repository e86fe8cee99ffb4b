//! What shall change in the database, as a value (RFC 7047, section 5.2): all of it happens, or nothing.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::Uuid;

/// Which rows an operation is about: those for which every condition holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition(Value);

impl Condition {
    /// The row with this UUID.
    #[must_use]
    pub fn row(uuid: &Uuid) -> Self {
        Self(json!(["_uuid", "==", uuid.to_json()]))
    }

    /// A column has this value.
    #[must_use]
    pub fn is(column: &str, value: impl Into<Value>) -> Self {
        Self(json!([column, "==", value.into()]))
    }

    /// A set or map has these elements, and perhaps others.
    #[must_use]
    pub fn includes(column: &str, value: impl Into<Value>) -> Self {
        Self(json!([column, "includes", value.into()]))
    }

    /// A number is at least this.
    #[must_use]
    pub fn at_least(column: &str, value: i64) -> Self {
        Self(json!([column, ">=", value]))
    }
}

/// How a column is changed from what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutator {
    /// Elements come to a set or map; keys that are there keep their value.
    Insert,
    /// Elements go from a set or map; what is not there is not missed.
    Delete,
    /// A number grows.
    Add,
}

/// What a [`Transaction::wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The columns are as given.
    Equal,
    /// They are anything else.
    NotEqual,
}

/// Operations that happen together or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    database: String,
    operations: Vec<Value>,
}

impl Transaction {
    /// One without operations, on this database.
    #[must_use]
    pub fn on(database: &str) -> Self {
        Self { database: database.to_owned(), operations: Vec::new() }
    }

    /// A new row. Other operations refer to it by [`named_uuid`](crate::value::named_uuid) with `name`.
    #[must_use]
    pub fn insert(self, table: &str, name: &str, row: Map<String, Value>) -> Self {
        self.with(json!({"op": "insert", "table": table, "uuid-name": name, "row": row}))
    }

    /// Columns get new values.
    #[must_use]
    pub fn update(self, table: &str, rows: &[Condition], columns: Map<String, Value>) -> Self {
        self.with(
            json!({"op": "update", "table": table, "where": conditions(rows), "row": columns}),
        )
    }

    /// A column is changed from what it is.
    #[must_use]
    pub fn mutate(
        self,
        table: &str,
        rows: &[Condition],
        column: &str,
        mutator: Mutator,
        value: impl Into<Value>,
    ) -> Self {
        let mutation = json!([column, mutator.to_string(), value.into()]);
        self.with(json!({"op": "mutate", "table": table, "where": conditions(rows), "mutations": [mutation]}))
    }

    /// Rows go.
    #[must_use]
    pub fn delete(self, table: &str, rows: &[Condition]) -> Self {
        self.with(json!({"op": "delete", "table": table, "where": conditions(rows)}))
    }

    /// Reads columns of rows.
    #[must_use]
    pub fn select(self, table: &str, rows: &[Condition], columns: &[&str]) -> Self {
        self.with(
            json!({"op": "select", "table": table, "where": conditions(rows), "columns": columns}),
        )
    }

    /// Waits until the columns of the rows are, or are not, those of `expected`: nothing of the transaction happens
    /// before, and none of it when the time is up. With no time, it is a condition for all the rest.
    #[must_use]
    pub fn wait(
        self,
        table: &str,
        rows: &[Condition],
        until: Until,
        expected: &[Map<String, Value>],
        timeout: Duration,
    ) -> Self {
        let columns: Vec<&String> =
            expected.first().map(|row| row.keys().collect()).unwrap_or_default();
        let until = if until == Until::Equal { "==" } else { "!=" };
        self.with(json!({
            "op": "wait", "table": table, "where": conditions(rows), "columns": columns, "until": until,
            "rows": expected, "timeout": milliseconds(timeout),
        }))
    }

    /// Waits until there is a row for which the conditions hold.
    #[must_use]
    pub fn wait_for_a_row(self, table: &str, rows: &[Condition], timeout: Duration) -> Self {
        self.with(json!({
            "op": "wait", "table": table, "where": conditions(rows), "columns": ["_uuid"], "until": "!=",
            "rows": [], "timeout": milliseconds(timeout),
        }))
    }

    /// Nothing of the transaction happens, though all of it was tried: for a dry run.
    #[must_use]
    pub fn abort(self) -> Self {
        self.with(json!({"op": "abort"}))
    }

    /// A sentence for the server's log.
    #[must_use]
    pub fn comment(self, comment: &str) -> Self {
        self.with(json!({"op": "comment", "comment": comment}))
    }

    /// Appends the operations of another transaction on the same database.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.operations.extend(other.operations);
        self
    }

    /// What it would do, one operation a line.
    pub fn operations(&self) -> impl Iterator<Item = &Value> {
        self.operations.iter()
    }

    fn with(mut self, operation: Value) -> Self {
        self.operations.push(operation);
        self
    }

    pub(crate) fn params(&self) -> Value {
        let database = std::iter::once(Value::from(self.database.as_str()));
        Value::Array(database.chain(self.operations.iter().cloned()).collect())
    }

    /// Reads the server's answer: a result for each operation, and one more when the commit failed.
    pub(crate) fn outcome(&self, answer: &Value) -> Result<Outcome, Refusal> {
        let results = answer.as_array().map(Vec::as_slice).unwrap_or_default();
        let failed = results.iter().position(|result| result.get("error").is_some());
        match failed {
            Some(at) => Err(self.refusal(at, &results[at])),
            None if results.len() < self.operations.len() => {
                Err(self.refusal(results.len(), &Value::Null))
            }
            None => Ok(Outcome { results: results.to_vec() }),
        }
    }

    fn refusal(&self, at: usize, result: &Value) -> Refusal {
        let text = |member: &str| {
            result.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let operation = self.operations.get(at).map_or_else(
            || "commit".to_owned(),
            |operation| {
                format!("{} {}", word(operation, "op"), word(operation, "table")).trim().to_owned()
            },
        );
        Refusal { operation, error: text("error"), details: text("details") }
    }
}

fn word<'a>(operation: &'a Value, member: &str) -> &'a str {
    operation.get(member).and_then(Value::as_str).unwrap_or_default()
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn conditions(rows: &[Condition]) -> Vec<&Value> {
    rows.iter().map(|condition| &condition.0).collect()
}

/// The server's answers to the operations of a transaction that was done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    results: Vec<Value>,
}

impl Outcome {
    /// The row that the operation at this place inserted.
    #[must_use]
    pub fn inserted(&self, operation: usize) -> Option<Uuid> {
        Uuid::from_json(self.results.get(operation)?.get("uuid")?)
    }

    /// How many rows the operation at this place changed.
    #[must_use]
    pub fn count(&self, operation: usize) -> u64 {
        self.results
            .get(operation)
            .and_then(|result| result.get("count")?.as_u64())
            .unwrap_or_default()
    }

    /// The rows that the `select` at this place found.
    #[must_use]
    pub fn rows(&self, operation: usize) -> &[Value] {
        let rows = self.results.get(operation).and_then(|result| result.get("rows")?.as_array());
        rows.map(Vec::as_slice).unwrap_or_default()
    }
}

/// Why nothing of a transaction was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The operation: `insert Port`, or `commit`.
    pub operation: String,
    /// The server's word: `constraint violation`, `timed out`, …
    pub error: String,
    /// Its sentence, where it has one.
    pub details: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.error)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, " ({})", self.details) }
    }
}

impl fmt::Display for Mutator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Insert => "insert",
            Self::Delete => "delete",
            Self::Add => "+=",
        })
    }
}

/// A row or a part of one, by column.
pub fn columns<const N: usize>(columns: [(&str, Value); N]) -> Map<String, Value> {
    columns.into_iter().map(|(column, value)| (column.to_owned(), value)).collect()
}

/// Makes `next_cfg` one larger: the switch tells by `cur_cfg` when it has caught up.
pub(crate) fn ask_for_progress(transaction: Transaction) -> Transaction {
    transaction.mutate("Open_vSwitch", &[], "next_cfg", Mutator::Add, 1).select(
        "Open_vSwitch",
        &[],
        &["next_cfg"],
    )
}

/// The `next_cfg` that [`ask_for_progress`] read, as the last operation.
pub(crate) fn progress_asked_for(outcome: &Outcome) -> Option<i64> {
    outcome.rows(outcome.results.len().checked_sub(1)?).first()?.get("next_cfg")?.as_i64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value;

    fn two_operations() -> Transaction {
        Transaction::on("Open_vSwitch")
            .insert("Port", "port", columns([("name", json!("p1"))]))
            .mutate(
                "Bridge",
                &[Condition::is("name", "br0")],
                "ports",
                Mutator::Insert,
                value::named_uuid("port"),
            )
    }

    #[test]
    fn operations_are_written_in_their_order() {
        assert_eq!(
            two_operations().params(),
            json!(["Open_vSwitch",
                {"op": "insert", "table": "Port", "uuid-name": "port", "row": {"name": "p1"}},
                {"op": "mutate", "table": "Bridge", "where": [["name", "==", "br0"]],
                 "mutations": [["ports", "insert", ["named-uuid", "port"]]]}])
        );
    }

    #[test]
    fn the_operation_that_failed_is_named() {
        let answer = json!([{"uuid": ["uuid", "u"]}, {"error": "timed out", "details": "no"}]);
        let refusal = two_operations().outcome(&answer).unwrap_err();
        assert_eq!(refusal.to_string(), "mutate Bridge: timed out (no)");
        let answer =
            json!([{"uuid": ["uuid", "u"]}, {"count": 1}, {"error": "constraint violation"}]);
        assert_eq!(
            two_operations().outcome(&answer).unwrap_err().to_string(),
            "commit: constraint violation"
        );
    }

    #[test]
    fn an_answer_that_stops_early_is_no_success() {
        assert!(two_operations().outcome(&json!([{"uuid": ["uuid", "u"]}])).is_err());
        assert!(two_operations().outcome(&Value::Null).is_err());
    }

    #[test]
    fn results_are_found_by_the_place_of_their_operation() {
        let outcome =
            two_operations().outcome(&json!([{"uuid": ["uuid", "u"]}, {"count": 1}])).unwrap();
        assert_eq!((outcome.inserted(0), outcome.count(1)), (Some(Uuid("u".into())), 1));
        assert_eq!((outcome.inserted(1), outcome.count(7), outcome.rows(0)), (None, 0, &[][..]));
    }
}
