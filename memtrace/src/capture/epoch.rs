//! The epoch that goes on.

use std::time::Duration;

use super::{Subject, facts, facts::target_info};
use crate::{
    ledger::{Errno, Reading},
    model::Mode,
    observe::{Resident, Sampler},
    probe::Session,
    proc::Class,
    timeline::{Fold, Known, Recorder},
    verdict::Trend,
};

/// What is known of it.
pub(super) struct Current {
    pub(super) number: u32,
    /// Of its program; `None` if it is not known.
    pub(super) class: Option<Class>,
    pub(super) recorder: Recorder,
    pub(super) fold: Fold,
    /// What the verdict needs of the ticks.
    pub(super) trend: Trend,
    pub(super) failed: Failed,
    /// How far the sampled figures may be off, bytes: the most seen.
    pub(super) sampling_bound: Option<u64>,
    /// Why no call could be seen, as the observer knows it.
    pub(super) blind: Option<&'static str>,
    pub(super) has_ticked: bool,
    longest_interval: Duration,
}

impl Current {
    /// Returns what an epoch of the approximate mode starts with.
    pub(super) fn start(session: &Session, sampler: &mut Sampler) -> Option<Resident> {
        let is_sampled = session.mode() == Mode::Approximate;
        is_sampled.then(|| sampler.resident()).flatten()
    }

    pub(super) fn begin(
        session: &Session,
        subject: &Subject,
        interval: Duration,
        class: Option<Class>,
        first: &Reading,
        start: Option<Resident>,
    ) -> Self {
        let page_size = session.host().page_size;
        let attached = |name| facts::is_attached(session, name);
        let count_faults = attached("faults_user") && attached("faults_kernel");
        let reading = first.clone();
        let (recorder, sampling_bound) = match session.mode() {
            Mode::Exact => (Recorder::new(page_size, count_faults, reading), None),
            Mode::Approximate => {
                // Of one thread, until it is known how many there are.
                let threads = start.map_or(1, |start| start.threads.max(1));
                let bound = session.sampling_bound_pages(threads) * page_size;
                // If it has ended already, it holds nothing at the moment of this sample.
                let start = start.unwrap_or_default();
                let recorder = Recorder::sampled(page_size, count_faults, reading, start);
                (recorder, Some(bound))
            }
        };
        // The journal has all of them, if there is one.
        let recorder = recorder.keeping(false);
        let blind = facts::blind(class, first);
        let capture = facts::capture_info(session, interval, blind, first);
        let known = Known {
            faults: recorder.faults(&Reading::default()),
            losses: capture.losses,
            children: capture.children,
            sampling_bound_bytes: sampling_bound,
            ..Known::default()
        };
        let target = target_info(&subject.target, &subject.gauges);
        let fold = Fold::begin(target, capture, recorder.start(first), known);
        Self {
            number: first.epoch,
            class,
            recorder,
            fold,
            trend: Trend::default(),
            failed: Failed::default(),
            sampling_bound,
            blind,
            has_ticked: false,
            longest_interval: interval,
        }
    }

    pub(super) fn set_interval(&mut self, interval: Duration) {
        self.longest_interval = self.longest_interval.max(interval);
        self.fold.set_interval(facts::nanos(self.longest_interval));
    }

    /// Returns RSS by kind, for the approximate mode.
    pub(super) fn sample(&mut self, session: &Session, sampler: &mut Sampler) -> Option<Resident> {
        let resident = sampler.resident()?;
        let pages = session.sampling_bound_pages(resident.threads);
        let bound = pages * session.host().page_size;
        self.sampling_bound = self.sampling_bound.max(Some(bound));
        Some(resident)
    }

    /// Returns how long ago the epoch began.
    pub(super) const fn since(&self, now_ns: u64) -> Duration {
        Duration::from_nanos(now_ns.saturating_sub(self.recorder.begin_ns()))
    }

    /// Returns what is known at a reading, without its causes and without news of the process.
    pub(super) fn known(&mut self, session: &Session, reading: &Reading) -> Known {
        let blind = facts::blind(self.class, reading);
        let changed = std::mem::replace(&mut self.blind, blind) != blind;
        Known {
            faults: self.recorder.faults(reading),
            losses: facts::losses(reading),
            children: facts::children(session, reading),
            sampling_bound_bytes: self.sampling_bound,
            hooks: changed.then(|| facts::hook_info(session, blind)),
            ..Known::default()
        }
    }
}

/// Errnos are in a map that must be walked, which is done if calls have failed, and once more: the kernel side counts the
/// call first, and its errno afterwards.
#[derive(Default)]
pub(super) struct Failed {
    calls: u64,
    again: bool,
    errnos: Vec<Errno>,
}

impl Failed {
    /// Returns failed calls by errno; `walk` looks for them if more `calls` have failed than last time.
    pub(super) fn errnos<E>(
        &mut self,
        calls: u64,
        walk: impl FnOnce() -> Result<Vec<Errno>, E>,
    ) -> Result<&[Errno], E> {
        let more = calls != self.calls;
        if more || self.again {
            self.errnos = walk()?;
        }
        self.again = more;
        self.calls = calls;
        Ok(&self.errnos)
    }
}
