//! `/proc/PID/cmdline`.

use super::text;

/// The arguments, which each end with a zero byte; what is not UTF-8 is U+FFFD. Empty for a zombie and a kernel thread.
#[must_use]
pub fn cmdline(bytes: &[u8]) -> Vec<String> {
    // A program that writes a title over its arguments leaves zeros behind it.
    let end = bytes.iter().rposition(|&byte| byte != 0);
    end.map_or_else(Vec::new, |end| {
        bytes[..=end].split(|&byte| byte == 0).map(text).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_end_with_a_zero_byte() {
        assert_eq!(cmdline(b"sh\0-c\0exit 0\0"), ["sh", "-c", "exit 0"]);
        assert_eq!(cmdline(b"a\0\0b\0"), ["a", "", "b"]);
        assert_eq!(cmdline(b"nginx: worker\0\0\0\0"), ["nginx: worker"]);
        assert_eq!(cmdline(b"\xff\0"), ["\u{fffd}"]);
        assert!(cmdline(b"").is_empty());
        assert!(cmdline(b"\0\0").is_empty());
    }
}
