//! The newc cpio archive that the kernel unpacks as its first root file system
//! (`Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::collections::BTreeSet;

/// Writes an archive entry by entry; parents of an entry are added by themselves.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    inode: u32,
    directories: BTreeSet<String>,
}

/// The kinds of entry that an initramfs needs, as the upper bits of `st_mode` (`inode(7)`).
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const CHARACTER: u32 = 0o020_000;
const SYMLINK: u32 = 0o120_000;

/// What one header says.
#[derive(Debug, Default, Clone, Copy)]
struct Head {
    mode: u32,
    links: u32,
    device: (u32, u32),
}

impl Writer {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A directory, mode 0755.
    pub fn directory(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || !self.directories.insert(path.to_owned()) {
            return;
        }
        self.parents(path);
        self.entry(
            path,
            Head {
                mode: DIRECTORY | 0o755,
                links: 2,
                ..Head::default()
            },
            &[],
        );
    }

    /// A regular file with its permission bits.
    ///
    /// # Panics
    /// When the file is 4 GiB or larger, which the format cannot hold.
    pub fn file(&mut self, path: &str, permissions: u32, data: &[u8]) {
        let path = path.trim_matches('/');
        self.parents(path);
        self.entry(
            path,
            Head {
                mode: REGULAR | (permissions & 0o7777),
                links: 1,
                ..Head::default()
            },
            data,
        );
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        let path = path.trim_matches('/');
        self.parents(path);
        self.entry(
            path,
            Head {
                mode: SYMLINK | 0o777,
                links: 1,
                ..Head::default()
            },
            target.as_bytes(),
        );
    }

    /// A character device, mode 0600: the kernel opens `/dev/console` before anything is mounted.
    pub fn character(&mut self, path: &str, major: u32, minor: u32) {
        let path = path.trim_matches('/');
        self.parents(path);
        self.entry(
            path,
            Head {
                mode: CHARACTER | 0o600,
                links: 1,
                device: (major, minor),
            },
            &[],
        );
    }

    /// The archive, closed by its trailer.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.inode = 0;
        self.entry(
            "TRAILER!!!",
            Head {
                links: 1,
                ..Head::default()
            },
            &[],
        );
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
    }

    fn entry(&mut self, path: &str, head: Head, data: &[u8]) {
        self.inode += 1;
        let size = |length: usize| u32::try_from(length).expect("a newc entry is below 4 GiB");
        let fields = [
            self.inode,
            head.mode,
            0, // uid
            0, // gid
            head.links,
            0, // mtime: the same input gives the same archive
            size(data.len()),
            0, // major and minor number of the file system
            0,
            head.device.0,
            head.device.1,
            size(path.len() + 1),
            0, // checksum, unused by newc
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(data);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, mode and data of each entry: a reader written from the format, not from the writer.
    fn read(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |i: usize| {
                let text = std::str::from_utf8(&bytes[6 + 8 * i..14 + 8 * i]).unwrap();
                usize::from_str_radix(text, 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6), field(11));
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).unwrap();
            assert_eq!(bytes[110 + name_size - 1], 0);
            let start = (110 + name_size).next_multiple_of(4);
            let data = bytes[start..start + size].to_vec();
            if name == "TRAILER!!!" {
                return entries;
            }
            entries.push((name, u32::try_from(mode).unwrap(), data));
            bytes = &bytes[(start + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn entries_come_back_with_their_parents_first_and_once() {
        let mut writer = Writer::new();
        writer.file("/bin/tool", 0o755, b"12345");
        writer.file("bin/other", 0o644, b"");
        writer.symlink("/init", "bin/tool");
        writer.character("/dev/console", 5, 1);
        let entries = read(&writer.finish());
        let names: Vec<&str> = entries.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(
            names,
            ["bin", "bin/tool", "bin/other", "init", "dev", "dev/console"]
        );
        assert_eq!(
            entries[1],
            ("bin/tool".to_owned(), 0o100_755, b"12345".to_vec())
        );
        assert_eq!(entries[3].2, b"bin/tool");
        assert_eq!(entries[5].1, 0o020_600);
    }

    #[test]
    fn the_same_input_gives_the_same_archive() {
        let make = || {
            let mut writer = Writer::new();
            writer.file("a/b/c", 0o600, b"x");
            writer.finish()
        };
        assert_eq!(make(), make());
    }

    #[test]
    fn an_empty_archive_is_its_trailer() {
        assert!(read(&Writer::new().finish()).is_empty());
    }
}
