//! Names of errors.

/// Returns the name of an errno, such as `ENOMEM`, or its number if it has none.
#[must_use]
pub fn errno_name(errno: u32) -> String {
    let number = i32::try_from(errno).unwrap_or(i32::MAX);
    match nix::errno::Errno::from_raw(number) {
        nix::errno::Errno::UnknownErrno => errno.to_string(),
        known => format!("{known:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_without_a_name_is_its_number() {
        assert_eq!(errno_name(12), "ENOMEM");
        assert_eq!(errno_name(4000), "4000");
    }
}
