//! What the kernel's log says about the kernel's health.

/// How many lines of the console a failure shows.
pub const TAIL_LINES: usize = 30;

/// What starts a report of the kernel's. `panic` and `Oops` come last in a report, the cause first.
const PANICS: [&str; 2] = ["Kernel panic - not syncing", "Oops: "];

/// What a healthy run never logs. Case matters: "BUG:" is the kernel's, "bug" is anybody's.
const COMPLAINTS: [&str; 13] = [
    "Kernel panic",
    "WARNING: ",
    "BUG: ",
    "kernel BUG at ",
    "Oops: ",
    "Oops[#",
    "general protection fault",
    "Call Trace:",
    "KASAN: ",
    "INFO: task ",
    "detected stall",
    "soft lockup",
    "kmemleak: ",
];

/// Whether the log tells of a panic or an oops.
#[must_use]
pub fn panicked(log: &str) -> bool {
    PANICS.iter().any(|sign| log.contains(sign))
}

/// The lines of a kernel log in which the kernel complains about itself.
#[must_use]
pub fn complaints(log: &str) -> Vec<&str> {
    log.lines().filter(|line| is_complaint(line)).collect()
}

fn is_complaint(line: &str) -> bool {
    COMPLAINTS.iter().any(|sign| line.contains(sign))
        && !line.contains("kmemleak: Kernel memory leak detector initialized")
}

/// What to show of a log: from the first complaint on, or else the last lines.
#[must_use]
pub fn excerpt(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    match lines.iter().position(|line| is_complaint(line)) {
        // The line before often names the cause, as with KASAN's rulers.
        Some(first) => lines[first.saturating_sub(1)..]
            .iter()
            .take(TAIL_LINES)
            .copied()
            .collect::<Vec<_>>()
            .join("\n"),
        None => tail(log),
    }
}

/// The last lines of a console, where the reason of an end is.
#[must_use]
pub fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_from_a_quiet_end() {
        assert!(panicked("[    5.1] Kernel panic - not syncing: sysrq triggered crash"));
        assert!(panicked("[    5.1] Oops: 0002 [#1] PREEMPT SMP NOPTI"));
        assert!(!panicked("[    5.1] reboot: Power down"));
    }

    #[test]
    fn a_warning_is_a_complaint_and_a_module_that_taints_is_not() {
        let log = "nicsim: loading out-of-tree module taints kernel.\n\
                   WARNING: CPU: 1 PID: 7 at net/core/dev.c:6545 netif_napi_add_weight+0x1/0x2\n\
                   igb 0000:02:00.0: added PHC on eth0";
        assert_eq!(
            complaints(log),
            ["WARNING: CPU: 1 PID: 7 at net/core/dev.c:6545 netif_napi_add_weight+0x1/0x2"]
        );
    }

    #[test]
    fn kmemleak_complains_of_leaks_and_not_of_being_there() {
        assert!(
            complaints(
                "kmemleak: Kernel memory leak detector initialized (mem pool available: 15679)"
            )
            .is_empty()
        );
        assert_eq!(complaints("kmemleak: 2 new suspected memory leaks").len(), 1);
    }

    #[test]
    fn an_excerpt_begins_where_the_trouble_does() {
        let rest = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
        assert!(excerpt(&format!("{rest}\nBUG: it\n{rest}")).starts_with("99\nBUG: it\n0\n"));
        assert_eq!(excerpt(&rest), tail(&rest));
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let log = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
        assert!(tail(&log).starts_with("70\n"));
        assert!(tail(&log).ends_with("99"));
        assert_eq!(tail("one"), "one");
    }
}
