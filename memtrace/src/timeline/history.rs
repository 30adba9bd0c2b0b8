//! The timeline for a view: in bounded memory, however long the capture.
//!
//! Two tiers, each of which adds up exactly. The newest ticks are kept as they are. The whole capture is kept in spans of equal
//! numbers of ticks; where there are too many, each two become one. Changes and counts are added; of RSS, the lowest and the
//! highest stay, so that no peak is lost.

use crate::text::Foreign;
use std::collections::VecDeque;

use super::Digest;
use crate::model::{Cause, CgroupFigures, GoFigures, Tick, TickCause};

/// Most spans of each tier, unless said otherwise. A day of ticks of 1 s is in 2,700 spans of 32 s, and the last 68 minutes of it
/// as they are.
const SPANS: usize = 4096;
/// Most names of causes. The ledger has fewer; a file may claim any number.
const NAMES: usize = 512;
/// Most marks.
const MARKS: usize = 256;

/// What a cause is called: a row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CauseName {
    /// The cause.
    pub cause: Cause,
    /// The advice by the kernel's name; only for `madvise` and `process_madvise`.
    pub advice: Option<Foreign>,
    /// The other task; only for `reclaim` and `other_process`.
    pub task: Option<Foreign>,
}

/// What one cause did during a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Which one: place in [`History::names`].
    pub name: u16,
    /// Change of RSS, bytes; `None` in the approximate mode.
    pub rss_delta_bytes: Option<i64>,
    /// Change of swap entries, bytes.
    pub swap_delta_bytes: i64,
    /// Calls; `None` where it is no hooked call.
    pub calls: Option<u64>,
    /// Bytes that they asked for.
    pub requested_bytes: Option<u64>,
}

/// One tick, or several in a row. States are those of the last tick; where that did not read one, of the last one that did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it begins: the tick before, ns since the start of the capture.
    pub from_ns: u64,
    /// Its last tick.
    pub t_ns: u64,
    /// How many ticks.
    pub ticks: u64,
    /// Of this time, in gaps: ticks further apart than twice the interval, since memtrace did not run. 0 where the interval is not
    /// known.
    pub gap_ns: u64,
    /// RSS, bytes.
    pub rss_bytes: i64,
    /// The lowest among the ticks.
    pub rss_lowest_bytes: i64,
    /// The highest among the ticks.
    pub rss_highest_bytes: i64,
    /// Anonymous part.
    pub anon_bytes: i64,
    /// File part.
    pub file_bytes: i64,
    /// Shared memory part.
    pub shmem_bytes: i64,
    /// Swap entries.
    pub swap_bytes: i64,
    /// Size of the address space.
    pub vm_bytes: Option<u64>,
    /// `LazyFree`.
    pub lazyfree_bytes: Option<u64>,
    /// The tick that read it.
    pub lazyfree_t_ns: Option<u64>,
    /// RSS less `LazyFree`, at the same tick.
    pub rss_less_lazyfree_bytes: Option<i64>,
    /// Bytes in anonymous huge pages.
    pub anon_huge_bytes: Option<u64>,
    /// Page faults; `None` where one of the ticks did not count them.
    pub faults: Option<u64>,
    /// Go's own figures.
    pub go: Option<GoFigures>,
    /// The memory cgroup's.
    pub cgroup: Option<CgroupFigures>,
    /// What each cause did, in the order of their names.
    pub causes: Vec<Moved>,
}

impl Span {
    /// Takes in the span that follows.
    fn join(&mut self, next: &Self) {
        let Self {
            from_ns: _,
            t_ns,
            ticks,
            gap_ns,
            rss_bytes,
            rss_lowest_bytes,
            rss_highest_bytes,
            anon_bytes,
            file_bytes,
            shmem_bytes,
            swap_bytes,
            vm_bytes,
            lazyfree_bytes,
            lazyfree_t_ns,
            rss_less_lazyfree_bytes,
            anon_huge_bytes,
            faults,
            go,
            cgroup,
            causes,
        } = self;
        *t_ns = next.t_ns;
        *ticks = ticks.saturating_add(next.ticks);
        *gap_ns = gap_ns.saturating_add(next.gap_ns);
        *rss_bytes = next.rss_bytes;
        *rss_lowest_bytes = next.rss_lowest_bytes.min(*rss_lowest_bytes);
        *rss_highest_bytes = next.rss_highest_bytes.max(*rss_highest_bytes);
        *anon_bytes = next.anon_bytes;
        *file_bytes = next.file_bytes;
        *shmem_bytes = next.shmem_bytes;
        *swap_bytes = next.swap_bytes;
        *vm_bytes = next.vm_bytes.or(*vm_bytes);
        *lazyfree_bytes = next.lazyfree_bytes.or(*lazyfree_bytes);
        *lazyfree_t_ns = next.lazyfree_t_ns.or(*lazyfree_t_ns);
        *rss_less_lazyfree_bytes = next.rss_less_lazyfree_bytes.or(*rss_less_lazyfree_bytes);
        *anon_huge_bytes = next.anon_huge_bytes.or(*anon_huge_bytes);
        *faults = both(*faults, next.faults, u64::saturating_add);
        *go = next.go.or(*go);
        *cgroup = next.cgroup.or(*cgroup);
        for moved in &next.causes {
            add(causes, *moved);
        }
    }
}

fn add(causes: &mut Vec<Moved>, moved: Moved) {
    match causes.binary_search_by_key(&moved.name, |moved| moved.name) {
        Ok(place) => {
            if let Some(sum) = causes.get_mut(place) {
                sum.rss_delta_bytes = both(
                    sum.rss_delta_bytes,
                    moved.rss_delta_bytes,
                    i64::saturating_add,
                );
                sum.swap_delta_bytes = sum.swap_delta_bytes.saturating_add(moved.swap_delta_bytes);
                sum.calls = either(sum.calls, moved.calls);
                sum.requested_bytes = either(sum.requested_bytes, moved.requested_bytes);
            }
        }
        Err(place) => causes.insert(place, moved),
    }
}

/// What is not known of one is not known of both.
fn both<T>(one: Option<T>, other: Option<T>, add: impl Fn(T, T) -> T) -> Option<T> {
    one.zip(other).map(|(one, other)| add(one, other))
}

/// A tick in which a cause made no call has none to tell.
fn either(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}

/// A moment to be marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Since the start of the capture.
    pub t_ns: u64,
    /// What happened.
    pub kind: MarkKind,
}

/// What a mark is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// The process replaced its program, and is called so since: what it chose itself.
    Exec(Foreign),
}

/// The timeline in bounded memory. See the module.
#[derive(Clone, Debug)]
pub struct History {
    most: usize,
    names: Vec<CauseName>,
    recent: VecDeque<Span>,
    whole: Vec<Span>,
    /// Ticks of a finished span of `whole`; always a power of 2 times those that came in as one.
    stride: u64,
    /// The span that is not finished.
    open: Option<(u64, Span)>,
    /// Everything as one span.
    total: Option<Span>,
    /// Ticks further apart than this, ns, leave a gap; `None` where the interval is not known.
    longest_ns: Option<u64>,
    /// The interval, ns.
    interval_ns: u64,
    gaps: u64,
    /// When the present epoch began, since the start of the capture.
    epoch_ns: u64,
    last_ns: u64,
    marks: VecDeque<Mark>,
    marks_left_out: u64,
}

impl Default for History {
    fn default() -> Self {
        Self::with_spans(SPANS)
    }
}

impl History {
    /// One whose tiers have at most so many spans; at least 2.
    #[must_use]
    pub fn with_spans(most: usize) -> Self {
        Self {
            // Even, so that the next one stays at a multiple of the new stride.
            most: most.max(2).next_multiple_of(2),
            names: Vec::new(),
            recent: VecDeque::new(),
            whole: Vec::new(),
            stride: 1,
            open: None,
            total: None,
            longest_ns: None,
            interval_ns: 0,
            gaps: 0,
            epoch_ns: 0,
            last_ns: 0,
            marks: VecDeque::new(),
            marks_left_out: 0,
        }
    }

    /// The time between ticks from now on, ns. What is further apart than twice of it is a gap.
    pub fn set_interval(&mut self, interval_ns: u64) {
        // The tick that comes next has waited for a part of the interval before as well.
        let waited = self.interval_ns;
        self.interval_ns = interval_ns;
        self.longest_ns = Some(interval_ns.saturating_mul(2).saturating_add(waited));
    }

    fn gap(&mut self, from_ns: u64, t_ns: u64) -> u64 {
        let Some(longest) = self.longest_ns else {
            return 0;
        };
        self.longest_ns = Some(self.interval_ns.saturating_mul(2));
        let apart = t_ns.saturating_sub(from_ns);
        if apart <= longest {
            return 0;
        }
        self.gaps += 1;
        apart
    }

    /// A new program begins, so long after the start of the capture. Times of ticks count from there.
    pub fn exec(&mut self, at_ns: u64, comm: &Foreign) {
        self.epoch_ns = at_ns;
        self.last_ns = self.last_ns.max(at_ns);
        self.mark(Mark {
            t_ns: at_ns,
            kind: MarkKind::Exec(comm.clone()),
        });
    }

    fn mark(&mut self, mark: Mark) {
        if self.marks.len() == MARKS {
            self.marks.pop_front();
            self.marks_left_out += 1;
        }
        self.marks.push_back(mark);
    }

    /// Takes the next tick in.
    pub fn note(&mut self, tick: &Tick) {
        let t_ns = self.epoch_ns.saturating_add(tick.t_ns);
        let mut causes = Vec::with_capacity(tick.causes.len());
        for cause in &tick.causes {
            let moved = Moved {
                name: self.name(cause),
                rss_delta_bytes: cause.rss_delta_bytes,
                swap_delta_bytes: cause.swap_delta_bytes,
                calls: cause.calls,
                requested_bytes: cause.requested_bytes,
            };
            add(&mut causes, moved);
        }
        let span = Span {
            from_ns: self.last_ns,
            t_ns,
            ticks: 1,
            gap_ns: self.gap(self.last_ns, t_ns),
            rss_bytes: tick.rss_bytes,
            rss_lowest_bytes: tick.rss_bytes,
            rss_highest_bytes: tick.rss_bytes,
            anon_bytes: tick.anon_bytes,
            file_bytes: tick.file_bytes,
            shmem_bytes: tick.shmem_bytes,
            swap_bytes: tick.swap_bytes,
            vm_bytes: tick.vm_bytes,
            lazyfree_bytes: tick.lazyfree_bytes,
            lazyfree_t_ns: tick.lazyfree_bytes.map(|_| t_ns),
            rss_less_lazyfree_bytes: tick
                .lazyfree_bytes
                .map(|bytes| tick.rss_bytes.saturating_sub_unsigned(bytes)),
            anon_huge_bytes: tick.anon_huge_bytes,
            faults: tick.faults,
            go: tick.go,
            cgroup: tick.cgroup,
            causes,
        };
        self.push(span);
    }

    fn push(&mut self, span: Span) {
        self.last_ns = span.t_ns;
        match &mut self.total {
            Some(total) => total.join(&span),
            total @ None => *total = Some(span.clone()),
        }
        if self.recent.len() == self.most {
            self.recent.pop_front();
        }
        self.recent.push_back(span.clone());
        let parts = match &mut self.open {
            Some((parts, open)) => {
                open.join(&span);
                *parts += 1;
                *parts
            }
            open @ None => {
                *open = Some((1, span));
                1
            }
        };
        if parts >= self.stride
            && let Some((_, finished)) = self.open.take()
        {
            if self.whole.len() == self.most {
                halve(&mut self.whole);
                self.stride = self.stride.saturating_mul(2);
                self.open = Some((parts, finished));
            } else {
                self.whole.push(finished);
            }
        }
    }

    /// Takes in what came after an exec, as if its ticks had been noted here. `later` begins so long after the start of the capture.
    pub fn append(&mut self, later: &Self, at_ns: u64, comm: &Foreign) {
        self.exec(at_ns, comm);
        for mark in &later.marks {
            self.mark(Mark {
                t_ns: at_ns.saturating_add(mark.t_ns),
                kind: mark.kind.clone(),
            });
        }
        self.marks_left_out = self.marks_left_out.saturating_add(later.marks_left_out);
        let places: Vec<u16> = later
            .names
            .iter()
            .map(|name| self.place(name.clone()))
            .collect();
        self.gaps = self.gaps.saturating_add(later.gaps);
        for span in later.all() {
            let mut span = span.clone();
            span.lazyfree_t_ns = span.lazyfree_t_ns.map(|t_ns| at_ns.saturating_add(t_ns));
            span.from_ns = at_ns.saturating_add(span.from_ns);
            span.t_ns = at_ns.saturating_add(span.t_ns);
            let causes = std::mem::take(&mut span.causes);
            for mut moved in causes {
                moved.name = places
                    .get(usize::from(moved.name))
                    .copied()
                    .unwrap_or_default();
                add(&mut span.causes, moved);
            }
            self.push(span);
        }
    }

    fn name(&mut self, cause: &TickCause) -> u16 {
        let known = self.names.iter().position(|name| {
            name.cause == cause.cause && name.advice == cause.advice && name.task == cause.task
        });
        match known.and_then(|place| u16::try_from(place).ok()) {
            Some(place) => place,
            None => self.place(CauseName {
                cause: cause.cause,
                advice: cause.advice.clone(),
                task: cause.task.clone(),
            }),
        }
    }

    fn place(&mut self, name: CauseName) -> u16 {
        let place = self.names.iter().position(|known| *known == name);
        let place = place.unwrap_or_else(|| {
            if self.names.len() < NAMES {
                self.names.push(name);
            } else if self.names.len() == NAMES {
                self.names.push(CauseName {
                    cause: Cause::OtherProcess,
                    advice: None,
                    task: Some("everything else".into()),
                });
            }
            self.names.len() - 1
        });
        u16::try_from(place).unwrap_or_default()
    }

    /// The finest spans that there are of the whole capture.
    fn all(&self) -> impl Iterator<Item = &Span> {
        let whole = self
            .whole
            .iter()
            .chain(self.open.iter().map(|(_, open)| open));
        let is_whole = self.recent_is_whole();
        let recent = self.recent.iter().filter(move |_| is_whole);
        recent.chain(whole.filter(move |_| !is_whole))
    }

    fn recent_is_whole(&self) -> bool {
        self.recent
            .iter()
            .fold(0, |sum: u64, span| sum + span.ticks)
            == self.ticks()
    }

    /// The spans that reach into a time, oldest first, not more than `most`, as fine as can be had. Together they are whole: what
    /// they moved is what was moved in that time, with what else is in the first and the last of them.
    #[must_use]
    pub fn spans(&self, from_ns: u64, to_ns: u64, most: usize) -> Vec<Span> {
        let inside = |span: &&Span| span.t_ns >= from_ns && span.from_ns <= to_ns;
        let found: Vec<&Span> = self.finest(from_ns).filter(inside).collect();
        let together = found.len().div_ceil(most.max(1)).max(1);
        found
            .chunks(together)
            .filter_map(|chunk| {
                let (first, rest) = chunk.split_first()?;
                let mut span = (*first).clone();
                for next in rest {
                    span.join(next);
                }
                Some(span)
            })
            .collect()
    }

    /// What was moved in a time, and the last that is known of it, as one span; with what else is in the first and the last span
    /// that it is made of. Of ticks that are kept as they are, what the ticks after `from_ns`, up to `to_ns`, brought.
    #[must_use]
    pub fn sum(&self, from_ns: u64, to_ns: u64) -> Option<Span> {
        let inside = |span: &&Span| {
            (span.t_ns > from_ns && span.from_ns < to_ns)
                || (span.from_ns == span.t_ns && (from_ns..=to_ns).contains(&span.t_ns))
        };
        let mut found = self.finest(from_ns).filter(inside);
        let mut sum = found.next()?.clone();
        for next in found {
            sum.join(next);
        }
        Some(sum)
    }

    /// The finest spans that there are from a time on, and older ones.
    fn finest(&self, from_ns: u64) -> impl Iterator<Item = &Span> {
        let is_recent = self
            .recent
            .front()
            .is_some_and(|first| first.from_ns <= from_ns);
        let recent = self.recent.iter().filter(move |_| is_recent);
        recent.chain(self.all().filter(move |_| !is_recent))
    }

    /// The spans that ended after `t_ns`, as they came in; for who has seen everything up to there. None of what is too long ago.
    #[must_use]
    pub fn since(&self, t_ns: u64) -> Vec<Span> {
        let newer = self.recent.iter().filter(|span| span.t_ns > t_ns);
        newer.cloned().collect()
    }

    /// The newest span.
    #[must_use]
    pub fn last(&self) -> Option<&Span> {
        self.recent.back()
    }

    /// Since when ticks are kept as they are, ns since the start of the capture.
    #[must_use]
    pub fn recent_from_ns(&self) -> u64 {
        self.recent.front().map_or(0, |span| span.from_ns)
    }

    /// When the last tick was, ns since the start of the capture.
    #[must_use]
    pub const fn last_ns(&self) -> u64 {
        self.last_ns
    }

    /// How many ticks there were.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.total.as_ref().map_or(0, |total| total.ticks)
    }

    /// The whole capture as one span: what all causes moved, and the last that is known of everything.
    #[must_use]
    pub const fn total(&self) -> Option<&Span> {
        self.total.as_ref()
    }

    /// How many gaps there were. How long, [`Self::total`] says.
    #[must_use]
    pub const fn gaps(&self) -> u64 {
        self.gaps
    }

    /// The causes that were seen. A place in it stays a cause's own.
    #[must_use]
    pub fn names(&self) -> &[CauseName] {
        &self.names
    }

    /// What is to be marked, oldest first, and how many older ones are left out.
    pub fn marks(&self) -> (impl Iterator<Item = &Mark>, u64) {
        (self.marks.iter(), self.marks_left_out)
    }
}

/// Each two become one.
fn halve(spans: &mut Vec<Span>) {
    let halved = spans
        .chunks(2)
        .filter_map(|pair| {
            let (first, rest) = pair.split_first()?;
            let mut span = first.clone();
            for next in rest {
                span.join(next);
            }
            Some(span)
        })
        .collect();
    *spans = halved;
}

impl Digest for History {
    fn note(&mut self, tick: &Tick) {
        Self::note(self, tick);
    }
}
