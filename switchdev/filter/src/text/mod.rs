//! Filters as `tc` writes them, both ways.
//!
//! What is printed is a line for `tc -batch`, and the same line is read back. Where `tc` has no
//! words for what a filter can say, ours follow its manner and are marked below: a mask with
//! holes on an IP address, a mask on an Ethernet address to write, `enc_src_port`, and masks on
//! tunnel ports.

mod action;
mod filter;
mod key;
mod names;
mod pedit;
mod police;
mod value;
mod words;

pub use filter::FilterText;
pub use names::{IfNames, Numbered};
pub use words::TextError;
