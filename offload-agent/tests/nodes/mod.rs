//! The rulesets of whole OVN nodes, which lie beside the repository, and the command that reads them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The rulesets beside the repository, wherever it was cloned to.
pub(crate) fn node(name: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = here.ancestors().map(|up| up.join("shared/rulesets").join(name));
    beside
        .into_iter()
        .find(|at| at.is_dir())
        .unwrap_or_else(|| panic!("shared/rulesets/{name} must lie beside the repository"))
}

pub(crate) fn compile(arguments: &[String]) -> Output {
    let agent = env!("CARGO_BIN_EXE_offload-agent");
    Command::new(agent).arg("compile").args(arguments).output().unwrap()
}

/// Everything of a node, on a card.
pub(crate) fn files(node_name: &str, bridges: &[&str], profile: &str) -> Vec<String> {
    let node = node(node_name);
    let file = |name: String| node.join(name).display().to_string();
    let mut arguments = vec!["--ports".to_owned(), file("ovsdb-dump.txt".to_owned())];
    for bridge in bridges {
        for (option, name) in [
            ("--flows", "flows.of15"),
            ("--groups", "groups"),
            ("--meters", "meters"),
            ("--tlv-map", "tlv"),
        ] {
            let name = format!("{bridge}.{name}.txt");
            if node.join(&name).exists() {
                arguments.extend([option.to_owned(), file(name)]);
            }
        }
    }
    arguments.extend(["--capabilities".to_owned(), profile.to_owned()]);
    arguments
}
