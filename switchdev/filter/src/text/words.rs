//! A line as words, and what is wrong with one.

use std::str::{FromStr, SplitAsciiWhitespace};

/// What in a line is not a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The line ends too early.
    #[error("the line ends where {0} should follow")]
    Missing(&'static str),
    /// A word is not what its place wants.
    #[error("`{word}` is not {wanted}")]
    Wrong {
        /// The word as it stands.
        word: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// A word nobody knows.
    #[error("`{0}` is not known here")]
    Unknown(String),
}

/// The words of a line, from left to right.
#[derive(Debug, Clone)]
pub(super) struct Words<'a> {
    rest: std::iter::Peekable<SplitAsciiWhitespace<'a>>,
}

impl<'a> Words<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self { rest: line.split_ascii_whitespace().peekable() }
    }

    pub(super) fn peek(&mut self) -> Option<&'a str> {
        self.rest.peek().copied()
    }

    /// The next word, which must be there.
    pub(super) fn next(&mut self, wanted: &'static str) -> Result<&'a str, TextError> {
        self.rest.next().ok_or(TextError::Missing(wanted))
    }

    /// Takes the next word if it is this one.
    pub(super) fn take(&mut self, word: &str) -> bool {
        self.rest.next_if(|next| *next == word).is_some()
    }

    /// The next word, which must be this one.
    pub(super) fn expect(&mut self, word: &'static str) -> Result<(), TextError> {
        let next = self.next(word)?;
        if next == word { Ok(()) } else { Err(wrong(next, word)) }
    }

    /// The next word, read by the type's own rules.
    pub(super) fn parse<T: FromStr>(&mut self, wanted: &'static str) -> Result<T, TextError> {
        self.read(wanted, |word| word.parse().ok())
    }

    /// The next word, read by `read`.
    pub(super) fn read<T>(
        &mut self,
        wanted: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, TextError> {
        let word = self.next(wanted)?;
        read(word).ok_or_else(|| wrong(word, wanted))
    }
}

pub(super) fn wrong(word: &str, wanted: &'static str) -> TextError {
    TextError::Wrong { word: word.to_owned(), wanted }
}
