//! A tick: everything is read once, folded, and told.

use std::time::Duration;

use memtrace_common::layout::EpochEnd;

use super::{At, Capturing, Observer, Subject, facts, facts::target_info};
use crate::{
    ledger::{Check, Names, Reading, check, rss_of},
    model::{Account, End, Mode, Verdict},
    observe::{ClosingGauges, Resident, Smaps, Statm},
    probe::{ProbeError, batch_pages, monotonic_ns},
    timeline::{Closing, Observed},
    verdict::{Case, judge},
};

/// Readings until a busy target is compared as it is.
pub(super) const TRIES: u32 = 8;
/// The kernel moves a counter first, and tells of it afterwards: for as long as an event takes, and longer if its thread loses
/// the CPU in between, the ledger lags behind. What does not pass in some of these is a finding.
pub(super) const MOMENT: Duration = Duration::from_millis(1);

impl<O: Observer> Capturing<'_, O> {
    /// Reads everything once. Does nothing if the epoch has ended: that is for [`Self::epochs`].
    ///
    /// # Errors
    ///
    /// If the kernel side cannot be read.
    pub fn tick(&mut self) -> Result<(), ProbeError> {
        if !self.current.has_ticked {
            // A program often renames itself when it starts, and it maps its libraries.
            self.subject.target.refresh();
            self.subject.gauges.refresh();
        }
        if self.session.mode() == Mode::Approximate {
            return self.sampled_tick();
        }
        // An exec that has just happened belongs to its own event.
        let Some(before) = self.open_reading()? else {
            return Ok(());
        };
        let mut tries = 0;
        let (statm, now, after, check) = loop {
            let statm = self.subject.sampler.statm();
            let now = monotonic_ns();
            let Some(mut after) = self.open_reading()? else {
                return Ok(());
            };
            if before.events == after.events {
                after = after.at_rest();
            }
            let check = statm.and_then(|statm| self.against_statm(&before, statm, &after));
            tries += 1;
            if tries == TRIES || check.is_none_or(|check| check.unexplained == 0) {
                break (statm, now, after, check);
            }
            std::thread::sleep(MOMENT);
        };
        let smaps = self.rationed_smaps(now, self.rss_bytes(&after));
        let observed = Observed {
            statm,
            smaps,
            check,
            ..Observed::default()
        };
        self.note(now, &after, &observed)
    }

    fn sampled_tick(&mut self) -> Result<(), ProbeError> {
        let (Some(reading), Some(resident)) = (self.open_reading()?, self.sample()) else {
            return Ok(());
        };
        let now = monotonic_ns();
        let smaps = self.rationed_smaps(now, resident.rss());
        let observed = Observed {
            statm: self.subject.sampler.statm(),
            resident: Some(resident),
            smaps,
            ..Observed::default()
        };
        self.note(now, &reading, &observed)
    }

    /// Returns RSS by kind, for the approximate mode.
    pub(super) fn sample(&mut self) -> Option<Resident> {
        self.current.sample(self.session, &mut self.subject.sampler)
    }

    /// Returns the current epoch's cells; `None` once it has ended.
    fn open_reading(&self) -> Result<Option<Reading>, ProbeError> {
        let reading = self.session.read(self.current.number)?;
        Ok((reading.end_kind == EpochEnd::Open).then_some(reading))
    }

    pub(super) fn rss_bytes(&self, reading: &Reading) -> u64 {
        u64::try_from(rss_of(&reading.now())).unwrap_or(0) * self.host.page_size
    }

    /// Reads `smaps_rollup` in between, if the throttle allows it at `now`.
    fn rationed_smaps(&mut self, now: u64, rss: u64) -> Option<Smaps> {
        let since = self.current.since(now);
        if self.throttle.allows(since, rss) {
            self.read_smaps(since, rss)
        } else {
            None
        }
    }

    pub(super) fn read_smaps(&mut self, since: Duration, rss: u64) -> Option<Smaps> {
        let smaps = self.subject.sampler.smaps()?;
        self.throttle.spent(since, smaps.took, rss);
        Some(smaps)
    }

    /// Compares the ledger with `statm`. Before 6.16 `statm` leaves the CPUs' own parts out; once it is seen to do so, it is
    /// compared only within what those can hold.
    pub(super) fn against_statm(
        &mut self,
        before: &Reading,
        statm: Statm,
        after: &Reading,
    ) -> Option<Check> {
        let resident = i64::try_from(statm.resident).ok()?;
        let mut checked = check(before, resident, after);
        let shows_shared_part = resident == rss_of(&before.counts);
        if checked.bound == 0 && checked.unexplained != 0 && shows_shared_part {
            self.statm_inexact = true;
        }
        if self.statm_inexact {
            let host = self.session.host();
            let slack = 3 * u64::from(batch_pages(host.online_cpus)) * u64::from(host.online_cpus);
            if checked.unexplained.unsigned_abs() <= slack {
                checked.unexplained = 0;
            }
            checked.bound += slack;
        }
        Some(checked)
    }

    /// Folds a reading and what was read beside it, and tells the observer.
    pub(super) fn note(
        &mut self,
        now: u64,
        reading: &Reading,
        observed: &Observed,
    ) -> Result<(), ProbeError> {
        self.note_merged(reading);
        let (session, current) = (&*self.session, &mut self.current);
        let Subject { target, gauges, .. } = &mut self.subject;
        gauges.collect();
        let tasks = if reading.task_slots == 0 {
            Vec::new()
        } else {
            session.tasks()?
        };
        let mut known = current.known(session, reading);
        // A program often renames itself when it starts.
        let is_news = gauges.has_news() || !current.has_ticked;
        known.target = is_news.then(|| target_info(target, gauges));
        let hooked = facts::hooked(session, current.blind);
        let number = current.number;
        let failed = reading.failed_calls();
        let names = Names {
            tasks: &tasks,
            errnos: current.failed.errnos(failed, || session.errnos(number))?,
            hooked: &hooked,
        };
        let observed = Observed {
            go: gauges.go(),
            cgroup: gauges.cgroup(Duration::from_nanos(now)),
            ..*observed
        };
        let rss_start_bytes = current.recorder.rss_start_bytes();
        let (tick, causes) = current.recorder.tick(now, reading, &names, &observed);
        known.causes = causes;
        current.trend.note(tick);
        self.observer.tick(&At {
            tick,
            known: &known,
            rss_start_bytes,
        });
        current.fold.tick(tick, known);
        current.has_ticked = true;
        if std::mem::take(&mut self.fresh) || self.observer.wants_account(now) {
            let account = self.so_far(reading, &observed);
            self.observer.account(now, account);
        }
        Ok(())
    }

    fn note_merged(&mut self, reading: &Reading) {
        if reading.losses.epochs > 0 && !self.said_merged {
            self.said_merged = true;
            self.observer.note(&format!(
                "process {} replaces its program faster than memtrace can follow; the programs' figures are added up",
                self.subject.target.pid
            ));
        }
    }

    /// Returns the account as at a tick, judged as if the capture ended here.
    fn so_far(&self, reading: &Reading, observed: &Observed) -> Account {
        let Subject { target, gauges, .. } = &self.subject;
        let gauged = ClosingGauges {
            cgroup: gauges.cgroup_so_far(observed.cgroup),
            mappings: Some(Err("they are read once, at the end".to_owned())),
            go: observed.go,
        };
        let mut account = self.current.fold.account(Closing {
            start: Some(self.current.recorder.start(reading)),
            lazyfree_missing: Some("it was not read at the last tick".to_owned()),
            gauges: Some(gauged),
            target: Some(target_info(target, gauges)),
            ..Closing::as_at_the_last_tick(End::Signal)
        });
        account.verdict = Some(self.judged(&account));
        account.capture.end = End::Interrupted;
        account
    }

    pub(super) fn judged(&self, account: &Account) -> Verdict {
        judge(&Case {
            host: &self.host,
            target: &account.target,
            capture: &account.capture,
            summary: &account.summary,
            trend: &self.current.trend,
        })
    }
}
