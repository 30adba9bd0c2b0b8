//! The end of an epoch: the ledger held against the kernel's own figures.

use std::time::Duration;

use super::{
    Capturing, Observer, Subject, facts,
    facts::target_info,
    tick::{MOMENT, TRIES},
};
use crate::{
    ledger::{Check, Names, Reading, check, check_ended},
    model::{End, Epoch, Mode},
    observe::Smaps,
    probe::{ProbeError, monotonic_ns},
    timeline::{Closing, Observed},
};

/// How often `smaps_rollup` is read again where it leaves something unexplained.
const DOUBTS: u32 = 4;
/// Between two such readings; and none is repeated that took longer than this.
const DOUBT_PAUSE: Duration = Duration::from_millis(20);
/// Between two looks at whether an exec is over.
const EXEC_PAUSE: Duration = Duration::from_millis(5);

/// Why `LazyFree` of memory that is gone is not known.
const GONE: &str = "the memory is gone";

/// What was compared, and with what.
struct Comparison {
    check: Option<Check>,
    with: &'static str,
    smaps: Option<Smaps>,
}

impl<O: Observer> Capturing<'_, O> {
    /// Waits until an exec is over, should the capture end in the midst of one: the process has its new memory already, and the
    /// ledger is still the old one's. Whether the target has ended meanwhile.
    pub(super) fn let_exec_pass(&mut self) -> Result<bool, ProbeError> {
        for _ in 0..TRIES {
            let before = self.session.read(self.current.number)?;
            let Some(statm) = self.subject.sampler.statm() else {
                break;
            };
            let after = self.session.read(self.current.number)?;
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

    /// Closes the epoch: reads everything for the last time, and judges.
    pub(super) fn close(&mut self, end: End) -> Result<Epoch, ProbeError> {
        let Subject { target, gauges, .. } = &mut self.subject;
        if end != End::Exec {
            target.refresh();
            gauges.refresh_at_end();
        }
        gauges.forget();
        let mut closing = Closing::as_at_the_last_tick(end);
        let reading = self.session.read(self.current.number)?;
        let reading = if self.session.mode() == Mode::Approximate {
            self.close_sampled(&mut closing, &reading)?;
            reading
        } else if let Some(check) = check_ended(&reading) {
            let reading = reading.at_rest();
            self.note(reading.end_ns, &reading, &Observed::default())?;
            closing.gone = Some(self.current.recorder.gone(&reading, Some(check)));
            closing.lazyfree_missing = Some(GONE.to_owned());
            reading
        } else {
            self.close_compared(&mut closing)?
        };
        self.know_all(&reading)?;
        let is_over = matches!(end, End::Exec | End::TargetExited);
        closing.alive = reading.end.is_none() && !is_over;
        closing.start = Some(self.current.recorder.start(&reading));
        let Subject { target, gauges, .. } = &mut self.subject;
        let walkable = closing.lazyfree_missing.is_none();
        closing.gauges = Some(gauges.close(!closing.alive, walkable));
        closing.target = Some(target_info(target, gauges));
        closing.duration_ns = Some(self.lasted(&reading));
        closing.skipped_runs = self.session.skipped_runs();
        let stats = self.plan.self_stats;
        closing.self_stats = stats.then(|| facts::self_stats(self.session));
        let mut account = self.current.fold.account(closing);
        account.verdict = Some(self.judged(&account));
        Ok(Epoch::of(account, self.current.recorder.take_ticks()))
    }

    fn lasted(&self, reading: &Reading) -> u64 {
        let ended = match reading.end_ns {
            0 => monotonic_ns(),
            ended => ended,
        };
        ended.saturating_sub(self.current.recorder.begin_ns())
    }

    /// Folds the last reading with all names that there are.
    fn know_all(&mut self, reading: &Reading) -> Result<(), ProbeError> {
        let (session, current) = (&*self.session, &mut self.current);
        let tasks = session.tasks()?;
        let errnos = session.errnos(current.number)?;
        let mut known = current.known(session, reading);
        let names = Names {
            tasks: &tasks,
            errnos: &errnos,
            hooked: &facts::hooked(session, current.blind),
        };
        known.causes = current.recorder.rows(reading, &names);
        current.fold.know(known);
        Ok(())
    }

    /// Takes a last sample of the approximate mode, if there is still something to look at.
    fn close_sampled(
        &mut self,
        closing: &mut Closing,
        reading: &Reading,
    ) -> Result<(), ProbeError> {
        // After an exec, what could be sampled is the new program's memory.
        let sample = if closing.end == End::Exec {
            None
        } else {
            self.sample()
        };
        let Some(resident) = sample else {
            closing.gone = Some(self.current.recorder.gone(reading, None));
            closing.lazyfree_missing = Some(GONE.to_owned());
            return Ok(());
        };
        let now = monotonic_ns();
        let rss = resident.rss();
        let smaps = if self.throttle.allows_once(rss) {
            self.read_smaps(self.current.since(now), rss)
        } else {
            None
        };
        if smaps.is_none() {
            closing.lazyfree_missing = Some(self.smaps_missing(rss));
        }
        let observed = Observed {
            statm: self.subject.sampler.statm(),
            resident: Some(resident),
            smaps,
            ..Observed::default()
        };
        self.note(now, reading, &observed)
    }

    /// Compares the ledger with the figures of a process that goes on. Returns the last reading.
    fn close_compared(&mut self, closing: &mut Closing) -> Result<Reading, ProbeError> {
        let (reading, Comparison { check, with, smaps }) = self.compare()?;
        closing.compared_with = with;
        if smaps.is_none() {
            closing.lazyfree_missing = Some(self.smaps_missing(self.rss_bytes(&reading)));
        }
        let observed = Observed {
            statm: self.subject.sampler.statm(),
            smaps,
            check,
            ..Observed::default()
        };
        self.note(monotonic_ns(), &reading, &observed)?;
        Ok(reading)
    }

    fn smaps_missing(&self, rss: u64) -> String {
        self.throttle
            .refusal(rss)
            .or_else(|| self.subject.sampler.refusal())
            .unwrap_or_else(|| "smaps_rollup could not be read".to_owned())
    }

    /// Holds the ledger against the kernel's own figures, at a moment of rest where there is one.
    fn compare(&mut self) -> Result<(Reading, Comparison), ProbeError> {
        let since = self.current.since(monotonic_ns());
        let mut last = self.session.read(self.current.number)?;
        let rss = self.rss_bytes(&last);
        let mut comparison = Comparison {
            check: None,
            with: "statm",
            smaps: None,
        };
        if self.throttle.allows_once(rss) {
            let mut again = 0;
            while let Some(smaps) = self.read_smaps(since, rss) {
                let before = std::mem::replace(&mut last, self.session.read(self.current.number)?);
                comparison.smaps = Some(smaps);
                if self.session.threads_keep_pages() {
                    break;
                }
                let pages = i64::try_from(smaps.rss / self.host.page_size).unwrap_or(i64::MAX);
                let checked = check(&before, pages, &last);
                comparison.check = Some(checked);
                comparison.with = "smaps_rollup";
                // A call that unmaps takes pages out of the page tables first, up to a table's worth, and out of the counters
                // afterwards. A thread that has lost its CPU in between moves nothing, and is not at rest.
                if checked.unexplained == 0 || again == DOUBTS || smaps.took > DOUBT_PAUSE {
                    break;
                }
                again += 1;
                std::thread::sleep(DOUBT_PAUSE);
                last = self.session.read(self.current.number)?;
            }
        }
        let mut tries = 0;
        let is_final = |check: Check| check.bound == 0 && check.unexplained == 0;
        while tries < TRIES && !comparison.check.is_some_and(is_final) {
            tries += 1;
            let Some(statm) = self.subject.sampler.statm() else {
                break;
            };
            let before = std::mem::replace(&mut last, self.session.read(self.current.number)?);
            let checked = self.against_statm(&before, statm, &last);
            let by_statm = comparison.with == "statm";
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
                comparison.with = "statm";
            }
        }
        // A bound of 0 says that nothing moved while it was compared.
        if comparison.check.is_some_and(|check| check.bound == 0) {
            last = last.at_rest();
        }
        Ok((last, comparison))
    }
}
