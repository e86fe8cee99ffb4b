//! Cuts a stream of JSON objects into objects: OVSDB puts nothing between them.

/// Finds where one object ends and the next begins, looking at each byte once.
#[derive(Debug, Default)]
pub struct JsonStream {
    bytes: Vec<u8>,
    seen: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl JsonStream {
    /// Takes in what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// How many bytes wait for the rest of their object.
    pub fn waiting(&self) -> usize {
        self.bytes.len()
    }

    /// The next object, when all of it is there.
    pub fn next_object(&mut self) -> Option<Vec<u8>> {
        while let Some(byte) = self.bytes.get(self.seen).copied() {
            self.seen += 1;
            if self.ends_object(byte) {
                let rest = self.bytes.split_off(self.seen);
                self.seen = 0;
                return Some(std::mem::replace(&mut self.bytes, rest));
            }
        }
        None
    }

    fn ends_object(&mut self, byte: u8) -> bool {
        if self.in_string {
            self.step_in_string(byte);
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }

    fn step_in_string(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.in_string = false,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(pieces: &[&str]) -> Vec<String> {
        let mut stream = JsonStream::default();
        let mut objects = Vec::new();
        for piece in pieces {
            stream.push(piece.as_bytes());
            while let Some(object) = stream.next_object() {
                objects.push(String::from_utf8(object).unwrap());
            }
        }
        objects
    }

    #[test]
    fn objects_may_come_two_at_once_or_in_halves() {
        assert_eq!(objects(&["{\"a\":1}{\"b\"", ":[{}]}"]), ["{\"a\":1}", "{\"b\":[{}]}"]);
    }

    #[test]
    fn brackets_and_quotation_marks_in_strings_do_not_count() {
        assert_eq!(objects(&[r#"{"a":"}\"{"}"#, "{}"]), [r#"{"a":"}\"{"}"#, "{}"]);
    }
}
