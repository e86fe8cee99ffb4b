//! What a plan asks of a card: chains, prios and masks. Cards have a table for each chain and prio, and in it a group for
//! each mask, and both are scarce.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tc_filter::text::Numbered;
use tc_filter::{ChainId, Filter, Prio};

/// What a plan asks of a card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// The masks of each table, by what is matched.
    masks: BTreeMap<(ChainId, Prio), BTreeSet<String>>,
}

impl Needs {
    /// Counts.
    pub(super) fn of(filters: &[&Filter]) -> Needs {
        let mut needs = Needs::default();
        for filter in filters {
            let masks = needs.masks.entry((filter.chain, filter.prio)).or_default();
            masks.insert(shape(filter));
        }
        needs
    }

    fn prios_by_chain(&self) -> BTreeMap<ChainId, usize> {
        let mut prios = BTreeMap::new();
        self.masks.keys().for_each(|(chain, _)| *prios.entry(*chain).or_default() += 1);
        prios
    }
}

/// Which bits a filter looks at: its keys as `tc` writes them, without their values.
fn shape(filter: &Filter) -> String {
    let text = filter.text(&Numbered).to_string();
    let key = text.split_once(" flower ").map_or("", |(_, rest)| rest);
    let key = key.split(" action ").next().unwrap_or_default();
    let words: Vec<&str> = key.split(' ').filter(|word| !PLACES.contains(word)).collect();
    let pairs = words.chunks(2).map(|pair| match pair {
        [name, value] => format!("{name}/{}", mask(name, value)),
        rest => rest.concat(),
    });
    pairs.collect::<Vec<String>>().join(" ")
}

/// Where the filter runs, which is no key.
const PLACES: [&str; 3] = ["skip_sw", "skip_hw", "verbose"];

/// What follows the slash; of flags, their names.
fn mask<'a>(name: &str, value: &'a str) -> std::borrow::Cow<'a, str> {
    match value.split_once('/') {
        Some((_, mask)) => mask.into(),
        None if name == "ct_state" => value.replace('-', "+").into(),
        None => "".into(),
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prios = self.prios_by_chain();
        let most = self.masks.iter().max_by_key(|(_, masks)| masks.len());
        writeln!(
            f,
            "tables of the card (chain, prio): {} in {} chains",
            self.masks.len(),
            prios.len()
        )?;
        write!(f, "prios in a chain: {}", histogram(prios.values().copied()))?;
        match prios.iter().max_by_key(|(_, count)| **count) {
            Some((chain, _)) => writeln!(f, "; most in chain {chain}"),
            None => writeln!(f),
        }?;
        write!(f, "masks in a table: {}", histogram(self.masks.values().map(BTreeSet::len)))?;
        match most {
            Some(((chain, prio), _)) => writeln!(f, "; most in chain {chain} prio {prio}"),
            None => writeln!(f),
        }
    }
}

/// How many there are of each size.
fn histogram(sizes: impl Iterator<Item = usize>) -> String {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    sizes.for_each(|size| *counts.entry(size).or_default() += 1);
    let words: Vec<String> =
        counts.iter().map(|(size, count)| format!("{count} with {size}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(line: &str) -> Filter {
        Filter::parse(line, &Numbered).unwrap()
    }

    #[test]
    fn filters_of_one_prio_that_look_at_the_same_bits_share_a_mask() {
        let lines = [
            "filter add dev if1 ingress chain 0 prio 2 handle 0x1 protocol ip flower dst_ip 10.0.0.1 action drop",
            "filter add dev if2 ingress chain 0 prio 2 handle 0x2 protocol ip flower skip_sw dst_ip 10.0.0.2 action pass",
            "filter add dev if1 ingress chain 0 prio 2 handle 0x3 protocol ip flower dst_ip 10.1.0.0/16 action drop",
            "filter add dev if1 ingress chain 3 prio 1 handle 0x1 protocol ip flower action pass",
        ];
        let filters = lines.map(filter);
        let needs = Needs::of(&filters.iter().collect::<Vec<_>>());
        let text = needs.to_string();
        assert!(text.contains("(chain, prio): 2 in 2 chains"), "{text}");
        assert!(text.contains("prios in a chain: 2 with 1; most in chain 3"), "{text}");
        assert!(
            text.contains("masks in a table: 1 with 1, 1 with 2; most in chain 0 prio 2"),
            "{text}"
        );
    }
}
