//! Errors as one line.

use std::fmt;

use crate::{model::errno_name, privilege::secure_execution};

/// Why a program is not attached, in one line: the kernel's or aya's error, with its causes.
#[derive(Clone, Debug)]
pub(super) struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error + 'static> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(chain(&error))
    }
}

/// An error with its causes, in one line; a verifier's log is cut to its last words.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    let text = name_errno(text);
    // The log shows addresses of the kernel, to which a user who got memtrace's privileges from its file is not entitled.
    if std::env::var_os("MEMTRACE_VERIFIER_LOG").is_some() && !secure_execution() {
        return text;
    }
    match text.split_once("Verifier output:") {
        Some((head, log)) => {
            // What the verifier ends every log with.
            let statistics = ["processed ", "verification time ", "stack depth "];
            let last = log
                .lines()
                .rfind(|line| {
                    !line.trim().is_empty()
                        && !statistics.iter().any(|begin| line.starts_with(begin))
                })
                .unwrap_or_default();
            match last.trim() {
                "" => head.trim_end_matches([' ', '.']).to_owned(),
                last => format!("{head}verifier: {last}"),
            }
        }
        None => text.replace('\n', " "),
    }
}

/// `Operation not permitted (os error 1)` is `Operation not permitted (EPERM)`: what one looks for.
fn name_errno(text: String) -> String {
    const MARK: &str = "(os error ";
    let Some((head, rest)) = text.split_once(MARK) else {
        return text;
    };
    let Some((Ok(number), tail)) = rest
        .split_once(')')
        .map(|(number, tail)| (number.parse(), tail))
    else {
        return text;
    };
    let name = errno_name(number);
    if name == number.to_string() {
        return text;
    }
    format!("{head}({name}){tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_kernel_have_their_name() {
        let error = std::io::Error::from_raw_os_error(1);
        assert_eq!(chain(&error), "Operation not permitted (EPERM)");
        assert_eq!(
            name_errno("odd (os error 99999)".into()),
            "odd (os error 99999)"
        );
        assert_eq!(name_errno("cut (os error 1".into()), "cut (os error 1");
    }
}
