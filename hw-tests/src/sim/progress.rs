//! Progress lines on standard error, so that standard output stays the command's.

/// Prints one line.
pub fn say(line: &str) {
    eprintln!("sim: {line}");
}
