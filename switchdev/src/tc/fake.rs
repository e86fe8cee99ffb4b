//! A `Tc` in memory that keeps the kernel's rules: what exists, what is refused, what a full card
//! does. The suite in [`super::contract`] holds it and the kernel to the same answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tc_filter::{Attach, BlockId, Filter, FilterId, HwPolicy, IfIndex, InHw};

use super::{Applied, Counters, Dump, Observed, Op, Outcome, Sentence, Tc, TcError, Undecoded};

const EINVAL: i32 = 22;

/// TC in memory. Devices must be named first; none has a clsact qdisc or a card.
#[derive(Debug, Default)]
pub struct Fake {
    devices: BTreeSet<IfIndex>,
    blocks: BTreeSet<BlockId>,
    clsact: BTreeSet<IfIndex>,
    filters: BTreeMap<FilterId, Observed>,
    undecoded: BTreeMap<Attach, Vec<Undecoded>>,
    card: Option<FakeCard>,
}

/// The card behind every device of a [`Fake`].
#[derive(Default)]
pub struct FakeCard {
    capacity: Option<usize>,
    refuses: Option<Refuses>,
}

type Refuses = Box<dyn Fn(&Filter) -> Option<String> + Send>;

impl fmt::Debug for FakeCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeCard").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl FakeCard {
    /// A card that takes every filter.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// It has room for so many filters.
    #[must_use]
    pub fn capacity(mut self, filters: usize) -> Self {
        self.capacity = Some(filters);
        self
    }

    /// It refuses the filters for which `sentence` gives one.
    #[must_use]
    pub fn refusing(
        mut self,
        sentence: impl Fn(&Filter) -> Option<String> + Send + 'static,
    ) -> Self {
        self.refuses = Some(Box::new(sentence));
        self
    }

    fn refusal(&self, filter: &Filter) -> Option<Sentence> {
        self.refuses.as_ref()?(filter).map(Sentence::new)
    }
}

impl Fake {
    /// A node with these devices.
    pub fn new(devices: impl IntoIterator<Item = IfIndex>) -> Self {
        Self { devices: devices.into_iter().collect(), ..Self::default() }
    }

    /// Puts a card behind the devices.
    #[must_use]
    pub fn with_card(mut self, card: FakeCard) -> Self {
        self.card = Some(card);
        self
    }

    /// A device appears.
    pub fn add_device(&mut self, device: IfIndex) {
        self.devices.insert(device);
    }

    /// A device disappears, with what hangs on it.
    pub fn remove_device(&mut self, device: IfIndex) {
        self.devices.remove(&device);
        self.drop_clsact(device);
    }

    /// A shared block appears.
    pub fn add_block(&mut self, block: BlockId) {
        self.blocks.insert(block);
    }

    /// Someone else puts something on an attach point that is not a filter of our kind.
    pub fn add_undecoded(&mut self, attach: Attach, what: Undecoded) {
        self.undecoded.entry(attach).or_default().push(what);
    }

    /// Packets hit a filter, in the card where it has one.
    pub fn hit(&mut self, id: &FilterId, packets: u64, bytes: u64) {
        let Some(seen) = self.filters.get_mut(id) else { return };
        let counters = match seen.in_hw {
            InHw::Yes => &mut seen.hardware,
            InHw::No => &mut seen.software,
        };
        counters.packets += packets;
        counters.bytes += bytes;
        seen.last_used = Some(std::time::Duration::ZERO);
    }

    /// All filters, by id.
    pub fn filters(&self) -> impl Iterator<Item = &Observed> {
        self.filters.values()
    }

    /// Whether a device has its qdisc.
    #[must_use]
    pub fn has_clsact(&self, device: IfIndex) -> bool {
        self.clsact.contains(&device)
    }

    fn perform(&mut self, op: &Op) -> Outcome {
        match op {
            Op::AddClsact(device) => self.add_clsact(*device),
            Op::DelClsact(device) => self.del_clsact(*device),
            Op::Add(filter) => self.add(filter),
            Op::Replace(filter) => self.replace(filter),
            Op::Delete(id) => self.delete(id),
        }
    }

    fn add_clsact(&mut self, device: IfIndex) -> Outcome {
        self.device_exists(device)?;
        if !self.clsact.insert(device) {
            return Err(TcError::Exists(Sentence::new("Exclusivity flag on, cannot modify")));
        }
        Ok(Applied::default())
    }

    fn del_clsact(&mut self, device: IfIndex) -> Outcome {
        self.device_exists(device)?;
        if !self.drop_clsact(device) {
            let words = "Cannot find specified qdisc on specified device";
            return Err(TcError::NotFound(Sentence::new(words)));
        }
        Ok(Applied::default())
    }

    fn drop_clsact(&mut self, device: IfIndex) -> bool {
        self.filters.retain(|id, _| id.attach.device() != Some(device));
        self.undecoded.retain(|attach, _| attach.device() != Some(device));
        self.clsact.remove(&device)
    }

    fn add(&mut self, filter: &Filter) -> Outcome {
        self.attach_exists(filter.attach)?;
        self.protocol_fits(filter)?;
        if self.filters.contains_key(&filter.id()) {
            return Err(TcError::Exists(Sentence::new("Filter already exists")));
        }
        self.place(filter)
    }

    fn replace(&mut self, filter: &Filter) -> Outcome {
        self.attach_exists(filter.attach)?;
        self.protocol_fits(filter)?;
        self.place(filter)
    }

    fn delete(&mut self, id: &FilterId) -> Outcome {
        self.attach_exists(id.attach)?;
        match self.filters.remove(id) {
            Some(_) => Ok(Applied::default()),
            None => Err(TcError::NotFound(Sentence::new("Specified filter handle not found"))),
        }
    }

    /// `fl_change`: the key must be new in its prio, then the driver is asked.
    fn place(&mut self, filter: &Filter) -> Outcome {
        let filter = filter.clone().normalized();
        self.key_is_new(&filter)?;
        let refusal = self.ask_card(&filter)?;
        let in_hw = self.in_hw(&filter, refusal.as_ref());
        let seen = Observed {
            in_hw,
            in_hw_count: u32::from(in_hw == InHw::Yes),
            software: Counters::default(),
            hardware: Counters::default(),
            last_used: None,
            filter,
        };
        self.filters.insert(seen.filter.id(), seen);
        Ok(Applied { refusal })
    }

    fn device_exists(&self, device: IfIndex) -> Result<(), TcError> {
        if self.devices.contains(&device) {
            return Ok(());
        }
        Err(TcError::NoDevice(Sentence::new("No such device")))
    }

    fn attach_exists(&self, attach: Attach) -> Result<(), TcError> {
        match attach {
            Attach::Block(block) if self.blocks.contains(&block) => Ok(()),
            Attach::Block(_) => {
                let words = "Block of given index was not found";
                Err(TcError::Refused(Sentence::new(words), EINVAL))
            }
            Attach::Ingress(device) | Attach::Egress(device) => {
                self.device_exists(device)?;
                self.clsact_exists(device)
            }
        }
    }

    fn clsact_exists(&self, device: IfIndex) -> Result<(), TcError> {
        if self.clsact.contains(&device) {
            return Ok(());
        }
        Err(TcError::NoClsact(Sentence::new("Parent Qdisc doesn't exists")))
    }

    /// One prio has one protocol (`tcf_chain_tp_find`).
    fn protocol_fits(&self, filter: &Filter) -> Result<(), TcError> {
        let other = self.same_prio(&filter.id()).find(|seen| seen.protocol != filter.protocol);
        match other {
            None => Ok(()),
            Some(_) => {
                let words = "Filter with specified priority/protocol not found";
                Err(TcError::Refused(Sentence::new(words), EINVAL))
            }
        }
    }

    /// One prio has each key once (`fl_ht_insert_unique`); the kernel has no words for it.
    fn key_is_new(&self, filter: &Filter) -> Result<(), TcError> {
        let id = filter.id();
        let twin = self.same_prio(&id).find(|seen| seen.id() != id && seen.key == filter.key);
        match twin {
            None => Ok(()),
            Some(_) => Err(TcError::Exists(Sentence::new("File exists"))),
        }
    }

    fn same_prio(&self, id: &FilterId) -> impl Iterator<Item = &Filter> {
        let id = *id;
        let mates = self.filters.values().map(|seen| &seen.filter);
        mates.filter(move |mate| {
            mate.attach == id.attach && mate.chain == id.chain && mate.prio == id.prio
        })
    }

    /// The driver's words where it refuses a filter that may run in software too. A filter that
    /// may not fails.
    fn ask_card(&self, filter: &Filter) -> Result<Option<Sentence>, TcError> {
        let Some(card) = &self.card else {
            return Self::without_card(filter.hw);
        };
        if filter.hw == HwPolicy::SkipHw {
            return Ok(None);
        }
        let (refused, full) = (card.refusal(filter), self.card_is_full(card, &filter.id()));
        match (refused, full, filter.hw) {
            (None, false, _) => Ok(None),
            (Some(words), _, HwPolicy::SkipSw) => Err(TcError::NotSupported(words)),
            (None, true, HwPolicy::SkipSw) => Err(TcError::NoSpace(Self::full())),
            (words, _, _) => Ok(Some(words.unwrap_or_else(Self::full))),
        }
    }

    fn without_card(hw: HwPolicy) -> Result<Option<Sentence>, TcError> {
        match hw {
            HwPolicy::SkipSw => {
                Err(TcError::NotSupported(Sentence::new("Operation not supported")))
            }
            HwPolicy::Both | HwPolicy::SkipHw => Ok(None),
        }
    }

    fn full() -> Sentence {
        Sentence::new("flow table is full")
    }

    fn card_is_full(&self, card: &FakeCard, id: &FilterId) -> bool {
        let others =
            self.filters.iter().filter(|(other, seen)| *other != id && seen.in_hw == InHw::Yes);
        card.capacity.is_some_and(|room| others.count() >= room)
    }

    fn in_hw(&self, filter: &Filter, refusal: Option<&Sentence>) -> InHw {
        let asked = self.card.is_some() && filter.hw != HwPolicy::SkipHw;
        if asked && refusal.is_none() { InHw::Yes } else { InHw::No }
    }
}

impl Tc for Fake {
    fn apply(&mut self, ops: &[Op]) -> Result<Vec<Outcome>, TcError> {
        Ok(ops.iter().map(|op| self.perform(op)).collect())
    }

    fn dump(&mut self, attach: Attach) -> Result<Dump, TcError> {
        let on = self.filters.values().filter(|seen| seen.filter.attach == attach);
        let undecoded = self.undecoded.get(&attach).cloned().unwrap_or_default();
        Ok(Dump { filters: on.cloned().collect(), undecoded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tc::contract;

    const DEVICE: IfIndex = IfIndex(7);

    #[test]
    fn keeps_the_contract_without_a_card() {
        let mut fake = Fake::new([DEVICE]);
        contract::check(&mut fake, DEVICE).unwrap();
    }

    #[test]
    fn keeps_the_contract_with_a_card() {
        let mut fake = Fake::new([DEVICE]).with_card(FakeCard::new());
        contract::check(&mut fake, DEVICE).unwrap();
    }

    #[test]
    fn a_full_card_leaves_a_filter_in_software_and_says_so() {
        let mut fake = Fake::new([DEVICE]).with_card(FakeCard::new().capacity(1));
        let filters = contract::filters(DEVICE);
        let ops = [
            Op::AddClsact(DEVICE),
            Op::Add(filters[0].clone()),
            Op::Add(filters[1].clone()),
            Op::Add(Filter { hw: HwPolicy::SkipSw, ..filters[2].clone() }),
        ];
        let outcomes = fake.apply(&ops).unwrap();
        assert_eq!(outcomes[1], Ok(Applied::default()));
        assert_eq!(outcomes[2], Ok(Applied { refusal: Some(Fake::full()) }));
        assert_eq!(outcomes[3], Err(TcError::NoSpace(Fake::full())));
        let placed: Vec<InHw> = fake.filters().map(|seen| seen.in_hw).collect();
        assert_eq!(placed, [InHw::Yes, InHw::No]);
    }

    #[test]
    fn a_refusal_comes_with_the_drivers_words() {
        let refuse = |_: &Filter| Some("no chains here".to_owned());
        let mut fake = Fake::new([DEVICE]).with_card(FakeCard::new().refusing(refuse));
        let filter = contract::filters(DEVICE).remove(0);
        let outcomes = fake.apply(&[Op::AddClsact(DEVICE), Op::Add(filter)]).unwrap();
        let words = Sentence::new("no chains here");
        assert_eq!(outcomes[1], Ok(Applied { refusal: Some(words) }));
    }

    #[test]
    fn counters_move_where_the_filter_runs() {
        let mut fake = Fake::new([DEVICE]).with_card(FakeCard::new());
        let filter = contract::filters(DEVICE).remove(0);
        let _ = fake.apply(&[Op::AddClsact(DEVICE), Op::Add(filter.clone())]).unwrap();
        fake.hit(&filter.id(), 3, 300);
        let dump = fake.dump(filter.attach).unwrap();
        assert_eq!(dump.filters[0].hardware, Counters { packets: 3, bytes: 300 });
        assert_eq!(dump.filters[0].software, Counters::default());
    }
}
