//! Receivers of a capture.

use std::time::Duration;

use crate::{
    model::{Account, End, Epoch, HostInfo, Tick},
    timeline::{Known, TakenBack},
};

/// Takes what a capture has to say, as it happens. Each method does nothing unless an observer has a use for it.
pub trait Observer {
    /// Takes the beginning of the first epoch.
    fn begin(&mut self, _opening: &Opening<'_>) {}

    /// Takes a tick.
    fn tick(&mut self, _at: &At<'_>) {}

    /// Returns true if the account as at this tick is wanted. Making one costs about as much as the tick. `now_ns` is `CLOCK_MONOTONIC`.
    fn wants_account(&self, _now_ns: u64) -> bool {
        false
    }

    /// Takes the account as at this tick, judged as if the capture ended here.
    fn account(&mut self, _now_ns: u64, _account: Account) {}

    /// Takes the end of an epoch, and the beginning of the next one if an exec has ended it.
    fn end(&mut self, _ended: &Ended<'_>, _next: Option<&Opening<'_>>) {}

    /// Takes another time between ticks.
    fn interval(&mut self, _interval: Duration) {}

    /// Takes something that is to be said beside the figures.
    fn note(&mut self, _text: &str) {}

    /// Returns how the capture has to end now if the observer cannot go on. Asked between events.
    fn over(&mut self) -> Option<End> {
        None
    }
}

/// Observes nothing.
impl Observer for () {}

/// The beginning of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The host.
    pub host: &'a HostInfo,
    /// What is known: nothing has moved yet.
    pub account: &'a Account,
    /// `CLOCK_MONOTONIC`.
    pub begin_ns: u64,
    /// Time between ticks.
    pub interval: Duration,
}

/// A tick.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The tick.
    pub tick: &'a Tick,
    /// What is known since the epoch began.
    pub known: &'a Known,
    /// RSS when the epoch began, bytes.
    pub rss_start_bytes: i64,
}

/// The end of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// The host.
    pub host: &'a HostInfo,
    /// Its account with the verdict, and the ticks that a report needs: the last one, and the last one that has `LazyFree`.
    pub epoch: &'a Epoch,
    /// Ticks whose comparison was with the next program's memory.
    pub taken_back: Option<TakenBack>,
}
