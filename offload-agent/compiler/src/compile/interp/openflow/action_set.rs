//! The order of an action set (`ofpacts_execute_action_set` in `lib/ofp-actions.c`); a group's buckets are such sets.

use crate::openflow::Action;

/// The actions in the order in which they run. Without one that ends in something, none of them does.
pub(super) fn ordered<'a>(set: &[&'a Action]) -> Vec<&'a Action> {
    let last_of = |wanted: Place| set.iter().rev().find(|action| place(action) == wanted);
    let Some(end) = ENDS.iter().find_map(|end| last_of(*end)) else { return Vec::new() };
    let once = ONCE.iter().filter_map(|wanted| last_of(*wanted));
    let writes = set.iter().filter(|action| place(action) == Place::Write);
    once.chain(writes).chain([end]).copied().collect()
}

/// Where an action stands in the set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    PopVlan,
    PushVlan,
    DecTtl,
    /// Not read here; what it stands for is left to the walk, which does not know it.
    Foreign,
    Write,
    Ct,
    CtClear,
    Resubmit,
    Output,
    Group,
    Nowhere,
}

/// What runs once, in this order.
const ONCE: [Place; 4] = [Place::PopVlan, Place::Foreign, Place::PushVlan, Place::DecTtl];
/// What ends the set: the first of these that is there.
const ENDS: [Place; 5] = [Place::Group, Place::Output, Place::Resubmit, Place::CtClear, Place::Ct];

fn place(action: &Action) -> Place {
    use Action as A;
    match action {
        A::PopVlan | A::StripVlan => Place::PopVlan,
        A::PushVlan(_) => Place::PushVlan,
        A::DecTtl { .. } => Place::DecTtl,
        A::PopMpls(_) | A::PushMpls(_) | A::DecMplsTtl | A::DecNshTtl => Place::Foreign,
        A::Decap { .. } | A::Encap(_) | A::Unsupported(_) => Place::Foreign,
        A::Ct(_) => Place::Ct,
        A::CtClear => Place::CtClear,
        A::Resubmit(_) => Place::Resubmit,
        A::Output(_) | A::OutputController { .. } => Place::Output,
        A::Group(_) => Place::Group,
        A::Move { .. } | A::ModTpSrc(_) | A::ModTpDst(_) | A::SetQueue(_) => Place::Write,
        A::ModVlanVid(_) | A::SetVlanVid(_) | A::ModVlanPcp(_) | A::SetVlanPcp(_) => Place::Write,
        other if other.assignment().is_some() => Place::Write,
        _ => Place::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openflow::OfPort;

    #[test]
    fn an_output_comes_last_and_a_set_without_an_end_does_nothing() {
        let (output, push, ttl) =
            (Action::Output(OfPort(1)), Action::PushVlan(0x8100), Action::ModNwTtl(5));
        assert_eq!(ordered(&[&output, &ttl, &push]), [&push, &ttl, &output]);
        assert!(ordered(&[&push, &ttl]).is_empty());
    }

    #[test]
    fn a_group_outranks_an_output_and_the_last_output_the_others() {
        let (one, two) = (Action::Output(OfPort(1)), Action::Output(OfPort(2)));
        let group = Action::Group(crate::openflow::GroupId(3));
        assert_eq!(ordered(&[&one, &two]), [&two]);
        assert_eq!(ordered(&[&group, &two]), [&group]);
    }
}
