//! Texts that others chose, in HTML and XML.

/// A text as the contents of an element, or as an attribute's value in quotes: nothing in it is markup, and what neither HTML nor
/// XML 1.0 can hold is U+FFFD. Control characters are the caller's: [`sanitized`](super::format::sanitized) shows them.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\0' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}
