//! A cpio archive of the kind that the kernel unpacks as its first root file system: "newc", described in
//! Documentation/driver-api/early-userspace/buffer-format.rst. Three kinds of entry and one header: less than a library's
//! interface for it, and devices can be written without being root.

/// File types of `stat`.
const DIRECTORY: u32 = 0o040_000;
const CHARACTER: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;

/// An archive that grows.
#[derive(Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

impl Cpio {
    /// A directory; the ones above it must be there.
    pub fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY | 0o755, (0, 0), &[]);
    }

    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.entry(path, REGULAR | permissions, (0, 0), content);
    }

    /// A file, with the directories above it. The kernel takes a directory that is there already as it is.
    pub fn path(&mut self, path: &str, permissions: u32, content: &[u8]) {
        for (end, _) in path.match_indices('/') {
            self.directory(&path[..end]);
        }
        self.file(path, permissions, content);
    }

    /// A character device.
    pub fn device(&mut self, path: &str, major: u32, minor: u32) {
        self.entry(path, CHARACTER | 0o600, (major, minor), &[]);
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let links = 1 + u32::from(mode & DIRECTORY == DIRECTORY);
        let fields = [
            self.entries,
            mode,
            0, // user
            0, // group
            links,
            0, // time of modification
            content.len() as u32,
            0, // device that the file lies on
            0,
            device.0,
            device.1,
            path.len() as u32 + 1,
            0, // checksum, which this kind does not have
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_byte_for_byte() {
        let mut cpio = Cpio::default();
        cpio.file("init", 0o755, b"hello");
        let bytes = cpio.finish();
        let first = concat!(
            "070701",
            "00000001", // inode
            "000081ED", // a regular file, rwxr-xr-x
            "00000000",
            "00000000",
            "00000001", // links
            "00000000",
            "00000005", // size
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000005", // length of the name with its end
            "00000000",
            "init\0\0", // 110 + 5 bytes, and one up to a multiple of 4
            "hello\0\0\0",
            "070701",
        );
        assert_eq!(&bytes[..first.len()], first.as_bytes());
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn directories_and_devices_have_their_own_modes() {
        let mut cpio = Cpio::default();
        cpio.directory("dev");
        cpio.device("dev/console", 5, 1);
        let bytes = cpio.finish();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("07070100000001000041ED"));
        assert!(text.contains("0707010000000200002180"));
        let rdev = text.find("dev/console").unwrap() - 8 * 4;
        assert_eq!(&text[rdev..rdev + 16], "0000000500000001");
    }
}
