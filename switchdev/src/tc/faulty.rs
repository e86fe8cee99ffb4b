//! A `Tc` that fails on purpose.

use tc_filter::Attach;

use super::{Dump, Op, Outcome, Tc, TcError};

/// Fails the n-th thing it is asked, counting every op and every dump from 0, and hands the others
/// on. A test that runs for every n finds each place where a failure is not thought of.
#[derive(Debug)]
pub struct Faulty<T> {
    inner: T,
    left: usize,
    error: TcError,
    fired: bool,
}

impl<T: Tc> Faulty<T> {
    /// Fails the `nth` thing with `error`.
    pub fn new(inner: T, nth: usize, error: TcError) -> Self {
        Self { inner, left: nth, error, fired: false }
    }

    /// Whether the failure has happened: a run that never reached it ends the search.
    #[must_use]
    pub fn fired(&self) -> bool {
        self.fired
    }

    /// What it wraps, to look at afterwards.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.inner
    }

    fn fails_now(&mut self) -> bool {
        let now = self.left == 0 && !self.fired;
        self.fired |= now;
        self.left = self.left.saturating_sub(1);
        now
    }

    fn apply_one(&mut self, op: &Op) -> Result<Vec<Outcome>, TcError> {
        if self.fails_now() {
            return Ok(vec![Err(self.error.clone())]);
        }
        self.inner.apply(std::slice::from_ref(op))
    }
}

impl<T: Tc> Tc for Faulty<T> {
    fn apply(&mut self, ops: &[Op]) -> Result<Vec<Outcome>, TcError> {
        let answers: Result<Vec<_>, _> = ops.iter().map(|op| self.apply_one(op)).collect();
        Ok(answers?.into_iter().flatten().collect())
    }

    fn dump(&mut self, attach: Attach) -> Result<Dump, TcError> {
        if self.fails_now() {
            return Err(self.error.clone());
        }
        self.inner.dump(attach)
    }
}
