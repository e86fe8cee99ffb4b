//! The JSON of OVSDB's `monitor`, and the rows it tells (RFC 7047, sections 4.1.5 and 5.1).

use std::collections::BTreeMap;

use flow_compiler::ports::{Cell, Row, RowUpdate};
use serde_json::{Map, Value};

/// Reads `<table-updates>`: for each table the rows that came, changed or went.
///
/// A row is told whole, by `new`; a row without one is gone.
pub fn updates(tables: &Value) -> Vec<RowUpdate> {
    let tables = tables.as_object().into_iter().flatten();
    tables.flat_map(|(table, rows)| rows_of(table, rows)).collect()
}

fn rows_of<'a>(table: &'a str, rows: &'a Value) -> impl Iterator<Item = RowUpdate> + 'a {
    rows.as_object().into_iter().flatten().map(move |(uuid, change)| RowUpdate {
        table: table.to_owned(),
        uuid: uuid.clone(),
        row: change.get("new").and_then(Value::as_object).map(row),
    })
}

fn row(columns: &Map<String, Value>) -> Row {
    Row { cells: columns.iter().map(|(column, value)| (column.clone(), cell(value))).collect() }
}

/// `["set", [...]]`, `["map", [[key, value], ...]]` or a single atom.
fn cell(value: &Value) -> Cell {
    match tagged(value) {
        Some(("set", elements)) => {
            Cell::Set(elements.as_array().into_iter().flatten().map(atom).collect())
        }
        Some(("map", pairs)) => Cell::Map(
            pairs.as_array().into_iter().flatten().filter_map(pair).collect::<BTreeMap<_, _>>(),
        ),
        _ => Cell::Set(vec![atom(value)]),
    }
}

fn pair(value: &Value) -> Option<(String, String)> {
    match value.as_array()?.as_slice() {
        [key, value] => Some((atom(key), atom(value))),
        _ => None,
    }
}

/// A string as it is, a UUID as its text, any other atom as JSON writes it.
fn atom(value: &Value) -> String {
    match (value, tagged(value)) {
        (Value::String(text), _) => text.clone(),
        (_, Some((_, Value::String(uuid)))) => uuid.clone(),
        _ => value.to_string(),
    }
}

fn tagged(value: &Value) -> Option<(&str, &Value)> {
    match value.as_array()?.as_slice() {
        [Value::String(tag), content] => Some((tag, content)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_is_read_whatever_the_types_of_its_columns() {
        let told = json!({"Port": {"u1": {"new": {
            "name": "p1", "tag": 5, "trunks": ["set", [1, 2]], "interfaces": ["uuid", "i1"],
            "lacp": ["set", []], "external_ids": ["map", [["a", "b"]]],
        }}}});
        let [update] = updates(&told).try_into().unwrap();
        let row = update.row.unwrap();
        assert_eq!(
            (row.text("name"), row.text("tag"), row.text("lacp")),
            (Some("p1"), Some("5"), None)
        );
        assert_eq!(
            (row.set("trunks"), row.set("interfaces")),
            (&["1".into(), "2".into()][..], &["i1".into()][..])
        );
        assert_eq!(row.key("external_ids", "a"), Some("b"));
    }

    #[test]
    fn a_row_that_is_told_without_its_new_state_is_gone() {
        let told = json!({"Port": {"u1": {"old": {"name": "p1"}}}});
        assert_eq!(
            updates(&told),
            [RowUpdate { table: "Port".into(), uuid: "u1".into(), row: None }]
        );
    }

    #[test]
    fn json_of_another_shape_tells_nothing() {
        assert_eq!(updates(&json!([1, {"Port": 5}])), []);
        assert_eq!(updates(&json!({"Port": {"u1": null}})).len(), 1);
    }
}
