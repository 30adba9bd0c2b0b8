//! The capture engine: it reads the kernel side at each tick, folds what it has read into the account of an epoch, and tells an
//! [`Observer`].
//!
//! It knows no arguments and prints nothing: `examples/embed.rs` is another tracer that uses it.

mod closing;
mod epoch;
mod facts;
mod observer;
mod run;
mod tick;

use std::time::{Duration, Instant};

use memtrace_common::layout::EpochEnd;

use epoch::Current;
pub use facts::{host_info, target_info};
pub use observer::{At, Ended, Observer, Opening};
pub(crate) use run::watched;
pub use run::{CaptureError, Order};

use crate::{
    model::{Account, End, HostInfo, Mode},
    observe::{Gauges, Sampler, Throttle},
    probe::{ProbeError, Session},
    process::Target,
};

/// How to capture.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Time between ticks.
    pub interval: Duration,
    /// When to end; `None` for never.
    pub duration: Option<Duration>,
    /// `smaps_rollup` is read only if that is expected to take no longer; `None` for never. Reading it holds locks of the target.
    pub smaps_limit: Option<Duration>,
    /// Also account for what memtrace itself takes.
    pub self_stats: bool,
    /// End once the target has stopped itself.
    pub ends_when_stopped: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            duration: None,
            smaps_limit: Some(Duration::from_millis(250)),
            self_stats: false,
            ends_when_stopped: false,
        }
    }
}

/// The process, and what is held open to look at it.
pub struct Subject {
    /// The process.
    pub target: Target,
    /// Its figures in `/proc`.
    pub sampler: Sampler,
    /// What is read beside the ledger.
    pub gauges: Gauges,
}

/// A running capture.
pub struct Capturing<'a, O> {
    session: &'a mut Session,
    subject: Subject,
    plan: Plan,
    observer: O,
    host: HostInfo,
    /// When it began.
    begun: Instant,
    throttle: Throttle,
    /// `statm` has been seen to show the shared part of the counters alone.
    statm_inexact: bool,
    /// The observer knows that epochs were merged.
    said_merged: bool,
    /// The next tick makes an account, whether it is wanted or not.
    fresh: bool,
    /// All epochs that have ended were complete.
    complete: bool,
    current: Current,
}

/// A capture that has ended.
pub struct Finished<O> {
    /// The last epoch.
    pub last: Account,
    /// Nothing was lost, and nothing is unexplained, in any epoch.
    pub complete: bool,
    /// The observer.
    pub observer: O,
}

impl<'a, O: Observer> Capturing<'a, O> {
    /// Begins with the epoch that the session is in.
    ///
    /// # Errors
    ///
    /// If the kernel side cannot be read.
    pub fn begin(
        session: &'a mut Session,
        mut subject: Subject,
        plan: Plan,
        mut observer: O,
    ) -> Result<Self, ProbeError> {
        let begun = Instant::now();
        let host = host_info(session);
        let limit = plan.smaps_limit;
        let throttle = limit.map_or_else(Throttle::off, |limit| Throttle::new(Some(limit)));
        let first = session.read(0)?;
        let start = Current::start(session, &mut subject.sampler);
        let class = subject.target.class;
        let current = Current::begin(session, &subject, plan.interval, class, &first, start);
        let account = current.fold.opening();
        observer.begin(&Opening {
            host: &host,
            account: &account,
            begin_ns: current.recorder.begin_ns(),
            interval: plan.interval,
        });
        Ok(Self {
            session,
            subject,
            plan,
            observer,
            host,
            begun,
            throttle,
            statm_inexact: false,
            said_merged: false,
            fresh: false,
            complete: true,
            current,
        })
    }

    /// Returns the observer.
    pub const fn observer(&mut self) -> &mut O {
        &mut self.observer
    }

    /// Sets another time between ticks.
    pub fn set_interval(&mut self, interval: Duration) {
        self.plan.interval = interval;
        self.current.set_interval(interval);
        self.observer.interval(interval);
    }

    /// Takes note of the ends of epochs. Returns true once the target has ended.
    ///
    /// # Errors
    ///
    /// If the kernel side cannot be read.
    pub fn epochs(&mut self) -> Result<bool, ProbeError> {
        while let Some(event) = self.session.next_event() {
            if event.epoch < self.current.number {
                continue;
            }
            self.current.number = event.epoch;
            match event.end {
                EpochEnd::Exit => return Ok(true),
                EpochEnd::Exec => self.next_epoch()?,
                EpochEnd::Open => {}
            }
        }
        Ok(false)
    }

    /// The process has replaced its program: closes the old one's epoch, and goes on with the new one's.
    fn next_epoch(&mut self) -> Result<(), ProbeError> {
        let taken_back = self.current.recorder.ended_by_exec();
        let epoch = self.close(End::Exec)?;
        let number = self.current.number;
        self.session.drained(number)?;
        self.complete &= epoch.is_complete();
        let Subject {
            target,
            sampler,
            gauges,
        } = &mut self.subject;
        sampler.renew();
        let first = self.session.read(number + 1)?;
        let start = Current::start(self.session, sampler);
        target.renew();
        gauges.renew();
        // What was read is this epoch's only if the next one has not begun.
        let is_current = self.session.epoch()? == number + 1;
        let class = target.class.filter(|_| is_current);
        self.current = Current::begin(
            self.session,
            &self.subject,
            self.plan.interval,
            class,
            &first,
            start,
        );
        let account = self.current.fold.opening();
        let next = Opening {
            host: &self.host,
            account: &account,
            begin_ns: self.current.recorder.begin_ns(),
            interval: self.plan.interval,
        };
        let ended = Ended {
            host: &self.host,
            epoch: &epoch,
            taken_back,
        };
        self.observer.end(&ended, Some(&next));
        Ok(())
    }

    /// Ends the capture.
    ///
    /// # Errors
    ///
    /// If the kernel side cannot be read.
    pub fn finish(mut self, mut end: End) -> Result<Finished<O>, ProbeError> {
        // Without a ledger there is nothing that could belong to the old program.
        let has_ledger = self.session.mode() == Mode::Exact;
        if has_ledger && end != End::TargetExited && self.let_exec_pass()? {
            end = End::TargetExited;
        }
        let epoch = self.close(end)?;
        let ended = Ended {
            host: &self.host,
            epoch: &epoch,
            taken_back: None,
        };
        self.observer.end(&ended, None);
        Ok(Finished {
            complete: self.complete && epoch.is_complete(),
            last: epoch.into_account(),
            observer: self.observer,
        })
    }
}
