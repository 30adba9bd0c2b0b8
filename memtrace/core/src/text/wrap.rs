//! Breaking text into lines.

/// Breaks a harmless text at its spaces.
#[must_use]
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let mut row = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + word.len() > width {
            rows.push(std::mem::take(&mut row));
            used = 0;
        } else if used > 0 {
            row.push(' ');
            used += 1;
        }
        while word.len() > width {
            rows.push(word.drain(..width).collect());
        }
        used += word.len();
        row.extend(word);
    }
    rows.push(row);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_long_words_are_cut() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrapped("a abcdefghij b", 4), ["a", "abcd", "efgh", "ij b"]);
        assert_eq!(wrapped("", 4), [""]);
    }
}
