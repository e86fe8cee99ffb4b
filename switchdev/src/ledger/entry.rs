//! An entry, and its file: JSON that a person can read in an emergency.
//!
//! The file says which version of the format it has. Unknown fields are errors: what a newer
//! program recorded must not be dropped by an older one that writes the entry again. A checksum
//! stands for the rest: one changed letter in the name of a namespace would set a VF free that a
//! pod has.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::LedgerError;
use crate::binding::{ExternalStep, VfPlace, VfState};
use crate::netns::NetnsId;
use crate::pci::PciAddress;

/// The version of the format that this program writes, and the only one it reads.
const VERSION: u32 = 1;

/// What the ledger says of a VF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    version: u32,
    /// The checksum of the entry in which this is 0; only the file's text has another number here.
    checksum: u32,
    /// The VF.
    pub vf: PciAddress,
    /// For which resource the kubelet has allocated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<Reservation>,
    /// What was done to it for a pod, or is being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
}

/// The kubelet has allocated the VF to some pod, which the device plugin is not told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// The resource, with its prefix: `linerate.dev/underlay`.
    pub resource: String,
}

/// All that is needed to give a VF back, written before the first step is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// How far it is.
    pub phase: Phase,
    /// Whose it is.
    pub holder: Holder,
    /// Which boot of the node it belongs to (`/proc/sys/kernel/random/boot_id`). After another one
    /// the kernel has made the VFs anew, and `original` is of things that are no more.
    pub boot: String,
    /// Where the VF is on its card.
    pub place: VfPlace,
    /// What it was before.
    pub original: VfState,
    /// What was planned, in words.
    pub steps: Vec<String>,
    /// The part of it that is no business of the kernel: a port on a bridge, an address from IPAM.
    #[serde(default)]
    pub external: Vec<ExternalStep>,
}

/// How far a VF is on its way to a pod, and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Steps are being taken; who finds it so and can lock the VF takes them back.
    Binding,
    /// The pod has it.
    Bound,
    /// Steps are being taken back; who finds it so and can lock the VF goes on.
    Releasing,
}

/// The attachment that a VF belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_IFNAME`: the interface's name in the pod.
    pub ifname: String,
    /// `CNI_NETNS`.
    pub netns: PathBuf,
    /// Which network namespace that was, as the path may come to name another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns_id: Option<NetnsId>,
    /// The network's name in its configuration.
    pub network: String,
    /// The pod, where the runtime said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID; empty where the runtime did not say.
    #[serde(default)]
    pub uid: String,
}

impl Entry {
    pub(super) fn empty(vf: PciAddress) -> Self {
        Self { version: VERSION, checksum: 0, vf, reservation: None, record: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.reservation.is_none() && self.record.is_none()
    }
}

impl Holder {
    /// Whether this is the attachment that the runtime speaks of.
    #[must_use]
    pub fn is(&self, container: &str, ifname: &str) -> bool {
        self.container == container && self.ifname == ifname
    }
}

pub(super) fn text(entry: &Entry) -> Vec<u8> {
    let entry = Entry { checksum: checksum(entry), ..entry.clone() };
    // Serializing fails for maps whose keys are no text and for a writer that fails: neither is here.
    let mut text = serde_json::to_vec_pretty(&entry).unwrap_or_default();
    text.push(b'\n');
    text
}

pub(super) fn parse(vf: PciAddress, path: &Path, bytes: &[u8]) -> Result<Entry, LedgerError> {
    let corrupt = |reason: String| LedgerError::Corrupt { path: path.to_owned(), reason };
    check_version(bytes).map_err(corrupt)?;
    let mut entry: Entry =
        serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
    if entry.vf != vf {
        let found = entry.vf;
        return Err(corrupt(format!(
            "field vf is {found}, which is not the VF the file is named by"
        )));
    }
    let (says, is) = (std::mem::take(&mut entry.checksum), checksum(&entry));
    if says != is {
        return Err(corrupt(format!(
            "field checksum is {says}, but the rest of the entry gives {is}"
        )));
    }
    Ok(entry)
}

/// CRC-32 of what an entry says, however its text is spaced.
fn checksum(entry: &Entry) -> u32 {
    let said = serde_json::to_vec(&Entry { checksum: 0, ..entry.clone() });
    crc32fast::hash(&said.unwrap_or_default())
}

/// Looked at first, so that a newer format is not called a mistake.
fn check_version(bytes: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let found: Versioned = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match found.version {
        VERSION => Ok(()),
        other => Err(format!("field version is {other}, this program knows version {VERSION}")),
    }
}

impl fmt::Display for Entry {
    /// `0000:01:10.0: bound to pod default/web as net1, linerate.dev/underlay`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.vf)?;
        match &self.record {
            Some(record) => write!(f, "{} {}", record.phase, record.holder)?,
            None => f.write_str("free")?,
        }
        self.reservation.iter().try_for_each(|reserved| write!(f, ", {}", reserved.resource))
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binding => "on its way to",
            Self::Bound => "bound to",
            Self::Releasing => "on its way back from",
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pod {
            Some(pod) => write!(f, "pod {}/{}", pod.namespace, pod.name)?,
            None => write!(f, "container {}", self.container)?,
        }
        write!(f, " as {}", self.ifname)
    }
}
