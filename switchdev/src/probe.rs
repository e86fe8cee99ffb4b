//! What the running kernel can do, for plans that depend on it.
//!
//! Each probe has three answers: there, not there, and could not tell. The last is none of the
//! others: a plan may not rest on a guess. The kernel's own symbol table answers for what is built
//! in or loaded, the index of modules for what can be loaded, and the kernel's configuration file,
//! where there is one, for the rest. `/proc/config.gz` is not read: it would need a decompressor,
//! and a kernel that has it has its symbols too.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Serialize;

use crate::devlink::Devlink;
use crate::netlink::NetlinkError;

/// The answer to a probe, with the place it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "answer", content = "how")]
pub enum Probe {
    /// It is there.
    There(String),
    /// It is not there.
    NotThere(String),
    /// It could not be told.
    Unknown(String),
}

/// What a kernel can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelFeatures {
    /// The flower classifier: no filter without it.
    pub cls_flower: Probe,
    /// Connection tracking in TC.
    pub act_ct: Probe,
    /// `NET_TC_SKB_EXT`, which carries the chain of a miss from TC to Open vSwitch. Without it a
    /// miss in a later chain starts anew.
    pub tc_skb_ext: Probe,
    /// The switchdev notifiers, without which drivers have no switchdev mode.
    pub switchdev: Probe,
    /// devlink over generic netlink.
    pub devlink: Probe,
}

/// Something of the kernel that can be looked for.
#[derive(Debug, Clone, Copy)]
struct Feature {
    /// A function that the kernel has when it has the feature.
    symbol: &'static str,
    /// The configuration option that brings it.
    option: &'static str,
    /// The module it may be in.
    module: Option<&'static str>,
}

const CLS_FLOWER: Feature =
    Feature { symbol: "fl_classify", option: "CONFIG_NET_CLS_FLOWER", module: Some("cls_flower") };
const ACT_CT: Feature =
    Feature { symbol: "tcf_ct_act", option: "CONFIG_NET_ACT_CT", module: Some("act_ct") };
const TC_SKB_EXT: Feature =
    Feature { symbol: "tc_skb_ext_tc_enable", option: "CONFIG_NET_TC_SKB_EXT", module: None };
const SWITCHDEV: Feature =
    Feature { symbol: "call_switchdev_notifiers", option: "CONFIG_NET_SWITCHDEV", module: None };

impl KernelFeatures {
    /// Asks the running kernel. It needs no privilege.
    #[must_use]
    pub fn probe() -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        Self::probe_at(Path::new("/"), &release, probe_devlink())
    }

    fn probe_at(root: &Path, release: &str, devlink: Probe) -> Self {
        let evidence = Evidence::collect(root, release);
        Self {
            cls_flower: evidence.weigh(CLS_FLOWER),
            act_ct: evidence.weigh(ACT_CT),
            tc_skb_ext: evidence.weigh(TC_SKB_EXT),
            switchdev: evidence.weigh(SWITCHDEV),
            devlink,
        }
    }
}

impl Probe {
    /// Whether it is known to be there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        matches!(self, Self::There(_))
    }
}

/// What the kernel's files say. `None` is a file that could not be read.
#[derive(Debug, Default)]
struct Evidence {
    /// Which of our features' functions the kernel has.
    symbols: Option<BTreeSet<String>>,
    /// The indexes of modules, built in or not, as lines of paths.
    modules: Option<String>,
    /// The kernel's configuration.
    config: Option<String>,
}

impl Evidence {
    fn collect(root: &Path, release: &str) -> Self {
        let modules = root.join("lib/modules").join(release);
        let boot = root.join("boot").join(format!("config-{release}"));
        Self {
            symbols: read_symbols(&root.join("proc/kallsyms")),
            modules: read_modules(&modules),
            config: read(&boot).or_else(|| read(&modules.join("config"))),
        }
    }

    fn weigh(&self, feature: Feature) -> Probe {
        if self.has_symbol(feature) == Some(true) {
            return Probe::There(format!("the kernel has {}()", feature.symbol));
        }
        match feature.module {
            Some(module) => self.weigh_module(feature, module),
            None => self.weigh_built_in(feature),
        }
    }

    /// A module that is not loaded is loaded on demand.
    fn weigh_module(&self, feature: Feature, module: &str) -> Probe {
        match self.has_module(module) {
            Some(true) => Probe::There(format!("the module {module} can be loaded")),
            Some(false) if self.has_symbol(feature) == Some(false) => Probe::NotThere(format!(
                "neither built in nor a module; it needs {}",
                feature.option
            )),
            _ => self.weigh_config(feature),
        }
    }

    fn weigh_built_in(&self, feature: Feature) -> Probe {
        match self.has_symbol(feature) {
            Some(_) => Probe::NotThere(format!(
                "the kernel lacks {}(); it needs {}",
                feature.symbol, feature.option
            )),
            None => self.weigh_config(feature),
        }
    }

    fn weigh_config(&self, feature: Feature) -> Probe {
        let option = feature.option;
        let Some(config) = &self.config else {
            return Probe::Unknown(format!(
                "neither /proc/kallsyms, /lib/modules nor the kernel's configuration tells of {option}"
            ));
        };
        let set = |line: &str| line == format!("{option}=y") || line == format!("{option}=m");
        match config.lines().any(set) {
            true => Probe::There(format!("the kernel's configuration sets {option}")),
            false => Probe::NotThere(format!("the kernel's configuration does not set {option}")),
        }
    }

    fn has_symbol(&self, feature: Feature) -> Option<bool> {
        self.symbols.as_ref().map(|symbols| symbols.contains(feature.symbol))
    }

    fn has_module(&self, module: &str) -> Option<bool> {
        let named = |line: &str| {
            let file = line.split(':').next().unwrap_or_default().rsplit('/').next();
            file.and_then(|file| file.split(".ko").next()) == Some(module)
        };
        self.modules.as_ref().map(|modules| modules.lines().any(named))
    }
}

/// Which of our features' functions are in a symbol table: lines of address, type, name and, for a
/// module's, its name in brackets. An empty table is that of a kernel that hides it.
fn read_symbols(path: &Path) -> Option<BTreeSet<String>> {
    let wanted = [CLS_FLOWER, ACT_CT, TC_SKB_EXT, SWITCHDEV].map(|feature| feature.symbol);
    let mut lines =
        BufReader::new(fs::File::open(path).ok()?).lines().map_while(Result::ok).peekable();
    lines.peek()?;
    let name = |line: String| line.split_whitespace().nth(2).map(str::to_owned);
    Some(lines.filter_map(name).filter(|name| wanted.contains(&name.as_str())).collect())
}

/// Both indexes; where one is missing, what is not in the other may be in it.
fn read_modules(dir: &Path) -> Option<String> {
    Some(read(&dir.join("modules.dep"))? + &read(&dir.join("modules.builtin"))?)
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn probe_devlink() -> Probe {
    match Devlink::open() {
        Ok(_) => Probe::There("the kernel has the netlink family".to_owned()),
        Err(error @ NetlinkError::NoFamily { .. }) => Probe::NotThere(error.to_string()),
        Err(error) => Probe::Unknown(error.to_string()),
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::There(how) => write!(f, "there: {how}"),
            Self::NotThere(why) => write!(f, "not there: {why}"),
            Self::Unknown(why) => write!(f, "could not tell: {why}"),
        }
    }
}

impl fmt::Display for KernelFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cls_flower {}", self.cls_flower)?;
        writeln!(f, "act_ct {}", self.act_ct)?;
        writeln!(f, "TC_SKB_EXT {}", self.tc_skb_ext)?;
        writeln!(f, "switchdev {}", self.switchdev)?;
        writeln!(f, "devlink {}", self.devlink)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "6.12.0-test";

    /// A root with these files.
    fn probe(files: &[(&str, &str)]) -> KernelFeatures {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        KernelFeatures::probe_at(root.path(), RELEASE, Probe::Unknown(String::new()))
    }

    const SYMBOLS: (&str, &str) = (
        "proc/kallsyms",
        "0000000000000000 T call_switchdev_notifiers\n0000000000000000 t fl_classify\t[cls_flower]\n",
    );
    const MODULES: (&str, &str) = (
        "lib/modules/6.12.0-test/modules.dep",
        "kernel/net/sched/act_ct.ko.xz: kernel/net/netfilter/nf_flow_table.ko.xz\n",
    );
    const BUILT_IN: (&str, &str) =
        ("lib/modules/6.12.0-test/modules.builtin", "kernel/lib/zlib.ko\n");

    #[test]
    fn what_is_loaded_and_what_can_be_loaded_is_there() {
        let features = probe(&[SYMBOLS, MODULES, BUILT_IN]);
        assert_eq!(features.cls_flower.to_string(), "there: the kernel has fl_classify()");
        assert_eq!(features.act_ct.to_string(), "there: the module act_ct can be loaded");
        assert!(features.switchdev.is_there());
    }

    #[test]
    fn what_no_file_names_is_not_there() {
        let features = probe(&[SYMBOLS, ("lib/modules/6.12.0-test/modules.dep", ""), BUILT_IN]);
        assert_eq!(
            features.tc_skb_ext.to_string(),
            "not there: the kernel lacks tc_skb_ext_tc_enable(); it needs CONFIG_NET_TC_SKB_EXT"
        );
        assert_eq!(
            features.act_ct.to_string(),
            "not there: neither built in nor a module; it needs CONFIG_NET_ACT_CT"
        );
    }

    #[test]
    fn without_its_files_a_kernel_is_not_guessed_at() {
        let features = probe(&[]);
        for probe in [&features.cls_flower, &features.tc_skb_ext] {
            assert!(matches!(probe, Probe::Unknown(_)), "{probe}");
        }
        // Built in or loaded it is not; whether it could be loaded is in an index we lack.
        assert!(matches!(probe(&[SYMBOLS]).act_ct, Probe::Unknown(_)));
        assert!(matches!(probe(&[("proc/kallsyms", "")]).tc_skb_ext, Probe::Unknown(_)));
    }

    #[test]
    fn the_configuration_answers_where_the_symbols_are_hidden() {
        let config = "CONFIG_NET_CLS_FLOWER=m\n# CONFIG_NET_TC_SKB_EXT is not set\n";
        let features = probe(&[("boot/config-6.12.0-test", config)]);
        assert!(features.cls_flower.is_there());
        assert!(matches!(features.tc_skb_ext, Probe::NotThere(_)), "{}", features.tc_skb_ext);
    }
}
