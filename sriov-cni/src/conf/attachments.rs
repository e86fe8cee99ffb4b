//! Which attachments are to stay, as the runtime tells GC.

use serde_json::Value;

use super::fields::{Fields, wrong};
use super::problem::Problem;

/// The specification's key, and the one that libcni wrote before it knew the specification's; newer ones write both.
const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

const WANTED: &str = "a list of attachments: [{\"containerID\": \"c1\", \"ifname\": \"net1\"}]";

/// Container and interface of each; `None` where nothing is said. Whoever is not listed loses the VF, so what cannot be
/// read is an error and never nobody.
pub(crate) fn read(conf: Fields<'_>, problems: &mut Vec<Problem>) -> Option<Vec<(String, String)>> {
    let key = KEYS.into_iter().find(|key| conf.0.contains_key(*key))?;
    let value = &conf.0[key];
    let listed = listed(value);
    if listed.is_none() {
        problems.push(wrong(key, value, WANTED));
    }
    listed
}

/// Go writes an empty list as null.
fn listed(value: &Value) -> Option<Vec<(String, String)>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(list) => list.iter().map(attachment).collect(),
        _ => None,
    }
}

fn attachment(value: &Value) -> Option<(String, String)> {
    let fields = Fields(value.as_object()?);
    Some((fields.owned("containerID")?, fields.owned("ifname")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(conf: Value) -> Result<Option<Vec<(String, String)>>, String> {
        let mut problems = Vec::new();
        let listed = read(Fields(conf.as_object().unwrap()), &mut problems);
        problems.pop().map_or(Ok(listed), |problem| Err(problem.to_string()))
    }

    #[test]
    fn either_key_lists_those_who_stay() {
        let list = json!([{"containerID": "c1", "ifname": "net1"}]);
        let one = Ok(Some(vec![("c1".to_owned(), "net1".to_owned())]));
        assert_eq!(said(json!({"cni.dev/valid-attachments": list})), one);
        assert_eq!(said(json!({"cni.dev/attachments": list})), one);
        assert_eq!(
            said(json!({"cni.dev/valid-attachments": list, "cni.dev/attachments": []})),
            one
        );
        assert_eq!(said(json!({"cni.dev/valid-attachments": null})), Ok(Some(Vec::new())));
        assert_eq!(said(json!({})), Ok(None));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_never_nobody() {
        for list in [json!("c1"), json!({}), json!(["c1"]), json!([{"containerID": "c1"}])] {
            let error = said(json!({"cni.dev/valid-attachments": list})).unwrap_err();
            assert!(error.contains("must be a list of attachments"), "{error}");
        }
    }
}
