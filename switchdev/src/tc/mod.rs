//! TC filters: from values to the kernel and back.
//!
//! [`Tc`] is the border: the real [`Kernel`], a [`Fake`] in memory that keeps the same rules, and
//! two wrappers, [`Traced`] and [`Faulty`], that are `Tc` themselves. Both real and fake pass
//! [`contract::check`], so a test against the fake says something about the kernel.

mod codec;
pub mod contract;
mod error;
mod fake;
mod faulty;
mod kernel;
mod observed;
mod op;
mod traced;

pub use error::{Sentence, TcError};
pub use fake::{Fake, FakeCard};
pub use faulty::Faulty;
pub use kernel::{Kernel, encoded};
pub use observed::{Counters, Dump, Observed, Undecoded};
pub use op::{Applied, Op, Outcome};
pub use traced::Traced;

use tc_filter::Attach;

/// The kernel's TC, as far as we use it.
///
/// It blocks: an asynchronous caller puts it on a thread of its own. It works in the network
/// namespace of the thread that made it.
pub trait Tc: Send {
    /// Does what is asked, in the given order, and says of each what came of it: the answers are
    /// as many as the ops. One op's failure does not stop those after it.
    ///
    /// # Errors
    /// Only where nothing could be asked at all. What the kernel refuses is in the answers.
    fn apply(&mut self, ops: &[Op]) -> Result<Vec<Outcome>, TcError>;

    /// Everything that hangs on `attach`, ours or not, in the order in which packets meet it.
    /// A device without a clsact qdisc has nothing.
    ///
    /// # Errors
    /// Where the kernel does not answer in full: a dump is complete or it is none.
    fn dump(&mut self, attach: Attach) -> Result<Dump, TcError>;
}

impl<T: Tc + ?Sized> Tc for Box<T> {
    fn apply(&mut self, ops: &[Op]) -> Result<Vec<Outcome>, TcError> {
        (**self).apply(ops)
    }

    fn dump(&mut self, attach: Attach) -> Result<Dump, TcError> {
        (**self).dump(attach)
    }
}
