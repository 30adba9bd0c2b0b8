//! Single calls: which of them the kernel side is to tell, and reading what it tells, out of a ring buffer of their own.

use std::{io, os::fd::AsFd, sync::Arc, time::Duration};

use aya::{
    Pod,
    maps::{MapData, PerCpuArray, RingBuf},
};
use bytes::Buf;
use memtrace_common::{
    config::{Config, EVENT_WORDS},
    layout::{CallEvent, CallEventCounts, MAP_CALL_COUNTS},
};
use rustix::event::{
    EventfdFlags,
    epoll::{self, CreateFlags, EventData, EventFlags},
    eventfd,
};

use super::{ProbeError, session::map_error};

/// Bytes of the ring buffer: a record takes 128 of them, so that 65,535 calls can wait in it, for 0.25 s at 260,000 calls a second,
/// while its reader does not come to it (a write that takes its time, a host that is busy). Only where `--events` is given.
pub const RING_BYTES: u32 = 8 << 20;
/// The reader is woken once the ring buffer is a quarter full; else it looks every [`LOOK_EVERY`].
const WAKE_AT: u32 = RING_BYTES / 4;
/// How long a call waits, at most, to be read, where nobody is woken for it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Which calls are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Bit k of number n: those of the call slot 32 n + k ([`memtrace_common::cell::call_slot`]).
    pub slots: [u32; EVENT_WORDS],
    /// Those that asked for so many bytes, or more.
    pub min_bytes: u64,
}

impl Default for Selection {
    /// All.
    fn default() -> Self {
        Self {
            slots: [u32::MAX; EVENT_WORDS],
            min_bytes: 0,
        }
    }
}

impl Selection {
    /// The kernel side's configuration with this in it.
    pub(super) const fn configure(self, config: Config) -> Config {
        Config {
            events: 1,
            events_slots: self.slots,
            events_min_low: self.min_bytes as u32,
            events_min_high: (self.min_bytes >> 32) as u32,
            events_wake: WAKE_AT,
            ..config
        }
    }
}

/// A count of each CPU, as aya copies it out of its map.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct PodCounts(CallEventCounts);
// SAFETY: `repr(C)`, integers only, and the shared crate asserts that there is no padding.
unsafe impl Pod for PodCounts {}

/// The counts of the calls that were not told, which both the session and the reader look at.
#[derive(Clone)]
pub(super) struct Counts(Arc<PerCpuArray<MapData, PodCounts>>);

impl Counts {
    pub(super) fn new(map: PerCpuArray<MapData, PodCounts>) -> Self {
        Self(Arc::new(map))
    }

    /// Over all CPUs.
    pub(super) fn read(&self) -> Result<CallEventCounts, ProbeError> {
        let each = self
            .0
            .get(&0, 0)
            .map_err(|error| map_error(MAP_CALL_COUNTS, &error))?;
        let mut sum = CallEventCounts::default();
        for PodCounts(cpu) in each.iter() {
            sum.filtered += cpu.filtered;
            sum.dropped += cpu.dropped;
        }
        Ok(sum)
    }
}

/// The reader of single calls. It may go to a thread of its own.
pub struct CallEvents {
    ring: RingBuf<MapData>,
    counts: Counts,
    attached_ns: u64,
    epoll: rustix::fd::OwnedFd,
    waker: Arc<rustix::fd::OwnedFd>,
}

/// Ends a wait of [`CallEvents`].
#[derive(Clone)]
pub struct Waker(Arc<rustix::fd::OwnedFd>);

impl Waker {
    /// Ends the wait of this moment, or else the next one.
    pub fn wake(&self) {
        // Where it cannot be woken, it looks by itself.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

impl CallEvents {
    pub(super) fn new(
        ring: RingBuf<MapData>,
        counts: Counts,
        attached_ns: u64,
    ) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // By edge: else each call that waits would end the wait, and calls would be read one by one.
        epoll::add(
            &epoll,
            ring.as_fd(),
            EventData::new_u64(0),
            EventFlags::IN | EventFlags::ET,
        )?;
        epoll::add(
            &epoll,
            &waker,
            EventData::new_u64(1),
            EventFlags::IN | EventFlags::ET,
        )?;
        Ok(Self {
            ring,
            counts,
            attached_ns,
            epoll,
            waker: Arc::new(waker),
        })
    }

    /// Takes the next call, if there is one. `None` in it: a record that is none.
    #[expect(
        clippy::should_implement_trait,
        reason = "it is not at its end where there is none"
    )]
    pub fn next(&mut self) -> Option<Option<CallEvent>> {
        let record = self.ring.next()?;
        Some(decode(&record))
    }

    /// Calls that were left out, and that were dropped, since all was attached.
    ///
    /// # Errors
    ///
    /// Where the map cannot be read.
    pub fn counts(&self) -> Result<CallEventCounts, ProbeError> {
        self.counts.read()
    }

    /// `CLOCK_MONOTONIC` when all was attached, ns: when an epoch began whose begin nobody saw.
    #[must_use]
    pub const fn attached_ns(&self) -> u64 {
        self.attached_ns
    }

    /// Waits for more, for [`Waker::wake`], or for a moment.
    pub fn wait(&self) {
        let timeout = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(LOOK_EVERY.subsec_nanos()),
        };
        let mut events = [epoll::Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; 2];
        if epoll::wait(&self.epoll, &mut events[..], Some(&timeout)).is_err() {
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Ends its waits.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.waker))
    }
}

/// A call, out of a record of the ring buffer; `None` where that has another size.
#[must_use]
pub fn decode(mut record: &[u8]) -> Option<CallEvent> {
    if record.len() != size_of::<CallEvent>() {
        return None;
    }
    let bytes = &mut record;
    let mut long = || bytes.try_get_u64_le().ok();
    let (at_ns, begin_ns, duration_ns) = (long()?, long()?, long()?);
    let (address, length, old) = (long()?, long()?, long()?);
    let result = long()?.cast_signed();
    let moved = [long()?, long()?, long()?, long()?].map(u64::cast_signed);
    let mut short = || bytes.try_get_u32_le().ok();
    Some(CallEvent {
        at_ns,
        begin_ns,
        duration_ns,
        address,
        length,
        old,
        result,
        moved,
        epoch: short()?,
        thread: short()?,
        cell: short()?,
        errno: short()?,
        advice: short()?.cast_signed(),
        flags: short()?,
        prot: short()?,
        has_moved: short()?,
    })
}
