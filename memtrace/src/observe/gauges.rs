//! What is looked at beside the ledger: what runs in the process, Go's own figures, its cgroup, its mappings.

use std::time::Duration;

use super::{
    Cgroup, CgroupError, MappingsFile,
    inspector::{Inspector, LONGEST, Look, LookError, Message, Next, PROMPT, Task},
};
use crate::{
    model::{CgroupFigures, CgroupInfo, GoFigures, MappingGroup, Missing, RuntimeInfo},
    proc::ProcDir,
    process::Target,
};

/// What `missing` calls Go's figures.
const GO: &str = "go";
/// And the process itself, if nothing is known of it.
const RUNTIME: &str = "runtime";

/// The age at which a look is late: the end of a capture waits for it no longer, and the executable is looked at alone.
const LATE: Duration = Duration::from_millis(500);
/// How long the first line of an events file waits for the first look.
const FIRST: Duration = Duration::from_millis(250);

/// The gauges of one process that are read beside the ledger. Files of `/proc` are opened before privileges are dropped; the target's own
/// files and memory are looked into afterwards, by processes of their own, for which nothing here waits.
pub struct Gauges {
    /// `--no-runtime`.
    blind: bool,
    /// Its error, and that of `smaps`, is only ever shown.
    process: Result<ProcDir, String>,
    inspector: Result<Inspector, LookError>,
    runtime: Option<RuntimeInfo>,
    go: Result<GoHeap, LookError>,
    cgroup: Result<Cgroup, CgroupError>,
    cgroup_start: Option<CgroupFigures>,
    smaps: Result<MappingsFile, String>,
    /// Why Go's figures could not be read, as long as they never could.
    unread: Option<LookError>,
    /// They could.
    has_read: bool,
    /// What the present tick has read: the next one has its own.
    read: Read,
    /// A look that goes on.
    look: Option<Look>,
    /// A look at the executable alone, beside one that is late.
    shallow: Option<Look>,
    /// There was one at this program.
    was_late: bool,
    /// Why a look at this program has found nothing.
    failed: Option<LookError>,
    /// A look that was given up, and whose process has not ended. One that hangs is enough.
    stuck: Option<u32>,
    /// Something was seen of which the reader of the journal does not know.
    has_news: bool,
}

/// What one tick has read.
#[derive(Default)]
struct Read {
    go: Option<GoFigures>,
    cgroup: Option<CgroupFigures>,
}

/// The way to a Go program's figures.
struct GoHeap {
    look: Look,
    /// How they are found.
    source: String,
}

impl Gauges {
    /// Opens the target's files in `/proc`. `blind` leaves the target's own files and memory alone.
    pub fn open(target: &Target, blind: bool) -> Self {
        let pid = target.pid;
        let process = ProcDir::open(pid).map_err(|error| error.to_string());
        // Its id was nobody else's when its directory was opened.
        let process = process.and_then(|process| match target.is_alive() {
            true => Ok(process),
            false => Err("the process has ended".to_owned()),
        });
        let mut gauges = Self {
            blind,
            process,
            inspector: Err(LookError::NotStarted),
            runtime: None,
            go: Err(LookError::NotStarted),
            cgroup: Cgroup::open(pid),
            cgroup_start: None,
            smaps: Err(String::new()),
            unread: None,
            has_read: false,
            read: Read::default(),
            look: None,
            shallow: None,
            was_late: false,
            failed: None,
            stuck: None,
            has_news: false,
        };
        gauges.begin();
        gauges
    }

    /// Starts to look into the target. To be called once privileges are dropped, and before memtrace has other threads.
    pub fn start(&mut self) {
        if !self.blind {
            self.inspector = Inspector::start().map_err(LookError::from);
            self.look();
        }
    }

    /// Forgets the program that was there, and opens the files of the present one.
    fn begin(&mut self) {
        self.runtime = None;
        self.go = Err(LookError::NotStarted);
        self.unread = None;
        self.has_read = false;
        self.read = Read::default();
        self.failed = None;
        self.was_late = false;
        for look in [self.shallow.take(), self.look.take()]
            .into_iter()
            .flatten()
        {
            self.give_up(look);
        }
        let process = self.process.as_ref().map_err(Clone::clone);
        self.smaps =
            process.and_then(|dir| MappingsFile::open(dir).map_err(|error| error.to_string()));
        self.cgroup_start = self.cgroup.as_mut().ok().map(Cgroup::figures);
    }

    fn give_up(&mut self, look: Look) {
        if let Ok(inspector) = &self.inspector {
            self.stuck = Some(look.number());
            inspector.end(look);
        }
    }

    /// Starts a look, unless one goes on, or one at this program has failed.
    fn look(&mut self) {
        let (Ok(inspector), Ok(process)) = (&mut self.inspector, &self.process) else {
            return;
        };
        if let Some(stuck) = self.stuck
            && inspector.why(stuck, PROMPT).is_some()
        {
            self.stuck = None;
        }
        if self.look.is_some() || self.failed.is_some() || self.stuck.is_some() {
            return;
        }
        let task = Task {
            wants_go: self.go.is_err(),
            is_shallow: false,
        };
        match inspector.look(process, task) {
            Ok(look) => self.look = Some(look),
            Err(error) => self.failed = Some(error.into()),
        }
    }

    /// Looks at the executable alone, once, if a look at everything is late and nothing is known.
    fn look_beside(&mut self) {
        let is_late = self
            .look
            .as_ref()
            .is_some_and(|look| look.elapsed() >= LATE);
        if !is_late || self.was_late || self.runtime.is_some() {
            return;
        }
        self.was_late = true;
        if let (Ok(inspector), Ok(process)) = (&mut self.inspector, &self.process) {
            let task = Task {
                wants_go: true,
                is_shallow: true,
            };
            self.shallow = inspector.look(process, task).ok();
        }
    }

    /// Begins anew with the program that an exec has started.
    pub fn renew(&mut self) {
        self.begin();
        self.look();
    }

    /// Looks again: libraries are mapped after the start. What a look finds comes with a later [`Gauges::collect`].
    pub fn refresh(&mut self) {
        self.collect();
        self.look();
    }

    /// Waits a moment for the first look, for what has to be written before anything else.
    pub fn wait_for_first(&mut self) {
        self.collect_within(FIRST);
    }

    /// Looks for the last time, and waits a moment for what it finds.
    pub fn refresh_at_end(&mut self) {
        self.refresh();
        if let Some(look) = &self.look {
            let left = LATE.saturating_sub(look.elapsed());
            self.collect_within(left);
        }
        self.look_beside();
        if let Some(look) = &self.shallow {
            let left = LATE.saturating_sub(look.elapsed());
            self.collect_within(left);
        }
    }

    /// Takes what a look has found, and waits for nothing.
    pub fn collect(&mut self) {
        self.collect_within(Duration::ZERO);
        if self.runtime.is_none() {
            self.look();
        }
        self.look_beside();
    }

    fn collect_within(&mut self, at_most: Duration) {
        if let Some(look) = self.look.take() {
            self.look = self.take(look, at_most);
        }
        if let Some(look) = self.shallow.take() {
            self.shallow = self.take(look, at_most);
        }
        // What hangs is told by the one that looks at everything.
        if self.look.is_none()
            && let Some(look) = self.shallow.take()
        {
            self.give_up(look);
        }
    }

    /// Takes what a look has found within `at_most`; returns the look if it goes on.
    fn take(&mut self, mut look: Look, at_most: Duration) -> Option<Look> {
        match look.next(at_most) {
            Next::Message(Message::Found { runtime, go }) => {
                self.runtime = Some(*runtime);
                self.has_news = true;
                match go {
                    Some(Ok(source)) => self.go = Ok(GoHeap { look, source }),
                    Some(Err(why)) => self.go = Err(LookError::Refused(why)),
                    None => {}
                }
            }
            // Of a process that has ended, what was known stays.
            Next::Message(Message::Gone | Message::Figures(_)) => {
                self.fail(LookError::Gone);
            }
            Next::NotYet if look.elapsed() < LONGEST => return Some(look),
            Next::NotYet => {
                self.give_up(look);
                self.fail(LookError::TooLong);
            }
            Next::Over => {
                let why = self.why(look.number());
                self.fail(why);
            }
        }
        None
    }

    fn fail(&mut self, why: LookError) {
        self.failed = Some(why);
        self.has_news = true;
    }

    fn why(&mut self, number: u32) -> LookError {
        let inspector = self.inspector.as_mut().ok();
        let why = inspector.and_then(|inspector| inspector.why(number, PROMPT));
        why.unwrap_or(LookError::Over)
    }

    /// Returns true if something was seen since this was asked last.
    pub fn has_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Returns why nothing is known of the process yet, or no more than before.
    fn unknown(&self) -> Option<String> {
        if let Err(why) = &self.inspector {
            return Some(format!("nothing looks into it: {why}"));
        }
        if let Err(why) = &self.process {
            return Some(why.clone());
        }
        if let Some(why) = &self.failed {
            return Some(format!(
                "looking at its executable and libraries failed: {why}"
            ));
        }
        if self.stuck.is_some() {
            return Some(
                "it was not looked at: the file system of the program before it has not answered"
                    .to_owned(),
            );
        }
        let look = self.look.as_ref()?;
        Some(format!(
            "its executable and libraries had not been read after {:.1} s",
            look.elapsed().as_secs_f64()
        ))
    }

    /// Returns what runs in the process; `None` with `--no-runtime`.
    pub fn runtime(&self) -> Option<RuntimeInfo> {
        if self.blind {
            return None;
        }
        let Some(mut runtime) = self.runtime.clone() else {
            return Some(RuntimeInfo {
                missing: vec![Missing::new(RUNTIME, self.unknown()?)],
                ..RuntimeInfo::default()
            });
        };
        if runtime.name.as_ref().is_some_and(|it| *it == "go") {
            match &self.go {
                Ok(heap) => {
                    let how = format!("Go's figures are found by {}", heap.source);
                    runtime.evidence.push(how.into());
                }
                Err(why) => runtime.missing.push(Missing::new(GO, why.to_string())),
            }
            if let Some(why) = &self.unread {
                runtime.missing.push(Missing::new(GO, why.to_string()));
            }
        }
        Some(runtime)
    }

    /// Returns Go's figures of this tick; `None` if there are none, or they were caught in mid-change.
    pub fn go(&mut self) -> Option<GoFigures> {
        self.read.go = self.read_go();
        self.read.go
    }

    fn read_go(&mut self) -> Option<GoFigures> {
        let heap = self.go.as_mut().ok()?;
        match heap.look.figures() {
            Ok(figures) => {
                self.unread = None;
                self.has_read = true;
                Some(figures)
            }
            Err(why) => {
                self.unread = (!self.has_read).then_some(why);
                None
            }
        }
    }

    /// The cgroup's figures, where it is time for them. `now` is since any fixed moment.
    pub fn cgroup(&mut self, now: Duration) -> Option<CgroupFigures> {
        self.read.cgroup = self.cgroup.as_mut().ok()?.at_tick(now);
        self.read.cgroup
    }

    /// Returns what is known of the cgroup while the capture goes on, or why it is not; `figures` are the last tick's, if it read any.
    ///
    /// # Errors
    ///
    /// If there is no memory cgroup to read: why, in the words of the capture file.
    pub fn cgroup_so_far(&self, figures: Option<CgroupFigures>) -> Result<CgroupInfo, String> {
        let cgroup = self.cgroup.as_ref().map_err(ToString::to_string)?;
        Ok(CgroupInfo {
            start: self.cgroup_start,
            end: figures,
            ..cgroup.info()
        })
    }

    /// To be called before the tick that closes an epoch: what an earlier one has read is of another moment.
    pub fn forget(&mut self) {
        self.read = Read::default();
    }

    /// Returns the last readings of an epoch, of the moment of its closing tick: what that tick has read is not read again. If the process is
    /// `gone`, nothing more can be read of it; `walkable` says whether its mappings may be walked.
    pub fn close(&mut self, gone: bool, walkable: bool) -> ClosingGauges {
        let cgroup = self.closing_cgroup();
        if gone {
            return ClosingGauges {
                cgroup,
                mappings: None,
                go: None,
            };
        }
        let is_go = self.go.is_ok();
        let mappings = walkable.then(|| {
            let smaps = self.smaps.as_mut().map_err(|why| why.clone())?;
            match smaps.read(is_go) {
                Ok((mappings, _)) => Ok(mappings.groups),
                Err(error) => Err(error.to_string()),
            }
        });
        ClosingGauges {
            cgroup,
            mappings,
            // The tick may have caught them in mid-change.
            go: self.read.go.or_else(|| self.read_go()),
        }
    }

    fn closing_cgroup(&mut self) -> Result<CgroupInfo, String> {
        let cgroup = self.cgroup.as_mut().map_err(|why| why.to_string())?;
        // It reads them at some ticks only.
        let end = self.read.cgroup.unwrap_or_else(|| cgroup.figures());
        Ok(CgroupInfo {
            start: self.cgroup_start,
            end: Some(end),
            ..cgroup.info()
        })
    }
}

/// The last readings of an epoch. What is missing has its reason in the words of the capture file.
#[derive(Clone, Debug)]
pub struct ClosingGauges {
    /// The memory cgroup, or why it could not be read.
    pub cgroup: Result<CgroupInfo, String>,
    /// The mappings by kind, or why they could not be read; `None` if the process may not be walked, or is gone.
    pub mappings: Option<Result<Vec<MappingGroup>, String>>,
    /// Go's figures.
    pub go: Option<GoFigures>,
}
