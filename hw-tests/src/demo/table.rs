//! What was counted, as a table, and whether it is as it should be.

/// One kind of traffic, with one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// What it was.
    pub(super) name: &'static str,
    /// Packets sent.
    pub(super) sent: u64,
    /// Packets that arrived.
    pub(super) received: u64,
    /// Packets that representors and uplink received from the card: the slow path.
    pub(super) slow: u64,
    /// Packets that filters in hardware counted, of the rules for this traffic.
    pub(super) hardware: u64,
}

/// Where all packets should have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// Through the card.
    Hardware,
    /// Through representors and Open vSwitch.
    Software,
}

const HEAD: [&str; 5] = ["", "sent", "received", "seen by representors", "counted in hardware"];

/// The table.
pub(super) fn render(rows: &[Row]) -> String {
    let head = line(HEAD[0], [HEAD[1], HEAD[2], HEAD[3], HEAD[4]]);
    let rows =
        rows.iter().map(|row| line(row.name, [row.sent, row.received, row.slow, row.hardware]));
    std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
}

fn line<T: std::fmt::Display>(name: &str, [sent, received, slow, hardware]: [T; 4]) -> String {
    format!("{name:<22}{sent:>6}{received:>10}{slow:>22}{hardware:>21}")
}

/// What is not as it should be.
pub(super) fn faults(rows: &[Row], path: Path) -> Vec<String> {
    rows.iter().flat_map(|row| row.faults(path)).collect()
}

impl Row {
    fn faults(&self, path: Path) -> Vec<String> {
        let Self { name, sent, received, slow, hardware } = *self;
        let delivered =
            (received != sent).then(|| format!("{received} packets arrived, and {sent} were sent"));
        let (past, counted) = match path {
            Path::Hardware => (
                (slow > 0).then(|| format!("representors saw {slow} packets, and should see none")),
                (hardware < sent).then(|| format!("hardware counted {hardware} packets of {sent}")),
            ),
            Path::Software => (
                (slow < sent)
                    .then(|| format!("representors saw {slow} packets, and should see {sent}")),
                (hardware > 0).then(|| format!("hardware counted {hardware} packets, and is off")),
            ),
        };
        [delivered, past, counted]
            .into_iter()
            .flatten()
            .map(|fault| format!("{name}: {fault}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(received: u64, slow: u64, hardware: u64) -> [Row; 1] {
        [Row { name: "VF to VF", sent: 1000, received, slow, hardware }]
    }

    #[test]
    fn traffic_through_the_card_is_seen_by_no_representor() {
        assert!(faults(&row(1000, 0, 1000), Path::Hardware).is_empty());
        assert_eq!(faults(&row(1000, 1, 1000), Path::Hardware).len(), 1);
        assert_eq!(faults(&row(1000, 0, 999), Path::Hardware).len(), 1);
    }

    #[test]
    fn a_lost_packet_is_a_fault_on_either_path() {
        assert_eq!(faults(&row(999, 0, 1000), Path::Hardware).len(), 1);
        assert_eq!(faults(&row(999, 1000, 0), Path::Software).len(), 1);
    }

    #[test]
    fn the_slow_path_goes_past_the_representors() {
        assert!(faults(&row(1000, 1000, 0), Path::Software).is_empty());
        assert_eq!(faults(&row(1000, 0, 0), Path::Software).len(), 1);
        assert_eq!(faults(&row(1000, 1000, 1), Path::Software).len(), 1);
        assert_eq!(faults(&row(1000, 0, 1000), Path::Software).len(), 2);
    }
}
