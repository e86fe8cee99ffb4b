//! `target/bench/report.json`: one entry a benchmark, kept when another one is run.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::{Map, Value};

/// Where the report is, from the workspace's root.
pub const PATH: &str = "target/bench/report.json";

/// Puts an entry in, in the place of what it said before.
pub fn add(path: &Path, name: &str, figures: Value) -> anyhow::Result<()> {
    let mut report = read(path)?;
    report.insert(name.to_owned(), figures);
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let text = serde_json::to_string_pretty(&Value::Object(report))?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// A report that is not there yet is empty; one that cannot be read is an error and not thrown away.
fn read(path: &Path) -> anyhow::Result<Map<String, Value>> {
    if !path.exists() {
        return Ok(Map::new());
    }
    let text = fs::read_to_string(path)?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a report", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_benchmark_replaces_its_own_entry_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bench/report.json");
        add(&path, "rules", json!(1)).unwrap();
        add(&path, "compile", json!(2)).unwrap();
        add(&path, "rules", json!(3)).unwrap();
        let report: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(report, json!({ "rules": 3, "compile": 2 }));
    }

    #[test]
    fn a_file_that_is_no_report_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        fs::write(&path, "mine").unwrap();
        assert!(add(&path, "rules", json!(1)).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
