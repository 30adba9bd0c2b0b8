//! The end of an epoch: the ledger held against the kernel's own figures.

use std::time::Duration;

use super::{Capturing, MOMENT, TRIES};
use crate::{
    ledger::{Check, Reading, check},
    model::End,
    observe::Smaps,
    probe::{ProbeError, monotonic_ns},
    timeline::{Final, Observed},
};

/// How often `smaps_rollup` is read again where it leaves something unexplained.
const DOUBTS: u32 = 4;
/// Between two such readings; and none is repeated that took longer than this.
const DOUBT_PAUSE: Duration = Duration::from_millis(20);
/// Between two looks at whether an exec is over.
const EXEC_PAUSE: Duration = Duration::from_millis(5);

/// What was compared, and with what.
pub(super) struct Comparison {
    pub(super) check: Option<Check>,
    pub(super) with: Option<String>,
    pub(super) smaps: Option<Smaps>,
}

impl Capturing<'_> {
    /// Waits until an exec is over, should the capture end in the midst of one: the process has its new memory already, and the
    /// ledger is still the old one's. Whether the target has ended meanwhile.
    pub(super) fn let_exec_pass(&mut self) -> Result<bool, ProbeError> {
        for _ in 0..TRIES {
            let before = self.session.read(self.number)?;
            let Some(statm) = self.sampler.statm() else {
                break;
            };
            let after = self.session.read(self.number)?;
            let checked = self.against_statm(&before, statm, &after);
            if checked.is_none_or(|check| check.unexplained == 0) {
                break;
            }
            std::thread::sleep(EXEC_PAUSE);
            if self.epochs()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What closes an epoch of the approximate mode: a last sample, where there is still something to look at.
    pub(super) fn close_sampled(
        &mut self,
        end: End,
        reading: &Reading,
    ) -> Result<Final, ProbeError> {
        let mut closing = Final {
            // The new program's memory is not the old one's.
            gone: end == End::Exec,
            ..Final::default()
        };
        let resident = if closing.gone { None } else { self.sample() };
        closing.sampling_bound_bytes = self.sampling_bound;
        let Some(resident) = resident else {
            closing.gone = true;
            closing.lazyfree_missing = Some("the memory is gone".to_owned());
            return Ok(closing);
        };
        let now = monotonic_ns();
        let since = Duration::from_nanos(now.saturating_sub(self.recorder.begin_ns()));
        let rss = resident.rss();
        let smaps = if self.ration.allows_once(rss) {
            self.read_smaps(since, rss)
        } else {
            None
        };
        closing.note_smaps(smaps);
        if smaps.is_none() {
            closing.lazyfree_missing = Some(self.smaps_missing(rss));
        }
        let observed = Observed {
            statm: self.sampler.statm(),
            resident: Some(resident),
            smaps,
            ..Observed::default()
        };
        self.note(now, reading, &observed)?;
        Ok(closing)
    }

    /// Holds the ledger against the kernel's own figures, at a moment of rest where there is one.
    pub(super) fn compare(&mut self) -> Result<(Reading, Comparison), ProbeError> {
        let since = Duration::from_nanos(monotonic_ns().saturating_sub(self.recorder.begin_ns()));
        let mut last = self.session.read(self.number)?;
        let rss = self.rss_bytes(&last);
        let mut comparison = Comparison {
            check: None,
            with: None,
            smaps: None,
        };
        if self.ration.allows_once(rss) {
            let mut again = 0;
            while let Some(smaps) = self.read_smaps(since, rss) {
                let before = std::mem::replace(&mut last, self.session.read(self.number)?);
                comparison.smaps = Some(smaps);
                if self.session.threads_keep_pages() {
                    break;
                }
                let pages = i64::try_from(smaps.rss / self.host.page_size).unwrap_or(i64::MAX);
                let checked = check(&before, pages, &last);
                comparison.check = Some(checked);
                comparison.with = Some("smaps_rollup".to_owned());
                // A call that unmaps takes pages out of the page tables first, up to a table's worth, and out of the counters
                // afterwards. A thread that has lost its CPU in between moves nothing, and is not at rest.
                if checked.unexplained == 0 || again == DOUBTS || smaps.took > DOUBT_PAUSE {
                    break;
                }
                again += 1;
                std::thread::sleep(DOUBT_PAUSE);
                last = self.session.read(self.number)?;
            }
        }
        let mut tries = 0;
        let is_final = |check: Check| check.bound == 0 && check.unexplained == 0;
        while tries < TRIES && !comparison.check.is_some_and(is_final) {
            tries += 1;
            let Some(statm) = self.sampler.statm() else {
                break;
            };
            let before = std::mem::replace(&mut last, self.session.read(self.number)?);
            let checked = self.against_statm(&before, statm, &last);
            let by_statm = comparison.with.as_deref() == Some("statm");
            let better = match (checked, comparison.check) {
                // What `statm` shows are the counters themselves.
                (Some(new), Some(old)) if old.unexplained != 0 => {
                    std::thread::sleep(MOMENT);
                    is_final(new) || (by_statm && new.unexplained == 0)
                }
                (Some(new), Some(old)) => new.bound < old.bound,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if better {
                comparison.check = checked;
                comparison.with = Some("statm".to_owned());
            }
        }
        // A bound of 0 says that nothing moved while it was compared.
        if comparison.check.is_some_and(|check| check.bound == 0) {
            last = last.at_rest();
        }
        Ok((last, comparison))
    }
}
