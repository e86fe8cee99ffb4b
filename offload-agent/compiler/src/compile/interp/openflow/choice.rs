//! Choices that OVS makes by a hash, or by chance: every way through them is walked, one after the other.

/// The way through the choices: what is taken at each, and how many there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choices {
    taken: Vec<(usize, usize)>,
    next: usize,
}

impl Choices {
    /// Takes one of so many; the first at a choice that was never met.
    pub(super) fn of(&mut self, count: usize) -> usize {
        if count < 2 {
            return 0;
        }
        if self.next == self.taken.len() {
            self.taken.push((0, count));
        }
        let (choice, _) = self.taken[self.next];
        self.next += 1;
        choice
    }

    /// The next way, if there is one.
    pub(super) fn turn(mut self) -> Option<Choices> {
        self.next = 0;
        while let Some((choice, count)) = self.taken.pop() {
            if choice + 1 < count {
                self.taken.push((choice + 1, count));
                return Some(self);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_walked_once() {
        let mut ways = Vec::new();
        let mut next = Some(Choices::default());
        while let Some(mut choices) = next {
            let first = choices.of(2);
            let second = if first == 0 { choices.of(3) } else { 9 };
            ways.push((first, second));
            next = choices.turn();
        }
        assert_eq!(ways, [(0, 0), (0, 1), (0, 2), (1, 9)]);
    }
}
