//! The event loop of a capture.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

use tokio::{
    io::unix::AsyncFd,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until},
};

use super::{Capturing, Observer};
use crate::{
    model::End,
    probe::{ProbeError, Session},
    process::Target,
};

/// How long the kernel's own note of an exit may come after the process's end.
const GRACE: Duration = Duration::from_millis(500);

/// Why a capture cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The kernel side cannot be read.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The process, or the kernel side's events, cannot be waited for.
    #[error("cannot watch a file descriptor: {0}")]
    Watch(io::Error),
}

/// What is asked of a running capture.
pub enum Order<O> {
    /// End it.
    End(End),
    /// Tick at another interval from now on.
    Interval(Duration),
    /// Tick, with an account, and then do something with the observer.
    Fresh(Box<dyn FnOnce(&mut O)>),
}

/// Something that the loop has waited for.
enum Event {
    /// An epoch has ended, perhaps.
    Epoch,
    /// The process has.
    Exit,
    Over(End),
    Tick,
}

impl<O: Observer> Capturing<'_, O> {
    /// Runs until the target ends, the plan's time is over, an order ends the capture, or the observer does. [`Self::finish`] is to follow.
    ///
    /// `orders` returns the next order, or waits forever. It is called again and again, and dropped whenever something else happens.
    /// It needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// If the kernel side cannot be read, or the process cannot be watched.
    pub async fn run(
        &mut self,
        mut orders: impl AsyncFnMut() -> Order<O>,
    ) -> Result<End, CaptureError> {
        let begun = Instant::from_std(self.begun);
        let deadline = self.plan.duration.map(|duration| begun + duration);
        let mut wakes = Wakes::new(self.session, &self.subject.target, deadline)?;
        let mut ticks = every(self.plan.interval, begun);
        loop {
            if let Some(end) = self.observer.over() {
                return Ok(end);
            }
            let order = tokio::select! {
                biased;
                order = orders() => order,
                event = wakes.next(&mut ticks) => {
                    if let Some(end) = self.take(event?, &mut wakes)? {
                        return Ok(end);
                    }
                    continue;
                }
            };
            match order {
                Order::End(end) => return Ok(end),
                Order::Interval(interval) => {
                    self.set_interval(interval);
                    ticks = every(interval, Instant::now());
                }
                Order::Fresh(then) => {
                    if self.epochs()? {
                        return Ok(End::TargetExited);
                    }
                    self.fresh = true;
                    self.tick()?;
                    then(&mut self.observer);
                }
            }
        }
    }

    /// Deals with an event. Returns how the capture has to end, if it has to.
    fn take(&mut self, event: Event, wakes: &mut Wakes) -> Result<Option<End>, ProbeError> {
        if let Event::Over(end) = event {
            return Ok(Some(end));
        }
        if self.epochs()? {
            return Ok(Some(End::TargetExited));
        }
        match event {
            Event::Exit => wakes.grace = Some(Instant::now() + GRACE),
            Event::Tick => {
                self.tick()?;
                if self.plan.ends_when_stopped && self.subject.target.is_stopped() {
                    return Ok(Some(End::Duration));
                }
            }
            Event::Epoch | Event::Over(_) => {}
        }
        Ok(None)
    }
}

/// What the loop waits for.
struct Wakes {
    events: AsyncFd<OwnedFd>,
    exit: AsyncFd<OwnedFd>,
    deadline: Option<Instant>,
    grace: Option<Instant>,
}

impl Wakes {
    fn new(
        session: &Session,
        target: &Target,
        deadline: Option<Instant>,
    ) -> Result<Self, CaptureError> {
        let pidfd = target.as_fd().try_clone_to_owned();
        Ok(Self {
            events: watched(session.events_fd().map_err(CaptureError::Watch)?)?,
            exit: watched(pidfd.map_err(CaptureError::Watch)?)?,
            deadline,
            grace: None,
        })
    }

    async fn next(&mut self, ticks: &mut Interval) -> Result<Event, CaptureError> {
        tokio::select! {
            biased;
            ready = self.events.readable() => {
                ready.map_err(CaptureError::Watch)?.clear_ready();
                Ok(Event::Epoch)
            }
            () = at(self.grace) => Ok(Event::Over(End::TargetExited)),
            ready = self.exit.readable(), if self.grace.is_none() => {
                ready.map_err(CaptureError::Watch)?.retain_ready();
                Ok(Event::Exit)
            }
            () = at(self.deadline) => Ok(Event::Over(End::Duration)),
            _ = ticks.tick() => Ok(Event::Tick),
        }
    }
}

fn every(interval: Duration, from: Instant) -> Interval {
    let mut ticks = interval_at(from + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// Registers a descriptor that the value owns, for as long as it lives.
pub(crate) fn watched<T: AsFd + AsRawFd>(value: T) -> Result<AsyncFd<T>, CaptureError> {
    // SAFETY: every type that comes here owns its descriptor, and always names the same one.
    unsafe { AsyncFd::register(value) }.map_err(|error| CaptureError::Watch(error.into_parts().1))
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
