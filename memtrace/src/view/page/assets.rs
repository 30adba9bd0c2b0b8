//! The page's own files, and what says that nothing else may run on it.

use crate::text::markup::csp_hash;

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
        hashes(SCRIPTS),
        hashes(STYLES)
    )
}

fn hashes(texts: &[&str]) -> String {
    let quoted = texts.iter().map(|text| format!("'{}'", csp_hash(text)));
    quoted.collect::<Vec<_>>().join(" ")
}
