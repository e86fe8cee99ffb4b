//! clsact qdiscs: added where we need one, taken away again only where we made it and nobody else uses it.
//!
//! A qdisc cannot carry a mark, so a note of each one that we make is kept in a directory, by the device's name and
//! number. The note is written before the qdisc is made: after a crash there may be a note too many, which does no harm,
//! since a qdisc that somebody uses stays anyway.

use std::io::ErrorKind;
use std::path::PathBuf;

use switchdev::tc::{Op, Tc, TcError};
use tc_filter::{Attach, IfIndex};

/// The directory of notes.
#[derive(Clone, Debug)]
pub struct Notes {
    dir: PathBuf,
}

/// A note cannot be written, or a qdisc cannot be made or taken away.
#[derive(Debug, thiserror::Error)]
pub enum QdiscError {
    /// The directory of notes is not usable.
    #[error("{}: {source}; `runDir` must be a directory that the agent can write to", path.display())]
    Note {
        /// The note.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel refused.
    #[error("clsact of device {device}: {source}")]
    Kernel {
        /// The device.
        device: IfIndex,
        /// Why.
        source: TcError,
    },
}

impl Notes {
    /// Notes below the agent's runtime directory.
    #[must_use]
    pub fn below(run_dir: &std::path::Path) -> Self {
        Self { dir: run_dir.join("clsact") }
    }

    fn path(&self, name: &str, device: IfIndex) -> PathBuf {
        self.dir.join(format!("{name}.{device}"))
    }

    fn has(&self, name: &str, device: IfIndex) -> bool {
        self.path(name, device).exists()
    }

    fn write(&self, name: &str, device: IfIndex) -> Result<(), QdiscError> {
        let path = self.path(name, device);
        let written = std::fs::create_dir_all(&self.dir).and_then(|()| std::fs::write(&path, ""));
        written.map_err(|source| QdiscError::Note { path, source })
    }

    fn remove(&self, name: &str, device: IfIndex) -> Result<(), QdiscError> {
        let path = self.path(name, device);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(QdiscError::Note { path, source })
            }
            _ => Ok(()),
        }
    }
}

/// Makes sure that a device has a clsact qdisc.
///
/// # Errors
///
/// When the note cannot be written, or the kernel refuses for another reason than that there is one already.
pub fn ensure(
    tc: &mut dyn Tc,
    notes: &Notes,
    name: &str,
    device: IfIndex,
) -> Result<(), QdiscError> {
    let known = notes.has(name, device);
    notes.write(name, device)?;
    match change(tc, Op::AddClsact(device)) {
        Err(TcError::Exists(_)) if known => Ok(()),
        Err(TcError::Exists(_)) => notes.remove(name, device),
        Err(source) => Err(QdiscError::Kernel { device, source }),
        Ok(()) => Ok(()),
    }
}

/// Takes the qdisc of a device away if we made it and nothing hangs on it. Whether it did.
///
/// # Errors
///
/// When the kernel does not answer or refuses.
pub fn release(
    tc: &mut dyn Tc,
    notes: &Notes,
    name: &str,
    device: IfIndex,
) -> Result<bool, QdiscError> {
    let kernel = |source| QdiscError::Kernel { device, source };
    if !notes.has(name, device) || !is_empty(tc, device).map_err(kernel)? {
        return Ok(false);
    }
    match change(tc, Op::DelClsact(device)) {
        Ok(()) | Err(TcError::NotFound(_) | TcError::NoDevice(_)) => {}
        Err(source) => return Err(kernel(source)),
    }
    notes.remove(name, device)?;
    Ok(true)
}

fn is_empty(tc: &mut dyn Tc, device: IfIndex) -> Result<bool, TcError> {
    let mut nothing = true;
    for attach in [Attach::Ingress(device), Attach::Egress(device)] {
        let dump = tc.dump(attach)?;
        nothing &= dump.filters.is_empty() && dump.undecoded.is_empty();
    }
    Ok(nothing)
}

fn change(tc: &mut dyn Tc, op: Op) -> Result<(), TcError> {
    let outcome = tc.apply(&[op])?.pop();
    outcome.unwrap_or(Err(TcError::AnswerLost)).map(drop)
}

#[cfg(test)]
mod tests {
    use switchdev::tc::{Fake, Undecoded};

    use super::*;

    const DEVICE: IfIndex = IfIndex(4);

    fn setup() -> (tempfile::TempDir, Notes, Fake) {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::below(dir.path());
        (dir, notes, Fake::new([DEVICE]))
    }

    #[test]
    fn ours_goes_when_it_is_empty() {
        let (_dir, notes, mut tc) = setup();
        ensure(&mut tc, &notes, "np0r0", DEVICE).unwrap();
        ensure(&mut tc, &notes, "np0r0", DEVICE).unwrap();
        assert!(release(&mut tc, &notes, "np0r0", DEVICE).unwrap());
        assert!(!tc.has_clsact(DEVICE));
    }

    #[test]
    fn one_that_was_there_before_stays() {
        let (_dir, notes, mut tc) = setup();
        change(&mut tc, Op::AddClsact(DEVICE)).unwrap();
        ensure(&mut tc, &notes, "np0r0", DEVICE).unwrap();
        assert!(!release(&mut tc, &notes, "np0r0", DEVICE).unwrap());
        assert!(tc.has_clsact(DEVICE));
    }

    #[test]
    fn ours_stays_while_somebody_uses_it() {
        let (_dir, notes, mut tc) = setup();
        ensure(&mut tc, &notes, "np0r0", DEVICE).unwrap();
        let theirs = Undecoded { id: None, kind: "u32".to_owned(), why: "not flower".to_owned() };
        tc.add_undecoded(Attach::Egress(DEVICE), theirs);
        assert!(!release(&mut tc, &notes, "np0r0", DEVICE).unwrap());
        assert!(tc.has_clsact(DEVICE));
    }

    #[test]
    fn another_device_under_the_same_name_is_not_meant() {
        let (_dir, notes, mut tc) = setup();
        ensure(&mut tc, &notes, "np0r0", DEVICE).unwrap();
        tc.add_device(IfIndex(9));
        change(&mut tc, Op::AddClsact(IfIndex(9))).unwrap();
        assert!(!release(&mut tc, &notes, "np0r0", IfIndex(9)).unwrap());
    }
}
