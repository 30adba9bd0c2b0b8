//! Times of day.

use std::{
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

/// Returns a moment as RFC 3339 in UTC, with nine digits behind the point; `None` outside of the years 1970 to 9999.
#[must_use]
pub fn rfc3339(moment: SystemTime) -> Option<String> {
    // It would panic.
    moment.duration_since(UNIX_EPOCH).ok()?;
    let mut text = String::new();
    write!(text, "{}", humantime::format_rfc3339_nanos(moment)).ok()?;
    Some(text)
}

/// Returns a moment as a part of a file's name, to the second: `20261201T033244Z`. `None` as [`rfc3339`].
#[must_use]
pub fn in_a_name(moment: SystemTime) -> Option<String> {
    let text = rfc3339(moment)?;
    let (seconds, _) = text.split_once('.')?;
    Some(seconds.replace(['-', ':'], "") + "Z")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_has_a_name_from_1970_to_9999() {
        let moment = UNIX_EPOCH + Duration::new(1_796_095_964, 5);
        assert_eq!(rfc3339(moment).unwrap(), "2026-12-01T03:32:44.000000005Z");
        assert_eq!(in_a_name(moment).unwrap(), "20261201T033244Z");
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), None);
        let late = UNIX_EPOCH + Duration::from_secs(253_402_300_800);
        assert_eq!((rfc3339(late), in_a_name(late)), (None, None));
    }
}
