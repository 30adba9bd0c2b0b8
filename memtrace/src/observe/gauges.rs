//! What is looked at beside the ledger: what runs in the process, Go's own figures, its cgroup, its mappings.

use std::{fs::File, time::Duration};

use procfs::process::Process;

use super::aside::{Aside, Outcome};
use crate::{
    inspect::{LiveProcess, Process as _, go, inspect},
    model::{CgroupFigures, CgroupInfo, GoFigures, MappingGroup, Missing, RuntimeInfo},
    observe::{Cgroup, MappingsFile},
    process::Target,
};

/// What `missing` calls Go's figures.
const GO: &str = "go";
/// And the process itself, where nothing is known of it.
const RUNTIME: &str = "runtime";

/// How long a tick waits for a look at the target's files, which takes some 10 ms. What takes longer is there at a later tick.
const TICK_WAITS: Duration = Duration::from_millis(200);
/// The same of the last look, for which there is no later tick.
const CLOSING_WAITS: Duration = Duration::from_secs(1);

/// Looks at one process. What it opens, it opens before privileges are given up.
pub struct Gauges {
    pid: u32,
    /// `--no-runtime`.
    blind: bool,
    runtime: Option<RuntimeInfo>,
    go: Result<GoHeap, String>,
    cgroup: Result<Cgroup, String>,
    cgroup_start: Option<CgroupFigures>,
    smaps: Result<MappingsFile, String>,
    /// Why Go's figures could not be read, as long as they never could.
    unread: Option<String>,
    /// They could.
    has_read: bool,
    /// What the present tick has read: the next one has its own.
    read: Read,
    /// A look that is on its way: at files of a file system that may hang.
    look: Option<Aside<Option<Seen>>>,
    /// One of a program that has been replaced since, and which hung.
    stuck: Option<Aside<Option<Seen>>>,
    /// Something was seen of which the reader of the journal does not know.
    has_news: bool,
}

/// What one tick has read.
#[derive(Default)]
struct Read {
    go: Option<GoFigures>,
    cgroup: Option<CgroupFigures>,
}

/// What one look at the process has found.
struct Seen {
    runtime: RuntimeInfo,
    /// Of a Go program, where they were looked for.
    go: Option<Result<GoHeap, String>>,
}

impl Seen {
    /// Looks at the executable, the libraries, and what the process was started with: as long as their file system takes. `None`
    /// where the process has no memory any more, so that nothing was seen.
    fn look(process: &LiveProcess, wants_go: bool) -> Option<Self> {
        let runtime = inspect(process);
        let go = (wants_go && runtime.name.as_deref() == Some("go")).then(|| {
            let reader = go::Reader::find(process)?;
            let memory = process.open_memory()?;
            Ok(GoHeap { reader, memory })
        });
        let has_memory = process.maps().is_ok_and(|maps| !maps.is_empty());
        has_memory.then_some(Self { runtime, go })
    }
}

/// Where a Go program's figures are, and the memory that they are in.
struct GoHeap {
    reader: go::Reader,
    memory: File,
}

impl Gauges {
    /// Opens what there is to look at. Its files are looked at with the privileges that are still there, unless their file system may
    /// hang: a thread that waits there with privileges could not be made to give them up, so such files are read afterwards.
    pub fn open(target: &Target, blind: bool) -> Self {
        let pid = target.pid;
        let mut gauges = Self {
            pid,
            blind,
            runtime: None,
            go: Err(String::new()),
            cgroup: Cgroup::open(pid),
            cgroup_start: None,
            smaps: Err(String::new()),
            unread: None,
            has_read: false,
            read: Read::default(),
            look: None,
            stuck: None,
            has_news: false,
        };
        gauges.begin();
        if let Some(process) = gauges.process(target)
            && !process.is_served()
        {
            let seen = Seen::look(&process, true);
            gauges.take(seen);
        }
        gauges
    }

    /// Forgets the program that was there, and opens what there is of the present one.
    fn begin(&mut self) {
        self.runtime = None;
        self.go = Err(String::new());
        self.unread = None;
        self.has_read = false;
        self.read = Read::default();
        if let Some(look) = self.look.take() {
            self.stuck = Some(look);
        }
        self.smaps = open_smaps(self.pid);
        self.cgroup_start = self.cgroup.as_mut().ok().map(Cgroup::figures);
    }

    /// The process, where it is to be looked at. It is `target`, whose id was nobody else's when its directory was opened.
    fn process(&self, target: &Target) -> Option<LiveProcess> {
        if self.blind {
            return None;
        }
        let process = LiveProcess::open(self.pid).ok()?;
        target.is_alive().then_some(process)
    }

    fn take(&mut self, seen: Option<Seen>) {
        // Of a process that has ended, what was known stays.
        let Some(seen) = seen else {
            return;
        };
        if let Some(go) = seen.go {
            self.go = go;
        }
        self.runtime = Some(seen.runtime);
    }

    /// To be called where an exec has replaced the program. `target` holds the process.
    pub fn renew(&mut self, target: &Target) {
        self.begin();
        self.refresh(target);
    }

    /// Looks again: libraries are mapped after the start. What takes long comes at a later tick.
    pub fn refresh(&mut self, target: &Target) {
        self.look_for(target, TICK_WAITS);
    }

    /// Looks for the last time.
    pub fn refresh_at_end(&mut self, target: &Target) {
        self.look_for(target, CLOSING_WAITS);
    }

    fn look_for(&mut self, target: &Target, at_most: Duration) {
        // One that hangs is enough, also where the target replaces its program again and again.
        if self.stuck.as_ref().is_some_and(|stuck| !stuck.has_ended()) {
            return;
        }
        self.stuck = None;
        if self.look.is_none() {
            let Some(process) = self.process(target) else {
                return;
            };
            let wants_go = self.go.is_err();
            // Without a thread there is no look, which `runtime` says.
            self.look = Aside::start(move || Seen::look(&process, wants_go)).ok();
        }
        self.collect_within(at_most);
    }

    /// Takes what a look has found that took longer than a tick. Waits for nothing.
    pub fn collect(&mut self) {
        self.collect_within(Duration::ZERO);
    }

    fn collect_within(&mut self, at_most: Duration) {
        let Some(look) = &self.look else {
            return;
        };
        match look.wait(at_most) {
            Outcome::NotYet => return,
            Outcome::Done(seen) => {
                self.take(seen);
                self.has_news = true;
            }
            Outcome::Lost => {}
        }
        self.look = None;
    }

    /// Whether something was seen since this was asked last.
    pub fn has_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Why nothing is known of the process yet.
    fn late(&self) -> Option<String> {
        if let Some(look) = &self.look {
            return Some(format!(
                "its executable and libraries had not been read after {:.1} s: does their file system answer? Until it does, memtrace may not be able to end",
                look.elapsed().as_secs_f64()
            ));
        }
        let stuck = self.stuck.as_ref().filter(|stuck| !stuck.has_ended())?;
        Some(format!(
            "it was not looked at: the file system of the program before it has not answered for {:.1} s",
            stuck.elapsed().as_secs_f64()
        ))
    }

    /// What runs in the process.
    pub fn runtime(&self) -> Option<RuntimeInfo> {
        let Some(mut runtime) = self.runtime.clone() else {
            return Some(RuntimeInfo {
                missing: vec![Missing::new(RUNTIME, self.late()?)],
                ..RuntimeInfo::default()
            });
        };
        if runtime.name.as_deref() == Some("go") {
            match &self.go {
                Ok(heap) => {
                    let how = format!("Go's figures are found by {}", heap.reader.source());
                    runtime.evidence.push(how);
                }
                Err(why) => runtime.missing.push(Missing::new(GO, why.as_str())),
            }
            if let Some(why) = &self.unread {
                runtime.missing.push(Missing::new(GO, why.as_str()));
            }
        }
        Some(runtime)
    }

    /// Whether Go's figures can be read.
    pub const fn has_go(&self) -> bool {
        self.go.is_ok()
    }

    /// Go's figures of this tick; `None` where it is none, or they were caught in mid-change.
    pub fn go(&mut self) -> Option<GoFigures> {
        self.read.go = self.read_go();
        self.read.go
    }

    fn read_go(&mut self) -> Option<GoFigures> {
        let heap = self.go.as_ref().ok()?;
        match heap.reader.read(&heap.memory) {
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
    /// If there is no memory cgroup to read.
    pub fn cgroup_so_far(&self, figures: Option<CgroupFigures>) -> Result<CgroupInfo, String> {
        let cgroup = self.cgroup.as_ref().map_err(Clone::clone)?;
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
            Ok(smaps.read(is_go)?.0.groups)
        });
        ClosingGauges {
            cgroup,
            mappings,
            // The tick may have caught them in mid-change.
            go: self.read.go.or_else(|| self.read_go()),
        }
    }

    fn closing_cgroup(&mut self) -> Result<CgroupInfo, String> {
        let cgroup = self.cgroup.as_mut().map_err(|why| why.clone())?;
        // It reads them at some ticks only.
        let end = self.read.cgroup.unwrap_or_else(|| cgroup.figures());
        Ok(CgroupInfo {
            start: self.cgroup_start,
            end: Some(end),
            ..cgroup.info()
        })
    }
}

/// The last readings of an epoch.
#[derive(Clone, Debug)]
pub struct ClosingGauges {
    /// The memory cgroup, or why it could not be read.
    pub cgroup: Result<CgroupInfo, String>,
    /// The mappings by kind, or why they could not be read; `None` if the process may not be walked, or is gone.
    pub mappings: Option<Result<Vec<MappingGroup>, String>>,
    /// Go's figures.
    pub go: Option<GoFigures>,
}

fn open_smaps(pid: u32) -> Result<MappingsFile, String> {
    let process = i32::try_from(pid)
        .ok()
        .and_then(|pid| Process::new(pid).ok())
        .ok_or("the process has ended")?;
    MappingsFile::open(&process)
}
