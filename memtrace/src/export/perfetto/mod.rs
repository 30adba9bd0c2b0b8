//! A Perfetto trace: a counter track for each figure, and for each cause what it has moved so far; <https://ui.perfetto.dev> opens it.
//!
//! A value is written where it changes, and at the ends of an epoch: a counter keeps its value until the next one.

mod messages;

use std::io::{self, Read, Seek, Write};

use prost::Message as _;

use self::messages::{
    BUILTIN_CLOCK_REALTIME, Clock as ClockValue, ClockSnapshot, CounterDescriptor,
    ProcessDescriptor, SEQ_INCREMENTAL_STATE_CLEARED, TYPE_COUNTER, TYPE_INSTANT, Trace,
    TracePacket, TrackDescriptor, TrackEvent, UNIT_COUNT, UNIT_SIZE_BYTES,
};
use super::{
    ExportError,
    causes::{CauseKey, Causes},
    clock::Clock,
};
use crate::{
    model::{Capture, Epoch, TargetInfo, Tick, TickCause},
    text::format::{change, sanitized, size},
    timeline::{
        Replay, Sink,
        figures::{FIGURES, Figure, LAZYFREE, RSS_LESS_LAZYFREE, Since},
    },
};

/// Characters of a name.
const TEXT: usize = 200;
/// All packets are of one writer.
const SEQUENCE: u32 = 1;
/// The least that is marked as a big release, bytes, and the part of the highest RSS, in hundredths.
const BIG: (u64, u64) = (1 << 20, 10);

/// Writes the capture, and flushes.
///
/// # Errors
///
/// Where writing fails, the ticks cannot be read again, the capture does not say when it began, or there are more causes than tracks.
pub fn write<R: Read + Seek>(
    capture: &Capture,
    causes: &Causes,
    ticks: &mut Replay<R>,
    out: impl Write,
) -> Result<(), ExportError> {
    let mut began = None;
    for epoch in capture.epochs() {
        let clock = Clock::of(&epoch.capture);
        if clock.unix_ns(epoch.capture.duration_ns).is_none() {
            return Err(ExportError::NoTime);
        }
        began = began.or(clock.unix_ns(0));
    }
    let mut tracing = Tracing {
        out,
        bytes: Vec::new(),
        target: &capture.epoch.target,
        causes,
        keys: causes.all()?,
        tracks: Vec::new(),
        clock: Clock::default(),
        last_ns: 0,
        big: u64::MAX,
    };
    tracing
        .head(began.unwrap_or_default())
        .map_err(ExportError::Write)?;
    ticks.each(capture, &mut tracing)?;
    tracing.out.flush().map_err(ExportError::Write)
}

/// What a track shows.
#[derive(Clone, Copy)]
enum Shows {
    Figure(&'static Figure),
    /// RSS less what was given back with `MADV_FREE`.
    FaultRate,
    /// What the cause of this place has brought since the epoch began.
    Cause(usize),
}

/// A counter's track.
struct Track {
    uuid: u64,
    shows: Shows,
    /// What a cause has brought; `None` where it is not known.
    sum: Option<i128>,
    /// Its last value.
    last: Option<Last>,
}

/// A value, and when it was written and seen last, ns since the epoch began.
#[derive(Clone, Copy)]
struct Last {
    value: Value,
    written: u64,
    seen: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Value {
    Integer(i64),
    Rate(f64),
}

struct Tracing<'a, W> {
    out: W,
    /// The packet that is written.
    bytes: Vec<u8>,
    target: &'a TargetInfo,
    causes: &'a Causes,
    keys: &'a [CauseKey],
    tracks: Vec<Track>,
    clock: Clock,
    /// When the last tick was, since the epoch began.
    last_ns: u64,
    /// Bytes from which on a release is marked.
    big: u64,
}

impl<W: Write> Tracing<'_, W> {
    /// The clock, and all tracks.
    fn head(&mut self, began: u64) -> io::Result<()> {
        self.put(TracePacket {
            sequence_flags: Some(SEQ_INCREMENTAL_STATE_CLEARED),
            clock_snapshot: Some(ClockSnapshot {
                clocks: vec![ClockValue {
                    clock_id: Some(BUILTIN_CLOCK_REALTIME),
                    timestamp: Some(began),
                }],
                primary_trace_clock: Some(BUILTIN_CLOCK_REALTIME),
            }),
            ..TracePacket::default()
        })?;
        let name = self.target.comm.shown(TEXT);
        self.describe(TrackDescriptor {
            uuid: Some(self.uuid(0)),
            name: Some(name.clone()),
            process: Some(ProcessDescriptor {
                pid: i32::try_from(self.target.pid).ok(),
                process_name: Some(name),
            }),
            ..TrackDescriptor::default()
        })?;
        for figure in FIGURES {
            match figure.since {
                // A rate says more.
                Since::LastTick => self.track(
                    Shows::FaultRate,
                    "faults/s".to_owned(),
                    "Page faults per second since the tick before",
                )?,
                Since::Now | Since::Before => self.figure(figure)?,
            }
            if figure.name == LAZYFREE.name {
                self.figure(&RSS_LESS_LAZYFREE)?;
            }
        }
        for (place, key) in self.keys.iter().enumerate() {
            let name = format!("RSS by {}", sanitized(&key.name(), TEXT));
            self.track(
                Shows::Cause(place),
                name,
                "RSS that this cause has brought or taken since the epoch began",
            )?;
        }
        Ok(())
    }

    fn figure(&mut self, figure: &'static Figure) -> io::Result<()> {
        self.track(Shows::Figure(figure), figure.title.to_owned(), figure.help)
    }

    fn track(&mut self, shows: Shows, name: String, description: &str) -> io::Result<()> {
        let uuid = self.uuid(self.tracks.len() as u64 + 1);
        self.tracks.push(Track {
            uuid,
            shows,
            sum: None,
            last: None,
        });
        let is_bytes = match shows {
            Shows::Figure(figure) => figure.is_bytes(),
            Shows::Cause(_) => true,
            Shows::FaultRate => false,
        };
        self.describe(TrackDescriptor {
            uuid: Some(uuid),
            parent_uuid: Some(self.uuid(0)),
            name: Some(name),
            description: Some(description.to_owned()),
            counter: Some(CounterDescriptor {
                unit: Some(if is_bytes {
                    UNIT_SIZE_BYTES
                } else {
                    UNIT_COUNT
                }),
                unit_name: matches!(shows, Shows::FaultRate).then(|| "faults/s".to_owned()),
            }),
            ..TrackDescriptor::default()
        })
    }

    /// Unlike those of other processes, should traces be put together: process ids have 22 bits.
    fn uuid(&self, number: u64) -> u64 {
        const OWN: u64 = 0x6d74 << 48;
        OWN | u64::from(self.target.pid & 0x3f_ffff) << 24 | number & 0xff_ffff
    }

    fn describe(&mut self, track: TrackDescriptor) -> io::Result<()> {
        self.put(TracePacket {
            track_descriptor: Some(track),
            ..TracePacket::default()
        })
    }

    fn event(&mut self, t_ns: u64, event: TrackEvent) -> io::Result<()> {
        self.put(TracePacket {
            timestamp: self.clock.unix_ns(t_ns),
            timestamp_clock_id: Some(BUILTIN_CLOCK_REALTIME),
            track_event: Some(event),
            ..TracePacket::default()
        })
    }

    fn instant(&mut self, t_ns: u64, name: String) -> io::Result<()> {
        self.event(
            t_ns,
            TrackEvent {
                r#type: Some(TYPE_INSTANT),
                track_uuid: Some(self.uuid(0)),
                categories: vec!["memtrace".to_owned()],
                name: Some(name),
                ..TrackEvent::default()
            },
        )
    }

    fn counter(&mut self, uuid: u64, t_ns: u64, value: Value) -> io::Result<()> {
        let (counter_value, double_counter_value) = match value {
            Value::Integer(value) => (Some(value), None),
            Value::Rate(value) => (None, Some(value)),
        };
        self.event(
            t_ns,
            TrackEvent {
                r#type: Some(TYPE_COUNTER),
                track_uuid: Some(uuid),
                counter_value,
                double_counter_value,
                ..TrackEvent::default()
            },
        )
    }

    fn put(&mut self, packet: TracePacket) -> io::Result<()> {
        self.bytes.clear();
        let packet = TracePacket {
            trusted_packet_sequence_id: Some(SEQUENCE),
            ..packet
        };
        Trace {
            packet: vec![packet],
        }
        .encode(&mut self.bytes)
        .map_err(io::Error::other)?;
        self.out.write_all(&self.bytes)
    }

    /// Marks what was given back at once.
    fn releases(&mut self, tick: &Tick) -> io::Result<()> {
        for cause in &tick.causes {
            let name = || {
                let key = self.causes.place(cause).and_then(|at| self.keys.get(at));
                key.map_or_else(String::new, |key| sanitized(&key.name(), TEXT))
            };
            let moved = cause.rss_delta_bytes.unwrap_or(0);
            let said = if moved < 0 && moved.unsigned_abs() >= self.big {
                format!("{}: {}", name(), change(moved))
            } else if is_lazy(cause) && cause.requested_bytes.is_some_and(|asked| asked >= self.big)
            {
                let asked = size(cause.requested_bytes.unwrap_or(0));
                format!("{}: {asked} freed lazily", name())
            } else {
                continue;
            };
            self.instant(tick.t_ns, said)?;
        }
        Ok(())
    }
}

fn is_lazy(cause: &TickCause) -> bool {
    cause.advice.as_ref().is_some_and(|it| *it == "MADV_FREE")
}

impl Track {
    fn value(&self, tick: &Tick, since_ns: u64) -> Option<Value> {
        let integer = match self.shows {
            Shows::Figure(figure) => figure.of_tick(tick)?,
            Shows::Cause(_) => self.sum?,
            Shows::FaultRate if since_ns == 0 => return None,
            Shows::FaultRate => {
                return Some(Value::Rate(tick.faults? as f64 * 1e9 / since_ns as f64));
            }
        };
        i64::try_from(integer).ok().map(Value::Integer)
    }
}

impl<W: Write> Sink for Tracing<'_, W> {
    fn begin(&mut self, number: usize, epoch: &Epoch) -> io::Result<()> {
        let Self { tracks, keys, .. } = self;
        for track in tracks {
            track.last = None;
            track.sum = match track.shows {
                Shows::Cause(place) => keys
                    .get(place)
                    .and_then(|key| key.quiet(&epoch.capture).bytes)
                    .map(i128::from),
                _ => None,
            };
        }
        self.clock = Clock::of(&epoch.capture);
        self.last_ns = 0;
        let highest = u64::try_from(epoch.summary.rss_highest_seen_bytes).unwrap_or(0);
        self.big = (highest / 100 * BIG.1).max(BIG.0);
        if number > 0 {
            let name = format!("exec of {:.TEXT$}", epoch.target.comm);
            self.instant(0, name)?;
        }
        Ok(())
    }

    fn tick(&mut self, tick: &Tick) -> io::Result<()> {
        let mut moved = vec![Some(0); self.keys.len()];
        for cause in &tick.causes {
            if let Some(moved) = self.causes.place(cause).and_then(|at| moved.get_mut(at)) {
                *moved = cause.rss_delta_bytes.map(i128::from);
            }
        }
        let since = tick.t_ns.saturating_sub(self.last_ns);
        self.last_ns = tick.t_ns;
        let mut changed = Vec::new();
        for track in &mut self.tracks {
            if let Shows::Cause(place) = track.shows {
                let moved = moved.get(place).copied().flatten();
                track.sum = track
                    .sum
                    .zip(moved)
                    .map(|(sum, moved)| sum.saturating_add(moved));
            }
            let Some(value) = track.value(tick, since) else {
                continue;
            };
            match &mut track.last {
                Some(last) if last.value == value => last.seen = tick.t_ns,
                last => {
                    *last = Some(Last {
                        value,
                        written: tick.t_ns,
                        seen: tick.t_ns,
                    });
                    changed.push((track.uuid, value));
                }
            }
        }
        for (uuid, value) in changed {
            self.counter(uuid, tick.t_ns, value)?;
        }
        self.releases(tick)
    }

    /// So that each track reaches as far as it is known.
    fn end(&mut self, _: usize, _: &Epoch) -> io::Result<()> {
        let lasts: Vec<_> = self
            .tracks
            .iter()
            .filter_map(|track| Some((track.uuid, track.last?)))
            .filter(|(_, last)| last.seen > last.written)
            .collect();
        for (uuid, last) in lasts {
            self.counter(uuid, last.seen, last.value)?;
        }
        Ok(())
    }
}
