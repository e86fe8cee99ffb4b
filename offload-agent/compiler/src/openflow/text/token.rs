//! A piece of a line that remembers where it stands, so that every error can point at it.

use std::str::FromStr;

use super::error::{ParseError, Problem};

/// A piece of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    line: &'a str,
    start: usize,
    end: usize,
}

/// What stands between words.
pub(super) fn ends_word(c: char) -> bool {
    c == ',' || c.is_whitespace()
}

impl<'a> Token<'a> {
    /// A whole line.
    pub(super) fn line(line: &'a str) -> Token<'a> {
        Token { line, start: 0, end: line.len() }
    }

    /// The text itself.
    pub(super) fn text(self) -> &'a str {
        self.line.get(self.start..self.end).unwrap_or("")
    }

    /// An error here. Whoever knows the line's number fills it in.
    pub(super) fn error(self, problem: Problem) -> ParseError {
        let before = self.line.get(..self.start).unwrap_or("");
        ParseError {
            line: 1,
            column: before.chars().count() + 1,
            token: self.text().to_owned(),
            problem,
        }
    }

    /// The bytes `from` to `to` of this token.
    pub(super) fn slice(self, from: usize, to: usize) -> Token<'a> {
        Token { start: self.start + from, end: self.start + to, ..self }
    }

    /// Without blanks at both ends.
    pub(super) fn trim(self) -> Token<'a> {
        let text = self.text();
        let from = text.len() - text.trim_start().len();
        self.slice(from, from + text.trim().len())
    }

    /// The two sides of the first `separator`.
    pub(super) fn split_once(self, separator: &str) -> Option<(Token<'a>, Token<'a>)> {
        let at = self.text().find(separator)?;
        Some(self.around(at, separator.len()))
    }

    /// The two sides of the last `separator`.
    pub(super) fn rsplit_once(self, separator: &str) -> Option<(Token<'a>, Token<'a>)> {
        let at = self.text().rfind(separator)?;
        Some(self.around(at, separator.len()))
    }

    fn around(self, at: usize, width: usize) -> (Token<'a>, Token<'a>) {
        (self.slice(0, at), self.slice(at + width, self.text().len()))
    }

    /// What follows `prefix`.
    pub(super) fn strip_prefix(self, prefix: &str) -> Option<Token<'a>> {
        self.text().starts_with(prefix).then(|| self.slice(prefix.len(), self.text().len()))
    }

    /// What precedes `suffix`.
    pub(super) fn strip_suffix(self, suffix: &str) -> Option<Token<'a>> {
        self.text().ends_with(suffix).then(|| self.slice(0, self.text().len() - suffix.len()))
    }

    /// Without the quotation marks around it, if there are any.
    pub(super) fn unquote(self) -> Token<'a> {
        self.strip_prefix("\"").and_then(|rest| rest.strip_suffix("\"")).unwrap_or(self)
    }

    /// What is between `open` at its beginning and `)` at its end.
    pub(super) fn bracketed(self, open: &str) -> Option<Token<'a>> {
        self.strip_prefix(open)?.strip_suffix(")")
    }

    /// The pieces between commas and blanks that are not inside brackets or quotation marks; empty ones are left out.
    pub(super) fn words(self) -> Result<Vec<Token<'a>>, ParseError> {
        Ok(self.split(ends_word)?.into_iter().filter(|word| !word.text().is_empty()).collect())
    }

    /// The pieces between commas that are not inside brackets or quotation marks, empty ones too.
    pub(super) fn items(self) -> Result<Vec<Token<'a>>, ParseError> {
        Ok(self.split(|c| c == ',')?.into_iter().map(Token::trim).collect())
    }

    /// The pieces between commas that are not inside braces.
    pub(super) fn braced_items(self) -> Result<Vec<Token<'a>>, ParseError> {
        let (mut pieces, mut from, mut inside) = (Vec::new(), 0, false);
        for (at, c) in self.text().char_indices() {
            match c {
                '{' => inside = true,
                '}' => inside = false,
                ',' if !inside => {
                    pieces.push(self.slice(from, at).trim());
                    from = at + 1;
                }
                _ => {}
            }
        }
        pieces.push(self.slice(from, self.text().len()).trim());
        if inside { Err(self.error(Problem::Unbalanced)) } else { Ok(pieces) }
    }

    fn split(self, is_separator: fn(char) -> bool) -> Result<Vec<Token<'a>>, ParseError> {
        let (mut pieces, mut from) = (Vec::new(), 0);
        let mut nesting = Nesting::default();
        for (at, c) in self.text().char_indices() {
            nesting
                .step(c)
                .ok_or_else(|| self.slice(at, at + c.len_utf8()).error(Problem::Unbalanced))?;
            if nesting.is_outside() && is_separator(c) {
                pieces.push(self.slice(from, at));
                from = at + c.len_utf8();
            }
        }
        pieces.push(self.slice(from, self.text().len()));
        if nesting.is_outside() { Ok(pieces) } else { Err(self.error(Problem::Unbalanced)) }
    }

    /// A number of at most `max`, in decimal or hexadecimal.
    pub(super) fn number(self, max: u128) -> Result<u128, ParseError> {
        parse_number(self.text())
            .filter(|n| *n <= max)
            .ok_or_else(|| self.error(Problem::NotANumber { max }))
    }

    /// A number that fits the type.
    pub(super) fn uint<T: TryFrom<u128> + Limit>(self) -> Result<T, ParseError> {
        let number = self.number(T::MAX)?;
        T::try_from(number).map_err(|_| self.error(Problem::NotANumber { max: T::MAX }))
    }

    /// What the standard library reads from text.
    pub(super) fn parsed<T: FromStr>(self, problem: Problem) -> Result<T, ParseError> {
        self.text().parse().map_err(|_| self.error(problem))
    }
}

/// The largest number of a type.
pub(super) trait Limit {
    const MAX: u128;
}

impl Limit for u8 {
    const MAX: u128 = u8::MAX as u128;
}

impl Limit for u16 {
    const MAX: u128 = u16::MAX as u128;
}

impl Limit for u32 {
    const MAX: u128 = u32::MAX as u128;
}

impl Limit for u64 {
    const MAX: u128 = u64::MAX as u128;
}

fn parse_number(text: &str) -> Option<u128> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hexadecimal.map_or((text, 10), |digits| (digits, 16));
    let only_digits = digits.chars().all(|c| c.is_digit(radix));
    if only_digits { u128::from_str_radix(digits, radix).ok() } else { None }
}

/// How deep inside brackets, and whether inside quotation marks.
#[derive(Default)]
struct Nesting {
    depth: usize,
    quoted: bool,
}

impl Nesting {
    /// `None` when a bracket closes that was never opened.
    fn step(&mut self, c: char) -> Option<()> {
        match c {
            '"' => self.quoted = !self.quoted,
            '(' | '[' if !self.quoted => self.depth += 1,
            ')' | ']' if !self.quoted => self.depth = self.depth.checked_sub(1)?,
            _ => {}
        }
        Some(())
    }

    fn is_outside(&self) -> bool {
        self.depth == 0 && !self.quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(tokens: Vec<Token<'_>>) -> Vec<&str> {
        tokens.into_iter().map(Token::text).collect()
    }

    #[test]
    fn commas_in_brackets_and_quotation_marks_do_not_separate() {
        let words = Token::line("a, b=(1,2) c[0..3],\"d,e\"").words().unwrap();
        assert_eq!(texts(words), ["a", "b=(1,2)", "c[0..3]", "\"d,e\""]);
    }

    #[test]
    fn an_error_points_at_the_bracket_that_was_never_opened() {
        let error = Token::line("ip,ct(commit))").words().unwrap_err();
        assert_eq!((error.column, error.problem), (14, Problem::Unbalanced));
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal_and_nothing_else() {
        assert_eq!(parse_number("0x1F"), Some(31));
        assert_eq!(parse_number("+5"), None);
        assert_eq!(parse_number("0x"), None);
        assert_eq!(parse_number(""), None);
    }
}
