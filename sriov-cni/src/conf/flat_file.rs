//! A file with keys that hold for all networks of a node, as ovs-cni has it: what the NetConf says goes before.

use std::fs;
use std::io;

use serde_json::{Map, Value};

use super::fields::Fields;
use super::problem::Problem;

/// Where ovs-cni looks for it, in this order, when the NetConf names none.
const DEFAULT_PATHS: [&str; 2] =
    ["/etc/kubernetes/cni/net.d/ovs.d/ovs.conf", "/etc/cni/net.d/ovs.d/ovs.conf"];
const FIELD: &str = "configuration_path";

/// The members of the file that the configuration names, or of a default one. It concerns bridges only.
pub(crate) fn read(conf: Fields<'_>, problems: &mut Vec<Problem>) -> Map<String, Value> {
    let named = conf.text(FIELD);
    let found = match named {
        Some(path) => read_file(path),
        None if conf.text("bridge").is_some() => read_default(),
        None => Ok(None),
    };
    match (found, named) {
        (Ok(Some(members)), _) => members,
        (Ok(None), Some(path)) => {
            problems.push(problem(path, "there is no such file"));
            Map::new()
        }
        (Ok(None), None) => Map::new(),
        (Err(problem), _) => {
            problems.push(problem);
            Map::new()
        }
    }
}

fn read_default() -> Result<Option<Map<String, Value>>, Problem> {
    for path in DEFAULT_PATHS {
        if let Some(members) = read_file(path)? {
            return Ok(Some(members));
        }
    }
    Ok(None)
}

fn read_file(path: &str) -> Result<Option<Map<String, Value>>, Problem> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(problem(path, &error.to_string())),
    };
    let members = serde_json::from_slice::<Map<String, Value>>(&text);
    members.map(Some).map_err(|error| problem(path, &format!("it is no JSON object: {error}")))
}

fn problem(path: &str, reason: &str) -> Problem {
    Problem::File { field: FIELD, path: path.to_owned(), reason: reason.to_owned() }
}
