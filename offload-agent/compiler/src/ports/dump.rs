//! The tables that `ovsdb-client dump` prints.
//!
//! Each is its name, a line of column names, a line of dashes that says how wide the columns are, and a row a line.

use std::collections::BTreeMap;

use super::database::{Cell, Database, Row, RowUpdate};

/// What is wrong with a dump.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// No table was found.
    #[error("no `Interface table` in it; give all that `ovsdb-client dump Open_vSwitch` prints")]
    NoTables,
    /// A table has no line of dashes.
    #[error(
        "line {line}: the {table} table has no line of dashes under its columns; give the dump as it was printed"
    )]
    NoColumns {
        /// The line of the table's name, from 1.
        line: usize,
        /// The table.
        table: String,
    },
}

impl Database {
    /// Reads what `ovsdb-client dump Open_vSwitch` prints.
    pub fn from_dump(text: &str) -> Result<Database, DumpError> {
        let lines: Vec<&str> = text.lines().collect();
        let mut database = Database::default();
        for (at, line) in lines.iter().enumerate() {
            if let Some(table) = line.strip_suffix(" table").filter(|name| !name.contains(' ')) {
                read_table(&mut database, table, at, lines.get(at + 1..).unwrap_or_default())?;
            }
        }
        if database.table("Interface").next().is_none() {
            Err(DumpError::NoTables)
        } else {
            Ok(database)
        }
    }
}

fn read_table(
    database: &mut Database,
    table: &str,
    at: usize,
    lines: &[&str],
) -> Result<(), DumpError> {
    let no_columns = || DumpError::NoColumns { line: at + 1, table: table.to_owned() };
    let [names, dashes, rows @ ..] = lines else { return Err(no_columns()) };
    if !dashes.starts_with('-') {
        return Err(no_columns());
    }
    let columns = columns(dashes);
    let names: Vec<String> = cut(names, &columns);
    for line in rows.iter().take_while(|line| !line.is_empty()) {
        let cells = names.iter().cloned().zip(cut(line, &columns));
        database.apply(update(table, cells.collect()));
    }
    Ok(())
}

/// The width of each column.
fn columns(dashes: &str) -> Vec<usize> {
    dashes.split(' ').map(str::len).collect()
}

/// The pieces of a line, each as wide as its column, with a blank between.
fn cut(line: &str, columns: &[usize]) -> Vec<String> {
    let mut rest = line.chars();
    let pieces = columns.iter().map(|width| {
        let piece: String = rest.by_ref().take(*width).collect();
        rest.next();
        piece.trim().to_owned()
    });
    pieces.collect()
}

fn update(table: &str, mut texts: BTreeMap<String, String>) -> RowUpdate {
    let uuid = texts.remove("_uuid").unwrap_or_default();
    let cells = texts.into_iter().map(|(column, text)| (column, cell(&text))).collect();
    RowUpdate { table: table.to_owned(), uuid, row: Some(Row { cells }) }
}

/// `[a, b]`, `{key=value}` or a single value.
fn cell(text: &str) -> Cell {
    if let Some(inside) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let pairs = pieces(inside)
            .into_iter()
            .filter_map(|pair| pair.split_once('=').map(|(k, v)| (unquote(k), unquote(v))));
        return Cell::Map(pairs.collect());
    }
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inside {
        Some(inside) => Cell::Set(pieces(inside).into_iter().map(unquote).collect()),
        None => Cell::Set(vec![unquote(text)]),
    }
}

/// What stands between commas that are not in quotation marks.
fn pieces(text: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let is_separator = |c: char| {
        let separates = c == ',' && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        separates
    };
    text.split(is_separator).map(str::trim).filter(|piece| !piece.is_empty()).collect()
}

/// A value without its quotation marks; inside them it is a JSON string.
fn unquote(text: &str) -> String {
    let inside = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inside.map_or_else(
        || text.to_owned(),
        |inside| inside.replace("\\\"", "\"").replace("\\\\", "\\"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openflow::{BridgeName, OfPort};
    use crate::ports::{PortKind, VlanMode};

    const DUMP: &str = "\
Bridge table
_uuid name   datapath_type ports   stp_enable
----- ------ ------------- ------- ----------
b1    br-int dummy         [p1,p2] true

Interface table
_uuid ifindex name       ofport options           type  external_ids
----- ------- ---------- ------ ----------------- ----- --------------------------------------------
i1    7       pod0_h     3      {}                \"\"    {iface-id=\"pod0,default\", a=\"say \\\"b\\\"\"}
i2    0       \"patch-a\"  4      {peer=patch-b}    patch {}
i3    0       broken     -1     {}                \"\"    {}

Port table
_uuid interfaces name tag trunks   vlan_mode
----- ---------- ---- --- -------- ---------
p1    [i1]       p    10  [20, 30] []
p2    [i2,i3]    q    []  []       trunk
";

    #[test]
    fn the_ports_of_a_dump_are_found_through_its_three_tables() {
        let ports = Database::from_dump(DUMP).unwrap().ports();
        let bridge = BridgeName::from("br-int");
        let pod = ports.port(&bridge, OfPort(3)).unwrap();
        assert_eq!((pod.name.as_str(), pod.ifindex.map(|index| index.0)), ("pod0_h", Some(7)));
        assert_eq!((pod.tag, pod.vlan_mode, pod.trunks.len()), (Some(10), VlanMode::Access, 2));
        assert_eq!(pod.external_ids.get("iface-id").map(String::as_str), Some("pod0,default"));
        assert_eq!(pod.external_ids.get("a").map(String::as_str), Some("say \"b\""));
        assert!(pod.protocols.stp);
    }

    #[test]
    fn a_patch_port_knows_its_peer_and_a_broken_interface_is_no_port() {
        let ports = Database::from_dump(DUMP).unwrap().ports();
        let bridge = ports.bridges.get(&BridgeName::from("br-int")).unwrap();
        assert_eq!(bridge.ports.len(), 2);
        assert_eq!(
            bridge.ports.get(&OfPort(4)).unwrap().kind,
            PortKind::Patch { peer: "patch-b".into() }
        );
    }

    #[test]
    fn text_that_is_no_dump_says_what_to_give() {
        assert_eq!(Database::from_dump("bridge br0"), Err(DumpError::NoTables));
        let cut_off = Database::from_dump("Port table\n_uuid\n").unwrap_err();
        assert_eq!(cut_off, DumpError::NoColumns { line: 1, table: "Port".into() });
    }
}
