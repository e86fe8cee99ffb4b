//! A writer of the "newc" cpio format, the one the kernel unpacks as initramfs
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const SYMLINK: u32 = 0o120_777;
/// Ends the archive.
const TRAILER: &str = "TRAILER!!!";

/// An archive under construction. Inode numbers are given in order and there is no time in it, so the same files give
/// the same bytes.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    /// Adds a directory; parents come first.
    pub fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY, &[]);
    }

    /// Adds an executable file.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, EXECUTABLE, content);
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.entry(path, SYMLINK, target.as_bytes());
    }

    /// Ends the archive and gives its bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.inode += 1;
        self.bytes
            .extend_from_slice(header(self.inode, mode, path.len() + 1, content.len()).as_bytes());
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Names and contents end on a multiple of four bytes.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Magic, then 13 fields of 8 hexadecimal digits: inode, mode, uid, gid, links, mtime, size, device (2), special device (2),
/// length of the name with its zero byte, checksum (unused).
fn header(inode: u32, mode: u32, name_len: usize, size: usize) -> String {
    format!(
        "070701{inode:08X}{mode:08X}{0:08X}{0:08X}{1:08X}{0:08X}{size:08X}{0:08X}{0:08X}{0:08X}{0:08X}{name_len:08X}{0:08X}",
        0, 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `cpio -it` would say: names and sizes, by walking the headers.
    fn list(bytes: &[u8]) -> Vec<(String, usize)> {
        let mut names = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let field = |n: usize| {
                let start = at + 6 + 8 * n;
                usize::from_str_radix(std::str::from_utf8(&bytes[start..start + 8]).unwrap(), 16)
                    .unwrap()
            };
            assert_eq!(&bytes[at..at + 6], b"070701");
            let (size, name_len) = (field(6), field(11));
            let name = std::str::from_utf8(&bytes[at + 110..at + 110 + name_len - 1]).unwrap();
            names.push((name.to_owned(), size));
            at = (at + 110 + name_len).next_multiple_of(4);
            at = (at + size).next_multiple_of(4);
        }
        names
    }

    #[test]
    fn an_archive_lists_its_files_in_order_and_ends_with_the_trailer() {
        let mut archive = Archive::default();
        archive.directory("bin");
        archive.file("bin/five", b"12345");
        archive.symlink("bin/sh", "busybox");
        let names = list(&archive.finish());
        let expected = [("bin", 0), ("bin/five", 5), ("bin/sh", 7), (TRAILER, 0)];
        assert_eq!(names, expected.map(|(name, size)| (name.to_owned(), size)));
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let make = || {
            let mut archive = Archive::default();
            archive.file("init", b"#!/bin/sh\n");
            archive.finish()
        };
        assert_eq!(make(), make());
    }
}
