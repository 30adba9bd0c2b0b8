//! Stand-in.

use serde::Serialize;

use crate::timeline::Live;

#[derive(Serialize)]
pub struct State {
    rss: Vec<(u64, i64)>,
    comm: String,
}

#[derive(Serialize)]
pub struct Update {
    rss: Vec<(u64, i64)>,
    revision: u64,
}

impl State {
    #[must_use]
    pub fn of_live(live: &Live) -> Self {
        Self {
            rss: live
                .history
                .spans(0, u64::MAX, usize::MAX)
                .iter()
                .map(|span| (span.t_ns, span.rss_bytes))
                .collect(),
            comm: live.account.target.comm.clone(),
        }
    }
}

impl Update {
    #[must_use]
    pub fn since(live: &Live, t_ns: u64) -> Self {
        Self {
            rss: live
                .history
                .since(t_ns)
                .iter()
                .map(|span| (span.t_ns, span.rss_bytes))
                .collect(),
            revision: live.revision,
        }
    }
}

#[must_use]
pub fn document(_state: Option<&State>) -> String {
    "<!doctype html>".to_owned()
}

#[must_use]
pub fn content_security_policy(_live: bool) -> String {
    "default-src 'none'".to_owned()
}
