//! All causes that a capture knows: its ticks name those only in which something happened.

use crate::text::Foreign;
use crate::{
    model::{CaptureInfo, Cause, Mode, Tick, TickCause},
    timeline::Digest,
};

/// Most causes of a capture. The kernel side has some hundred cells; a file may hold any number, and each is a column.
const MOST: usize = 4096;

/// A cause, with its advice or task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CauseKey {
    /// The cause.
    pub cause: Cause,
    /// The advice, by the kernel's name.
    pub advice: Option<Foreign>,
    /// The other task, as it calls itself.
    pub task: Option<Foreign>,
}

impl CauseKey {
    fn of(cause: &TickCause) -> Self {
        Self {
            cause: cause.cause,
            advice: cause.advice.clone(),
            task: cause.task.clone(),
        }
    }

    fn compared(&self, cause: &TickCause) -> std::cmp::Ordering {
        let own = (self.cause, &self.advice, &self.task);
        own.cmp(&(cause.cause, &cause.advice, &cause.task))
    }

    /// Its name: `fault`, `madvise_MADV_FREE`, `reclaim_kswapd0`. May hold anything that a task calls itself.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = self.cause.name().to_owned();
        for part in [&self.advice, &self.task].into_iter().flatten() {
            name.push('_');
            name.push_str(part.raw());
        }
        name
    }

    /// What it did in a tick that does not name it: nothing, where that can be known.
    #[must_use]
    pub fn quiet(&self, epoch: &CaptureInfo) -> Quiet {
        let is_hooked = epoch
            .hooks
            .iter()
            .any(|hook| hook.name == self.cause.name() && hook.kind.is_some());
        Quiet {
            calls: is_hooked.then_some(0),
            bytes: (epoch.mode == Mode::Exact).then_some(0),
        }
    }
}

/// What is known of a cause in which nothing happened: 0, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// Calls, and the bytes that they asked for.
    pub calls: Option<u64>,
    /// Bytes that it moved.
    pub bytes: Option<i64>,
}

/// The causes of a capture, in a fixed order: that of the table, then by advice and by task.
#[derive(Clone, Debug, Default)]
pub struct Causes {
    keys: Vec<CauseKey>,
    /// There were more than can be told apart.
    overflowed: bool,
}

impl Causes {
    /// Puts those of several epochs together.
    #[must_use]
    pub fn union(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut union = Self::default();
        for part in parts {
            union.keys.extend(part.keys);
            union.overflowed |= part.overflowed;
        }
        union.keys.sort();
        union.keys.dedup();
        union.overflowed |= union.keys.len() > MOST;
        union.keys.truncate(MOST);
        union
    }

    /// All of them.
    ///
    /// # Errors
    ///
    /// Where there are more than a table can have; a capture of memtrace has not.
    pub fn all(&self) -> Result<&[CauseKey], TooMany> {
        if self.overflowed {
            return Err(TooMany);
        }
        Ok(&self.keys)
    }

    /// The place of a tick's cause among [`Causes::all`].
    #[must_use]
    pub fn place(&self, cause: &TickCause) -> Option<usize> {
        self.keys.binary_search_by(|key| key.compared(cause)).ok()
    }
}

impl Digest for Causes {
    fn note(&mut self, tick: &Tick) {
        for cause in &tick.causes {
            if let Err(place) = self.keys.binary_search_by(|key| key.compared(cause)) {
                if self.keys.len() < MOST {
                    self.keys.insert(place, CauseKey::of(cause));
                } else {
                    self.overflowed = true;
                }
            }
        }
    }
}

/// More causes than a table can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it has more than {MOST} different causes, too many for columns; --to jsonl takes any number"
)]
pub struct TooMany;

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(cause: Cause, task: Option<&str>) -> TickCause {
        TickCause {
            cause,
            advice: None,
            task: task.map(str::to_owned).map(Into::into),
            calls: None,
            requested_bytes: None,
            rss_delta_bytes: Some(1),
            swap_delta_bytes: 0,
        }
    }

    fn tick(causes: Vec<TickCause>) -> Tick {
        Tick {
            t_ns: 0,
            rss_bytes: 0,
            anon_bytes: 0,
            file_bytes: 0,
            shmem_bytes: 0,
            swap_bytes: 0,
            vm_bytes: None,
            lazyfree_bytes: None,
            anon_huge_bytes: None,
            unexplained_bytes: None,
            unexplained_bound_bytes: None,
            faults: None,
            causes,
            go: None,
            cgroup: None,
        }
    }

    #[test]
    fn each_is_there_once_in_the_order_of_the_table() {
        let mut first = Causes::default();
        first.note(&tick(vec![
            cause(Cause::Reclaim, Some("kswapd0")),
            cause(Cause::Fault, None),
        ]));
        first.note(&tick(vec![cause(Cause::Fault, None)]));
        let mut second = Causes::default();
        second.note(&tick(vec![
            cause(Cause::Reclaim, None),
            cause(Cause::Fault, None),
        ]));
        let union = Causes::union([first, second]);
        let names: Vec<String> = union.all().unwrap().iter().map(CauseKey::name).collect();
        assert_eq!(names, ["fault", "reclaim", "reclaim_kswapd0"]);
        assert_eq!(union.place(&cause(Cause::Reclaim, None)), Some(1));
        assert_eq!(union.place(&cause(Cause::Exit, None)), None);
    }

    #[test]
    fn more_than_a_table_can_have_are_an_error() {
        let named = |range: std::ops::Range<usize>| {
            let mut causes = Causes::default();
            causes.note(&tick(
                range
                    .map(|number| cause(Cause::OtherProcess, Some(&number.to_string())))
                    .collect(),
            ));
            causes
        };
        assert_eq!(Causes::union([named(0..MOST)]).all().unwrap().len(), MOST);
        assert_eq!(named(0..MOST + 1).all(), Err(TooMany));
        let parts = [named(0..MOST), named(MOST..MOST + 1)];
        assert_eq!(Causes::union(parts).all(), Err(TooMany));
    }
}
