//! The page's own files, and what says that nothing else may run on it.

/// The chart: <https://github.com/leeoniya/uPlot>, MIT.
pub const UPLOT: &str = include_str!("../../../assets/uplot/uPlot.iife.min.js");
/// Its style.
pub const UPLOT_STYLE: &str = include_str!("../../../assets/uplot/uPlot.min.css");
/// Its licence, which goes with every copy.
pub const UPLOT_LICENCE: &str = include_str!("../../../assets/uplot/LICENSE");

/// Scripts, each in an element of its own, in this order.
pub const SCRIPTS: &[&str] = &[
    UPLOT,
    include_str!("../../../assets/page/data.js"),
    include_str!("../../../assets/page/format.js"),
    include_str!("../../../assets/page/panels.js"),
    include_str!("../../../assets/page/chart.js"),
    include_str!("../../../assets/page/page.js"),
];
/// Styles, likewise.
pub const STYLES: &[&str] = &[UPLOT_STYLE, include_str!("../../../assets/page/page.css")];

/// SHA-256 of each script, in base64. After a change of a script, the test below prints the new one.
const SCRIPT_HASHES: &[&str] = &[
    "GcjUxq2Ikpp59K5J1vcWFWbf0Lo9FcxJXpdPeH63jx8=",
    "WCvtwaQ25fwBclmPyH2SJk7BNMou4rmXCP4IdCZBJKc=",
    "K89QVUXiesQwcjUgAy7zw7tZMmk7wkPDL9sIFFbIPKE=",
    "M4h7bCvSnXcqn5Pf1kvB4RE0SXihxzgAsEbKY2i3FUw=",
    "AFNBy6+DOiThJYy8JfpXdq1GYktjPK8/Z+jKnoJXNxI=",
    "KtqZy8wQUaF73EeUZz0+Pum/tiBHdqGnktpo6x7rlcg=",
];
/// SHA-256 of each style.
const STYLE_HASHES: &[&str] = &[
    "32MMao1vjur/JktQ9zzlsRT2Rv/ZoLt08EmwoAE1+gQ=",
    "9OMO8ojooP5o+efEFS8ITs0H7KLDpMQpSYnBcBim5II=",
];

/// The Content-Security-Policy that the document needs, as a header or, in a file, as its `meta` element: the document's own scripts and
/// styles run, by their SHA-256, and nothing is loaded, sent or embedded. The live page may connect to where it came from.
#[must_use]
pub fn content_security_policy(live: bool) -> String {
    format!("{}; frame-ancestors 'none'", policy(live))
}

/// What of it a `meta` element may say: `frame-ancestors` it may not.
pub fn policy(live: bool) -> String {
    let connect = if live { "; connect-src 'self'" } else { "" };
    format!(
        "default-src 'none'; script-src {}; style-src {}{connect}; base-uri 'none'; form-action 'none'",
        sources(SCRIPT_HASHES),
        sources(STYLE_HASHES)
    )
}

fn sources(hashes: &[&str]) -> String {
    let quoted = hashes.iter().map(|hash| format!("'sha256-{hash}'"));
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn hashes_are_those_of_the_scripts_and_styles() {
        let computed = |texts: &[&str]| -> Vec<String> {
            let hash = |text: &&str| STANDARD.encode(Sha256::digest(text));
            texts.iter().map(hash).collect()
        };
        assert_eq!(SCRIPT_HASHES, computed(SCRIPTS));
        assert_eq!(STYLE_HASHES, computed(STYLES));
    }
}
