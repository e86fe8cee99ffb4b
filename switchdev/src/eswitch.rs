//! The embedded switch of a card: its mode, and what it needs of packets and of tunnels.
//!
//! In `legacy` mode the card bridges by MAC and VLAN and the host sees nothing of it. In `switchdev`
//! mode every VF has a representor on the host and filters decide; only then can a ruleset be
//! offloaded. The numbers are those of `enum devlink_eswitch_*` in `linux/devlink.h`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A word that names none of the values of an e-switch setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("eswitch {field} {value:?} is none of {wanted}")]
pub struct InvalidEswitchSetting {
    /// The setting.
    pub field: &'static str,
    /// The word given.
    pub value: String,
    /// The words there are.
    pub wanted: &'static str,
}

/// How the e-switch forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EswitchMode {
    /// By MAC and VLAN, on its own.
    Legacy,
    /// By filters, with a representor for every function.
    Switchdev,
}

/// How many headers the driver must copy into the descriptor for the e-switch to parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InlineMode {
    /// None: the card reads the packet itself.
    None,
    /// The Ethernet header.
    Link,
    /// Up to the IP header.
    Network,
    /// Up to the TCP or UDP header.
    Transport,
}

/// Whether the e-switch can push and pop tunnel headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncapMode {
    /// It cannot.
    None,
    /// It can.
    Basic,
}

/// What the e-switch of a card is set to. A driver leaves out what it does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eswitch {
    /// How it forwards.
    pub mode: Option<EswitchMode>,
    /// What it needs inlined.
    pub inline_mode: Option<InlineMode>,
    /// Whether it tunnels.
    pub encap_mode: Option<EncapMode>,
}

impl fmt::Display for Eswitch {
    /// As `devlink dev eswitch show` prints it: `mode switchdev inline-mode none encap-mode basic`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            self.mode.map(|mode| format!("mode {mode}")),
            self.inline_mode.map(|mode| format!("inline-mode {mode}")),
            self.encap_mode.map(|mode| format!("encap-mode {mode}")),
        ];
        f.write_str(&words.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

/// A setting whose values have a word each; a value's place in the list is its number in devlink.
trait Words: Copy + PartialEq + 'static {
    const FIELD: &'static str;
    const WANTED: &'static str;
    const ALL: &'static [(Self, &'static str)];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(value, _)| *value == self).map_or("", |(_, word)| word)
    }

    fn number(self) -> u8 {
        (0..).zip(Self::ALL).find(|(_, (value, _))| *value == self).map_or(0, |(number, _)| number)
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).map(|(value, _)| *value)
    }

    fn parse(text: &str) -> Result<Self, InvalidEswitchSetting> {
        let found = Self::ALL.iter().find(|(_, word)| *word == text).map(|(value, _)| *value);
        found.ok_or_else(|| InvalidEswitchSetting {
            field: Self::FIELD,
            value: text.to_owned(),
            wanted: Self::WANTED,
        })
    }
}

impl Words for EswitchMode {
    const FIELD: &'static str = "mode";
    const WANTED: &'static str = "legacy, switchdev";
    const ALL: &'static [(Self, &'static str)] =
        &[(Self::Legacy, "legacy"), (Self::Switchdev, "switchdev")];
}

impl Words for InlineMode {
    const FIELD: &'static str = "inline-mode";
    const WANTED: &'static str = "none, link, network, transport";
    const ALL: &'static [(Self, &'static str)] = &[
        (Self::None, "none"),
        (Self::Link, "link"),
        (Self::Network, "network"),
        (Self::Transport, "transport"),
    ];
}

impl Words for EncapMode {
    const FIELD: &'static str = "encap-mode";
    const WANTED: &'static str = "none, basic";
    const ALL: &'static [(Self, &'static str)] = &[(Self::None, "none"), (Self::Basic, "basic")];
}

impl EswitchMode {
    /// The number devlink uses for it.
    pub(crate) fn number(self) -> u8 {
        Words::number(self)
    }

    /// The value devlink numbers so; `None` for one that this program does not know.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Words::from_number(number)
    }
}

impl fmt::Display for EswitchMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for EswitchMode {
    type Err = InvalidEswitchSetting;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Words::parse(text)
    }
}

impl InlineMode {
    /// The number devlink uses for it.
    pub(crate) fn number(self) -> u8 {
        Words::number(self)
    }

    /// The value devlink numbers so; `None` for one that this program does not know.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Words::from_number(number)
    }
}

impl fmt::Display for InlineMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for InlineMode {
    type Err = InvalidEswitchSetting;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Words::parse(text)
    }
}

impl EncapMode {
    /// The number devlink uses for it.
    pub(crate) fn number(self) -> u8 {
        Words::number(self)
    }

    /// The value devlink numbers so; `None` for one that this program does not know.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Words::from_number(number)
    }
}

impl fmt::Display for EncapMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for EncapMode {
    type Err = InvalidEswitchSetting;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Words::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_devlink_command() {
        assert_eq!("switchdev".parse(), Ok(EswitchMode::Switchdev));
        assert_eq!("transport".parse(), Ok(InlineMode::Transport));
        assert_eq!(EncapMode::Basic.to_string(), "basic");
    }

    #[test]
    fn another_word_is_refused_with_the_right_ones() {
        let error = "switch-dev".parse::<EswitchMode>().unwrap_err().to_string();
        assert_eq!(error, "eswitch mode \"switch-dev\" is none of legacy, switchdev");
    }

    #[test]
    fn numbers_are_those_of_linux_devlink_h() {
        assert_eq!(EswitchMode::Switchdev.number(), 1);
        assert_eq!(InlineMode::from_number(3), Some(InlineMode::Transport));
        assert_eq!(EncapMode::from_number(2), None);
    }

    #[test]
    fn what_a_driver_leaves_out_is_not_shown() {
        let eswitch = Eswitch { mode: Some(EswitchMode::Legacy), ..Eswitch::default() };
        assert_eq!(eswitch.to_string(), "mode legacy");
    }
}
