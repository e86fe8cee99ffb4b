//! For people: the schema, a check of a configuration, shell completion. A runtime uses none of it.

use std::fmt::Write as _;
use std::io::{self, Read, Write};

use clap::{CommandFactory, Parser, Subcommand};
use serde_json::{Map, Value};

use crate::conf::{NetConf, Problem, parse_object};
use crate::schema::schema;

/// Gives pods their VFs, and puts the VFs' representors on a bridge.
///
/// A container runtime runs this as a CNI plugin, with CNI_COMMAND in the environment and a NetConf on stdin.
#[derive(Debug, Parser)]
#[command(name = "sriov-cni", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the JSON schema of a NetConf.
    Schema,
    /// Read a NetConf, a list of plugins, or a NetworkAttachmentDefinition in JSON from stdin, and say all that is wrong.
    Validate,
    /// Print a script that completes this command line.
    Completion {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

/// Runs a command line; `Ok(false)` when a configuration is wrong.
///
/// # Errors
/// Stdin or stdout failed.
pub fn run(cli: &Cli) -> io::Result<bool> {
    match &cli.command {
        Command::Schema => say(&format!("{:#}\n", schema())),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "sriov-cni", &mut script);
            say(&String::from_utf8_lossy(&script))
        }
        Command::Validate => validate(),
    }
}

/// A reader that has read enough, as `head`, is no failure.
fn say(text: &str) -> io::Result<bool> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(true),
    }
}

fn validate() -> io::Result<bool> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    match verdict(&bytes) {
        Ok(said) => say(&said),
        Err(said) => {
            eprint!("{said}");
            Ok(false)
        }
    }
}

/// What there is to say of a NetConf, or of each of ours in a list, also where Kubernetes has it.
///
/// # Errors
/// All that is wrong, a sentence a line.
pub fn verdict(bytes: &[u8]) -> Result<String, String> {
    let conf = parse_object(bytes).map_err(|problem| format!("{problem}{}\n", hint(bytes)))?;
    let conf = if is_definition(&conf) { conf_in(&conf)? } else { conf };
    let mut wrong = String::new();
    let mut ours = 0;
    for (place, conf) in ours_in(conf) {
        ours += 1;
        if let Err(problems) = NetConf::from_object(conf, None) {
            wrong.extend(problems.0.iter().map(|problem| line(&place, problem)));
        }
    }
    match (ours, wrong.is_empty()) {
        (0, _) => Err("there is no plugin of type sriov-cni in this list\n".to_owned()),
        (_, true) => Ok("the configuration is right\n".to_owned()),
        _ => Err(wrong),
    }
}

const DEFINITION: &str = "NetworkAttachmentDefinition";

/// YAML is what people have in hand.
fn hint(bytes: &[u8]) -> &'static str {
    if String::from_utf8_lossy(bytes).contains(DEFINITION) {
        "; give what is in spec.config, or the whole in JSON (kubectl get net-attach-def NAME -o json)"
    } else {
        ""
    }
}

fn is_definition(object: &Map<String, Value>) -> bool {
    object.get("kind").and_then(Value::as_str) == Some(DEFINITION)
}

/// The text in `spec.config`. Multus gives a configuration without a name the definition's.
fn conf_in(definition: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let missing = || {
        format!("spec.config of the {DEFINITION} is missing; it is the configuration, as text\n")
    };
    let spec = definition.get("spec");
    let text = spec.and_then(|spec| spec.get("config")?.as_str()).ok_or_else(missing)?;
    let inside = |problem| format!("spec.config: {problem}\n");
    let mut conf = parse_object(text.as_bytes()).map_err(inside)?;
    if let Some(name) = definition.get("metadata").and_then(|metadata| metadata.get("name")) {
        conf.entry("name").or_insert_with(|| name.clone());
    }
    Ok(conf)
}

fn line(place: &str, problem: &Problem) -> String {
    let mut line = String::new();
    // Writing to a text does not fail.
    let _ = writeln!(line, "{place}{problem}");
    line
}

/// A single configuration, or the members of a list with what the list gives them.
fn ours_in(conf: Map<String, Value>) -> Vec<(String, Map<String, Value>)> {
    let Some(plugins) = conf.get("plugins").and_then(Value::as_array) else {
        return vec![(String::new(), conf)];
    };
    let given = ["cniVersion", "name"]
        .map(|key| conf.get(key).map(|value| (key.to_owned(), value.clone())));
    let given: Vec<(String, Value)> = given.into_iter().flatten().collect();
    let objects = plugins
        .iter()
        .enumerate()
        .filter_map(|(at, plugin)| Some((at, plugin.as_object()?.clone())));
    let ours = objects.filter(|(_, plugin)| {
        matches!(plugin.get("type").and_then(Value::as_str), Some("sriov-cni" | "sriov"))
    });
    let with_given = ours.map(|(at, plugin)| {
        (format!("plugins[{at}]: "), plugin.into_iter().chain(given.clone()).collect())
    });
    with_given.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_judged_plugin_by_plugin() {
        let list = br#"{"cniVersion": "1.0.0", "name": "n", "plugins": [
            {"type": "tuning", "frobnicate": 1}, {"type": "sriov-cni", "vlna": 5}, {"type": "sriov-cni", "vlan": 5}]}"#;
        assert_eq!(
            verdict(list).unwrap_err(),
            "plugins[1]: vlna is no key of sriov-cni; is vlan meant?\n"
        );
        assert!(
            verdict(br#"{"plugins": [{"type": "x"}]}"#)
                .unwrap_err()
                .contains("no plugin of type sriov-cni")
        );
    }

    #[test]
    fn a_definition_of_kubernetes_is_judged_by_what_is_in_it() {
        let definition = |config: &str| {
            serde_json::json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": DEFINITION,
                "metadata": {"name": "underlay"}, "spec": {"config": config}})
            .to_string()
        };
        let said = |config| verdict(definition(config).as_bytes());
        assert!(said(r#"{"cniVersion": "1.0.0", "type": "sriov-cni"}"#).is_ok());
        let wrong = r#"{"cniVersion": "1.0.0", "type": "sriov-cni", "vlna": 5}"#;
        assert_eq!(said(wrong).unwrap_err(), "vlna is no key of sriov-cni; is vlan meant?\n");
        assert!(said("{").unwrap_err().starts_with("spec.config: the configuration is not JSON"));
        let yaml = b"kind: NetworkAttachmentDefinition\nspec: {}\n";
        assert!(verdict(yaml).unwrap_err().contains("give what is in spec.config"));
        let empty = br#"{"kind": "NetworkAttachmentDefinition"}"#;
        assert!(verdict(empty).unwrap_err().contains("spec.config of the NetworkAttach"));
    }

    #[test]
    fn a_single_one_needs_no_device_yet() {
        let conf = br#"{"cniVersion": "1.0.0", "name": "n", "type": "sriov-cni", "vlan": 5}"#;
        assert_eq!(verdict(conf).unwrap(), "the configuration is right\n");
    }
}
