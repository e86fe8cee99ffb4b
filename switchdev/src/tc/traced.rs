//! A `Tc` that tells what it is asked and what came of it.

use tc_filter::Attach;

use super::{Dump, Op, Outcome, Tc, TcError};

/// Hands every op with its outcome, and every dump, to a listener, one line each.
pub struct Traced<T, L> {
    inner: T,
    listener: L,
}

impl<T, L> std::fmt::Debug for Traced<T, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Traced")
    }
}

impl<T: Tc, L: FnMut(&str) + Send> Traced<T, L> {
    /// Wraps `inner`; `listener` gets the lines.
    pub fn new(inner: T, listener: L) -> Self {
        Self { inner, listener }
    }

    fn tell(&mut self, op: &Op, outcome: &Outcome) {
        let came = match outcome {
            Ok(applied) => match &applied.refusal {
                Some(refusal) => format!("in software only: {refusal}"),
                None => "done".to_owned(),
            },
            Err(error) => error.to_string(),
        };
        (self.listener)(&format!("{op}: {came}"));
    }
}

impl<T: Tc, L: FnMut(&str) + Send> Tc for Traced<T, L> {
    fn apply(&mut self, ops: &[Op]) -> Result<Vec<Outcome>, TcError> {
        let outcomes = self.inner.apply(ops)?;
        for (op, outcome) in ops.iter().zip(&outcomes) {
            self.tell(op, outcome);
        }
        Ok(outcomes)
    }

    fn dump(&mut self, attach: Attach) -> Result<Dump, TcError> {
        let dump = self.inner.dump(attach)?;
        let (ours, all) = (dump.filters.iter().filter(|seen| seen.is_ours()), &dump.filters);
        let line = format!("dump {attach}: {} filters, {} of them ours", all.len(), ours.count());
        (self.listener)(&line);
        Ok(dump)
    }
}
