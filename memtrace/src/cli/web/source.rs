//! What visitors are told, as server-sent events: made once for all who have seen the same, and never kept for one who does not read.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    cli::feed::Viewer,
    timeline::Live,
    view::page::{State, Update},
};

/// Most visitors at a time.
pub const VISITORS: usize = 8;
/// Time between two updates at least. All visitors are told at multiples of it, so that they are told the same.
const BEAT: Duration = Duration::from_millis(100);
/// A connection over which nothing else is said says this often that it is there.
const ALIVE: Duration = Duration::from_secs(15);

/// A comment, which browsers leave out.
const KEEP_ALIVE: &[u8] = b":\n\n";
/// After a lost connection, a browser tries again every 2 s.
const RETRY: &[u8] = b"retry: 2000\n\n";
const END: &[u8] = b"event: end\ndata: {}\n\n";

/// Up to where a visitor has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    /// The last tick, ns since the start of the capture.
    t_ns: u64,
    /// Of everything.
    revision: u64,
}

impl Position {
    const fn of(live: &Live) -> Self {
        Self {
            t_ns: live.history.last_ns(),
            revision: live.revision,
        }
    }
}

/// An event, ready to be sent to any number of visitors.
#[derive(Clone, Debug)]
struct Made {
    frame: Bytes,
    /// Where who has got it is then.
    to: Position,
    /// Whether nothing comes after it.
    last: bool,
}

impl Made {
    /// An event of what was seen at `to`. JSON is always one line.
    fn new(event: &str, data: &impl Serialize, to: Position, last: bool) -> Option<Self> {
        let mut frame = format!("event: {event}\ndata: ").into_bytes();
        serde_json::to_writer(&mut frame, data).ok()?;
        frame.extend_from_slice(b"\n\n");
        Some(Self {
            frame: frame.into(),
            to,
            last,
        })
    }
}

/// What was made in this beat.
#[derive(Debug, Default)]
struct Cache {
    beat: u128,
    state: Option<Made>,
    /// By the time up to which its readers had been told before.
    updates: Vec<(u64, Made)>,
}

/// The events of a capture.
#[derive(Debug)]
pub struct Source {
    viewer: Viewer,
    begun: Instant,
    cache: Mutex<Cache>,
    places: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Source {
    /// The events that `viewer` sees, until `stop` says so.
    #[must_use]
    pub fn new(viewer: Viewer, stop: watch::Receiver<bool>) -> Self {
        Self {
            viewer,
            begun: Instant::now(),
            cache: Mutex::default(),
            places: Arc::new(Semaphore::new(VISITORS)),
            stop,
        }
    }

    /// One more visitor; `None` where there are too many.
    #[must_use]
    pub fn visitor(self: &Arc<Self>) -> Option<Visitor> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Visitor {
            source: Arc::clone(self),
            viewer: self.viewer.clone(),
            stop: self.stop.clone(),
            step: Step::Begin,
            _place: place,
        })
    }

    fn beat(&self) -> u128 {
        self.begun.elapsed().as_nanos() / BEAT.as_nanos()
    }

    /// When the next beat is.
    fn next(&self) -> Instant {
        let next = u32::try_from(self.beat() + 1).unwrap_or(u32::MAX);
        self.begun + BEAT.saturating_mul(next)
    }

    fn cached(&self, made: impl FnOnce(&mut Cache) -> Option<Made>) -> Option<Made> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let beat = self.beat();
        if cache.beat != beat {
            *cache = Cache {
                beat,
                ..Cache::default()
            };
        }
        made(&mut cache)
    }

    /// Everything so far.
    fn state(&self) -> Option<Made> {
        self.cached(|cache| {
            if cache.state.is_none() {
                let (state, to, last) = self.viewer.look(|live| {
                    let last = live.ended.is_some();
                    (State::of_live(live), Position::of(live), last)
                });
                cache.state = Made::new("state", &state, to, last);
            }
            cache.state.clone()
        })
    }

    /// What is newer; everything, where it is too long ago. `None` where nothing is.
    fn since(&self, from: Position) -> Option<Made> {
        enum Seen {
            Nothing,
            TooMuch,
            Update(Box<Update>, Position, bool),
        }
        let known = self.cached(|cache| {
            let mut updates = cache.updates.iter();
            let (_, made) = updates.find(|(t_ns, _)| *t_ns == from.t_ns)?;
            (made.to.revision > from.revision).then(|| made.clone())
        });
        if known.is_some() {
            return known;
        }
        let seen = self.viewer.look(|live| {
            if live.revision == from.revision {
                Seen::Nothing
            } else if live.history.recent_from_ns() > from.t_ns {
                Seen::TooMuch
            } else {
                let update = Box::new(Update::since(live, from.t_ns));
                Seen::Update(update, Position::of(live), live.ended.is_some())
            }
        });
        match seen {
            Seen::Nothing => None,
            Seen::TooMuch => self.state(),
            Seen::Update(update, to, last) => {
                let made = Made::new("update", &update, to, last)?;
                self.cached(|cache| {
                    cache.updates.retain(|(t_ns, _)| *t_ns != from.t_ns);
                    cache.updates.push((from.t_ns, made.clone()));
                    Some(made)
                })
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin,
    Follow(Position),
    End,
    Over,
}

/// Who watches. Is told the next thing when there is room for it, so one who does not read is told nothing, and nothing waits.
#[derive(Debug)]
pub struct Visitor {
    source: Arc<Source>,
    viewer: Viewer,
    stop: watch::Receiver<bool>,
    step: Step,
    _place: OwnedSemaphorePermit,
}

impl Visitor {
    /// The next bytes to send; `None` after the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        match self.step {
            Step::Begin => {
                let state = self.source.state()?;
                self.told(&state);
                Some([RETRY, &state.frame].concat().into())
            }
            Step::Follow(from) => self.follow(from).await,
            Step::End => {
                self.step = Step::Over;
                Some(Bytes::from_static(END))
            }
            Step::Over => None,
        }
    }

    fn told(&mut self, made: &Made) {
        self.step = if made.last {
            Step::End
        } else {
            Step::Follow(made.to)
        };
    }

    async fn follow(&mut self, from: Position) -> Option<Bytes> {
        loop {
            let goes_on = tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => false,
                goes_on = self.viewer.changed() => goes_on,
                () = sleep(ALIVE) => return Some(Bytes::from_static(KEEP_ALIVE)),
            };
            if goes_on {
                tokio::select! {
                    biased;
                    _ = self.stop.wait_for(|stop| *stop) => {}
                    () = sleep_until(self.source.next()) => {}
                }
            }
            match self.source.since(from) {
                Some(made) => {
                    self.told(&made);
                    return Some(made.frame);
                }
                None if goes_on => {}
                None => {
                    self.step = Step::Over;
                    return Some(Bytes::from_static(END));
                }
            }
        }
    }
}
