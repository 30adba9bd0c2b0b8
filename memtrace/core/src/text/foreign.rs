//! Text that another program, the kernel or a file chose.

use std::{
    borrow::{Borrow, Cow},
    fmt::{self, Display},
};

use serde::{Deserialize, Serialize};

use super::format::sanitized;

/// A text from outside: the name of a process, an error of the kernel, a string in a capture file.
///
/// [`Display`] sanitizes it, so that showing it is safe; a precision is the most characters, with `…` as the last if it is
/// longer. It is no `str` by deref: the text as it was has to be asked for, with [`raw`](Self::raw).
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Foreign(String);

impl Foreign {
    /// Returns the text as it was: to compare, to look up, to open, to write to a file that has to be exact. Never for a terminal.
    #[must_use]
    pub const fn raw(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the text sanitized, in at most `most` characters.
    #[must_use]
    pub fn shown(&self, most: usize) -> String {
        sanitized(&self.0, most)
    }

    /// Returns the text without a prefix; all of it if it does not begin so.
    #[must_use]
    pub fn without(&self, prefix: &str) -> Self {
        self.0.trim_start_matches(prefix).into()
    }

    /// Returns if there is no text.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&sanitized(&self.0, f.precision().unwrap_or(usize::MAX)))
    }
}

/// As a `String`'s: in quotes, escaped.
impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Foreign {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

impl From<String> for Foreign {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Foreign {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<&String> for Foreign {
    fn from(text: &String) -> Self {
        Self(text.clone())
    }
}

impl From<&Self> for Foreign {
    fn from(text: &Self) -> Self {
        text.clone()
    }
}

impl From<Cow<'_, str>> for Foreign {
    fn from(text: Cow<'_, str>) -> Self {
        Self(text.into_owned())
    }
}

/// For looking up in a map by a `str`.
impl Borrow<str> for Foreign {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Foreign {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Foreign {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

/// Returns words as one text, with spaces between them.
#[must_use]
pub fn joined(words: &[Foreign]) -> Foreign {
    let words: Vec<&str> = words.iter().map(Foreign::raw).collect();
    words.join(" ").into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::format::is_harmless;

    #[test]
    fn a_display_is_sanitized_cut_and_aligned() {
        let text = Foreign::from("a\x1b[2J\u{202e}b");
        assert_eq!(text.to_string(), "a\\u{1b}[2J\\u{202e}b");
        assert_eq!(format!("{text:.8}"), "a\\u{1b}…");
        assert_eq!(text.shown(8), format!("{text:.8}"));
        let text = Foreign::from("größe");
        assert_eq!(
            format!("{text:.5}|{text:<7}|{text:>7.3}"),
            "größe|größe  |    gr…"
        );
        assert_eq!(format!("{text:.0}"), "");
    }

    #[test]
    fn a_debug_is_that_of_the_text() {
        let text = "a\x1b\"b";
        assert_eq!(format!("{:?}", Foreign::from(text)), format!("{text:?}"));
    }

    proptest! {
        #[test]
        fn whatever_it_is_its_display_is_harmless(text in any::<String>(), most in 1..40usize) {
            let foreign = Foreign::from(text.as_str());
            for shown in [foreign.to_string(), format!("{foreign:.most$}")] {
                prop_assert!(shown.chars().all(is_harmless), "{shown:?}");
            }
            prop_assert_eq!(format!("{foreign:.most$}"), sanitized(&text, most));
            let length = format!("{foreign:.most$}").chars().count();
            prop_assert!(length <= most);
        }

        #[test]
        fn in_a_file_it_is_the_text_exactly(text in any::<String>()) {
            let foreign = Foreign::from(text.as_str());
            prop_assert_eq!(foreign.raw(), &text);
            let json = serde_json::to_string(&foreign).unwrap();
            prop_assert_eq!(&json, &serde_json::to_string(&text).unwrap());
            prop_assert_eq!(serde_json::from_str::<Foreign>(&json).unwrap(), foreign);
        }
    }
}
