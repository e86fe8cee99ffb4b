//! A card as it will be after the steps planned so far.

use std::collections::BTreeMap;

use super::{Change, Observed, OffloadPort, Step};
use crate::devlink::EswitchChange;
use crate::driver::Binding;
use crate::eswitch::{Eswitch, EswitchMode};
use crate::phys_port::VfIndex;

/// The part of a card's state that steps change.
#[derive(Debug, Clone)]
pub(super) struct Projection {
    pub(super) autoprobe: bool,
    pub(super) vfs: Vec<Binding>,
    pub(super) eswitch: Eswitch,
    hw_tc_offload: BTreeMap<OffloadPort, bool>,
    steps: Vec<Step>,
}

impl Projection {
    pub(super) fn new(observed: &Observed) -> Self {
        let sriov = observed.pf.sriov.as_ref();
        let legacy = Eswitch { mode: Some(EswitchMode::Legacy), ..Eswitch::default() };
        Self {
            autoprobe: sriov.is_none_or(|sriov| sriov.drivers_autoprobe),
            vfs: observed.pf.vfs().iter().map(|vf| Binding::of(&vf.function)).collect(),
            eswitch: observed.pf.eswitch.unwrap_or(legacy),
            hw_tc_offload: observed.hw_tc_offload.clone(),
            steps: Vec::new(),
        }
    }

    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    pub(super) fn vf_indexes(&self) -> Vec<VfIndex> {
        (0..).map(VfIndex).zip(&self.vfs).map(|(index, _)| index).collect()
    }

    /// Plans a change, unless the card will be so already.
    pub(super) fn plan(&mut self, change: Change) {
        let undo = match &change {
            Change::DriversAutoprobe(on) => self.autoprobe(*on),
            Change::VfCount(count) => self.vf_count(*count),
            Change::VfBinding(vf, binding) => self.vf_binding(*vf, binding),
            Change::Eswitch(setting) => self.eswitch_setting(*setting),
            Change::HwTcOffload(port, on) => self.offload(*port, *on),
        };
        if let Some(undo) = undo {
            self.steps.push(Step { change, undo: undo.0 });
        }
    }

    fn autoprobe(&mut self, on: bool) -> Option<Undo> {
        let before = std::mem::replace(&mut self.autoprobe, on);
        (before != on).then_some(Undo(Some(Change::DriversAutoprobe(before))))
    }

    /// New VFs are bound by the kernel, or by nobody; what was known of old ones' representors goes.
    fn vf_count(&mut self, count: u16) -> Option<Undo> {
        let before = u16::try_from(self.vfs.len()).unwrap_or(u16::MAX);
        let new = if self.autoprobe { Binding::Matched } else { Binding::Unbound };
        if before != count {
            self.vfs = vec![new; count.into()];
            self.forget_representors();
        }
        (before != count).then_some(Undo(Some(Change::VfCount(before))))
    }

    fn vf_binding(&mut self, vf: VfIndex, binding: &Binding) -> Option<Undo> {
        let place = self.vfs.get_mut(usize::from(vf.0))?;
        let before = std::mem::replace(place, binding.clone());
        (before != *binding).then_some(Undo(Some(Change::VfBinding(vf, before))))
    }

    /// A setting that the driver does not report is set, and cannot be taken back.
    fn eswitch_setting(&mut self, setting: EswitchChange) -> Option<Undo> {
        let eswitch = &mut self.eswitch;
        let before = match setting {
            EswitchChange::Mode(mode) => eswitch.mode.replace(mode).map(EswitchChange::Mode),
            EswitchChange::InlineMode(mode) => {
                eswitch.inline_mode.replace(mode).map(EswitchChange::InlineMode)
            }
            EswitchChange::EncapMode(mode) => {
                eswitch.encap_mode.replace(mode).map(EswitchChange::EncapMode)
            }
        };
        if before == Some(setting) {
            return None;
        }
        if matches!(setting, EswitchChange::Mode(_)) {
            self.forget_representors();
        }
        Some(Undo(before.map(Change::Eswitch)))
    }

    /// The setting of a netdev that is yet to come needs no taking back: it goes with the netdev.
    fn offload(&mut self, port: OffloadPort, on: bool) -> Option<Undo> {
        let before = self.hw_tc_offload.insert(port, on);
        (before != Some(on)).then(|| Undo(before.map(|on| Change::HwTcOffload(port, on))))
    }

    fn forget_representors(&mut self) {
        self.hw_tc_offload.retain(|port, _| *port == OffloadPort::Uplink);
    }
}

/// What takes a change back, if anything must.
struct Undo(Option<Change>);
