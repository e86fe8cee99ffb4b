//! What is known of a packet on its way through the tables.

use std::rc::Rc;

use super::graph::is_of_the_pipeline;
use super::value::{Bits, Parts, Test};
use crate::openflow::{Field, Masked, Match, OfPort, Subfield};

/// A place that holds bits: a field, or a place on the pipeline's stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::compile) enum Slot {
    /// A field of the packet or of the pipeline.
    Field(Field),
    /// The stack, from the bottom.
    Stack(u8),
    /// The VLAN tag behind the outer one.
    InnerTag,
}

/// Where packets come from decides what their tunnel fields hold at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) enum Origin {
    /// A device: there was no tunnel.
    Device,
    /// A tunnel.
    Tunnel,
}

/// What is known of a packet on its way through the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) struct State {
    origin: Origin,
    /// OVS looks at one tag only, so behind it there is none.
    one_tag: bool,
    slots: Slots,
    /// What the packet's own fields are known to hold.
    pub(in crate::compile) told: Match,
    /// Places in use on the stack.
    pub(super) stack: u8,
    /// It has been through an address translation, so OVS must not see it again.
    pub(super) translated: bool,
}

/// What was written, in order. States are copied far more often than they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Slots(Rc<Vec<(Slot, Bits)>>);

impl Slots {
    fn position(&self, slot: Slot) -> Result<usize, usize> {
        self.0.binary_search_by_key(&slot, |(known, _)| *known)
    }

    fn get(&self, slot: Slot) -> Option<&Bits> {
        let at = self.position(slot).ok()?;
        Some(&self.0[at].1)
    }

    fn get_mut(&mut self, slot: Slot) -> Option<&mut Bits> {
        let at = self.position(slot).ok()?;
        Some(&mut Rc::make_mut(&mut self.0)[at].1)
    }

    fn insert(&mut self, slot: Slot, bits: Bits) {
        let place = self.position(slot);
        let slots = Rc::make_mut(&mut self.0);
        match place {
            Ok(at) => slots[at].1 = bits,
            Err(at) => slots.insert(at, (slot, bits)),
        }
    }

    fn retain(&mut self, mut kept: impl FnMut(Slot, &mut Bits) -> bool) {
        Rc::make_mut(&mut self.0).retain_mut(|(slot, bits)| kept(*slot, bits));
    }
}

impl State {
    /// A packet that comes in by a port.
    pub(in crate::compile) fn new(origin: Origin, in_port: OfPort, one_tag: bool) -> State {
        let slots = Slots::default();
        let (told, stack, translated) = (Match::any(), 0, false);
        let mut state = State { origin, one_tag, slots, told, stack, translated };
        state.set(Slot::Field(Field::InPort), Bits::constant(in_port.0.into()));
        state
    }

    pub(in crate::compile) fn get(&self, slot: Slot) -> Bits {
        self.slots.get(slot).cloned().unwrap_or_else(|| self.initial(slot))
    }

    /// Looks at what a place holds.
    pub(super) fn peek<T>(&self, slot: Slot, look: impl FnOnce(&Bits) -> T) -> T {
        match self.slots.get(slot) {
            Some(bits) => look(bits),
            None => look(&self.initial(slot)),
        }
    }

    pub(in crate::compile) fn field(&self, field: Field) -> Bits {
        self.get(Slot::Field(field))
    }

    pub(super) fn set(&mut self, slot: Slot, bits: Bits) {
        self.slots.insert(slot, bits);
    }

    /// Whether something was written into a field, or came with the packet from a tunnel.
    pub(in crate::compile) fn has_option(&self, field: Field) -> bool {
        self.origin == Origin::Tunnel || self.slots.get(Slot::Field(field)).is_some()
    }

    fn initial(&self, slot: Slot) -> Bits {
        match slot {
            Slot::InnerTag if self.one_tag => Bits::constant(0),
            Slot::Stack(_) | Slot::InnerTag => Bits::unknown(),
            Slot::Field(field) if is_zero(field, self.origin) => Bits::constant(0),
            // The port in 32 bits, of which the lower 16 are those of `in_port`.
            Slot::Field(Field::InPortOxm) => Bits::unknown(),
            Slot::Field(Field::ActsetOutput) => Bits::constant(OfPort::UNSET.0.into()),
            Slot::Field(field) => Bits::link(field),
        }
    }

    /// Writes a constant into some bits of a field.
    pub(super) fn load(&mut self, field: Field, masked: Masked) {
        let slot = Slot::Field(field);
        match self.slots.get_mut(slot) {
            Some(bits) => bits.load(masked),
            None => {
                let mut bits = self.initial(slot);
                bits.load(masked);
                self.slots.insert(slot, bits);
            }
        }
    }

    /// Some bits of a field, as wide registers too.
    pub(in crate::compile) fn read(&self, from: Subfield) -> Bits {
        let mut bits = Bits::constant(0);
        let mut at = 0;
        for part in narrow(from) {
            bits.put(at, part.n_bits, &self.field(part.field).slice(part.offset, part.n_bits));
            at += part.n_bits;
        }
        bits
    }

    /// Writes some bits of a field, as wide registers too.
    pub(super) fn write(&mut self, to: Subfield, bits: &Bits) {
        let mut at = 0;
        for part in narrow(to) {
            let mut whole = self.field(part.field);
            whole.put(part.offset, part.n_bits, &bits.slice(at, part.n_bits));
            self.set(Slot::Field(part.field), whole);
            at += part.n_bits;
        }
    }

    /// One field of a match.
    pub(super) fn test(&self, field: Field, asked: Masked) -> Test {
        let Some(bits) = self.slots.get(Slot::Field(field)) else {
            return self.on_packet(self.initial(Slot::Field(field)).test(asked));
        };
        self.on_packet(bits.test(asked))
    }

    fn on_packet(&self, test: Test) -> Test {
        let Test::If(parts) = test else { return test };
        let mut open = Parts::new();
        for (field, asked) in parts {
            let Some(told) = self.told.get(field) else {
                open.push((field, asked));
                continue;
            };
            if (told.value ^ asked.value) & told.mask & asked.mask != 0 {
                return Test::Never;
            }
            let rest = Masked::new(asked.value, asked.mask & !told.mask);
            if rest.mask != 0 {
                open.push((field, rest));
            }
        }
        Test::If(open)
    }

    /// What holds once the packet is known to match.
    pub(in crate::compile) fn learn(&mut self, takes: &Match) {
        takes.fields().iter().for_each(|field| self.told.insert(field.field, field.masked));
    }

    /// The bits of a field, with what is known of the packet put in.
    pub(in crate::compile) fn settled(&self, slot: Slot) -> Bits {
        self.get(slot).settled(|field| self.told.get(field))
    }

    /// Bits of a register are whatever it holds.
    pub(in crate::compile) fn leave_open(&mut self, register: Field, mask: u128) {
        let mut bits = self.field(register);
        bits.leave_open(register, mask);
        self.set(Slot::Field(register), bits);
    }

    /// The packet comes back from connection tracking.
    pub(in crate::compile) fn tracked(&mut self, zone: &Bits, ct_state: Bits, translated: bool) {
        let changed = |field| is_ct(field) || translated && is_translated(field);
        self.slots.retain(|slot, bits| {
            bits.forget(changed);
            !matches!(slot, Slot::Field(field) if changed(field))
        });
        for field in [Field::CtMark, Field::CtLabel] {
            self.set(Slot::Field(field), Bits::link(field));
        }
        self.set(Slot::Field(Field::CtZone), zone.clone());
        self.set(Slot::Field(Field::CtState), ct_state);
        self.told = without(&self.told, changed);
    }

    /// The packet is not tracked any more.
    pub(super) fn untracked(&mut self) {
        for field in [Field::CtState, Field::CtZone, Field::CtMark, Field::CtLabel] {
            self.set(Slot::Field(field), Bits::constant(0));
        }
    }

    /// The packet goes on in another bridge: what it carries stays, what the pipeline knew goes.
    pub(super) fn crosses(&mut self, in_port: OfPort) {
        self.slots.retain(|slot, _| match slot {
            Slot::Field(field) => !is_of_the_pipeline(field),
            Slot::Stack(_) => false,
            Slot::InnerTag => true,
        });
        self.stack = 0;
        // The options of a tunnel are gone, and to match one would be to ask for what the packet came with.
        if self.origin == Origin::Tunnel {
            self.set(Slot::Field(Field::TunMetadata(0)), Bits::unknown());
        }
        self.origin = Origin::Device;
        self.set(Slot::Field(Field::InPort), Bits::constant(in_port.0.into()));
    }
}

/// The match without some fields.
pub(super) fn without(takes: &Match, gone: impl Fn(Field) -> bool) -> Match {
    let mut rest = Match::any();
    let kept = takes.fields().iter().filter(|field| !gone(field.field));
    kept.for_each(|field| rest.insert(field.field, field.masked));
    rest
}

/// The places that some bits are in, from the lowest bit on: those of a [`Match`], which has one name for each.
pub(super) fn narrow(named: Subfield) -> Vec<Subfield> {
    let at = |field, lowest: u16| vec![Subfield { field, offset: named.offset + lowest, ..named }];
    match named.field {
        Field::XReg(n) => words(named, n.saturating_mul(2), 2),
        Field::XxReg(n) => words(named, n.saturating_mul(4), 4),
        Field::VlanVid => at(Field::VlanTci, 0),
        Field::VlanPcp => at(Field::VlanTci, 13),
        Field::IpDscp => at(Field::NwTos, 2),
        Field::InPortOxm if named.offset + named.n_bits <= Field::InPort.bits() => {
            at(Field::InPort, 0)
        }
        _ => vec![named],
    }
}

/// The registers that some bits of a wide one are in.
fn words(wide: Subfield, first: u8, words: u8) -> Vec<Subfield> {
    let mut parts = Vec::new();
    let (mut at, end) = (wide.offset, wide.offset + wide.n_bits);
    while at < end {
        let word = u8::try_from(at / 32).unwrap_or(u8::MAX);
        let n_bits = (end - at).min(32 - at % 32);
        let field = Field::Reg(first.saturating_add(words - 1 - word.min(words - 1)));
        parts.push(Subfield { field, offset: at % 32, n_bits });
        at += n_bits;
    }
    parts
}

/// Fields that are 0 in a packet that comes from a device.
fn is_zero(field: Field, origin: Origin) -> bool {
    match field {
        Field::RecircId | Field::ConjId | Field::PacketType => true,
        Field::CtState | Field::CtZone | Field::CtMark | Field::CtLabel => true,
        Field::TunId | Field::TunSrc | Field::TunDst | Field::TunIpv6Src | Field::TunIpv6Dst => {
            origin == Origin::Device
        }
        register => register.is_register(),
    }
}

pub(in crate::compile) fn is_ct(field: Field) -> bool {
    use Field::*;
    matches!(field, CtState | CtZone | CtMark | CtLabel | CtNwSrc | CtNwDst | CtIpv6Src)
        || matches!(field, CtIpv6Dst | CtNwProto | CtTpSrc | CtTpDst)
}

/// What an address translation may change.
pub(in crate::compile) fn is_translated(field: Field) -> bool {
    use Field::*;
    matches!(field, IpSrc | IpDst | Ipv6Src | Ipv6Dst | TcpSrc | TcpDst | UdpSrc | UdpDst)
        || matches!(field, SctpSrc | SctpDst | IcmpType | IcmpCode | Icmpv6Type | Icmpv6Code)
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;

    #[test]
    fn a_wide_register_is_its_narrow_ones() {
        let part = |offset, n_bits| narrow(Subfield { field: Field::XxReg(0), offset, n_bits });
        assert_eq!(part(96, 1), [Subfield { field: Field::Reg(0), offset: 0, n_bits: 1 }]);
        assert_eq!(
            part(80, 48),
            [
                Subfield { field: Field::Reg(1), offset: 16, n_bits: 16 },
                Subfield { field: Field::Reg(0), offset: 0, n_bits: 32 }
            ]
        );
    }

    #[test]
    fn what_a_packet_matched_is_known_from_then_on() {
        let mut state = State::new(Origin::Device, OfPort(1), true);
        let test =
            |state: &State, ethertype| state.test(Field::EthType, Masked::new(ethertype, 0xffff));
        let ip = Masked::new(0x800, 0xffff);
        assert_eq!(test(&state, 0x800), Test::If(smallvec![(Field::EthType, ip)]));
        state.learn(&Match::any().with(Field::EthType, 0x800));
        assert_eq!(test(&state, 0x800), Test::If(smallvec![]));
        assert_eq!(test(&state, 0x806), Test::Never);
    }
}
