//! What is looked at beside the ledger: what runs in the process, Go's own figures, its cgroup, its mappings.

use std::{fs::File, time::Duration};

use procfs::process::Process;

use crate::{
    runtime::{Process as _, go, inspect},
    sample::{Cgroup, MappingsFile},
    target::{LiveProcess, Target},
    timeline::{CgroupFigures, CgroupInfo, GoFigures, Missing, RuntimeInfo, Summary, bridge},
};

/// What `missing` calls Go's figures.
const GO: &str = "go";

/// Looks at one process. What it opens, it opens before privileges are given up.
pub struct Beside {
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
}

/// Where a Go program's figures are, and the memory that they are in.
struct GoHeap {
    reader: go::Reader,
    memory: File,
}

impl Beside {
    /// Opens what there is to look at.
    pub fn open(target: &Target, blind: bool) -> Self {
        let pid = target.pid;
        let mut beside = Self {
            pid,
            blind,
            runtime: None,
            go: Err(String::new()),
            cgroup: Cgroup::open(pid),
            cgroup_start: None,
            smaps: Err(String::new()),
            unread: None,
            has_read: false,
        };
        beside.renew(target);
        beside
    }

    /// To be called where an exec has replaced the program. `target` holds the process.
    pub fn renew(&mut self, target: &Target) {
        self.runtime = None;
        self.go = Err(String::new());
        self.unread = None;
        self.has_read = false;
        self.smaps = open_smaps(self.pid);
        self.cgroup_start = self.cgroup.as_mut().ok().map(Cgroup::figures);
        self.refresh(target);
    }

    /// Looks again: libraries are mapped after the start. Of a process that has ended, what was known stays.
    pub fn refresh(&mut self, target: &Target) {
        if self.blind {
            return;
        }
        let Ok(process) = LiveProcess::open(self.pid) else {
            return;
        };
        let runtime = inspect(&process);
        let mut found = None;
        if runtime.name.as_deref() == Some("go") && self.go.is_err() {
            found = Some(go::Reader::find(&process).and_then(|reader| {
                let memory = process.open_memory()?;
                Ok(GoHeap { reader, memory })
            }));
        }
        // Of one that has no memory any more, nothing was seen. And while it is there, its id is nobody else's.
        let has_memory = process.maps().is_ok_and(|maps| !maps.is_empty());
        if !has_memory || !target.is_alive() {
            return;
        }
        self.go = found.unwrap_or_else(|| std::mem::replace(&mut self.go, Err(String::new())));
        self.runtime = Some(runtime);
    }

    /// What runs in the process.
    pub fn runtime(&self) -> Option<RuntimeInfo> {
        let mut runtime = self.runtime.clone()?;
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

    /// Go's figures of this moment; `None` where it is none, or they were caught in mid-change.
    pub fn go(&mut self) -> Option<GoFigures> {
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
        self.cgroup.as_mut().ok()?.at_tick(now)
    }

    /// What a summary says of the cgroup while the capture goes on; `figures` are those of the last tick, where it read any.
    pub fn cgroup_so_far(&self, summary: &mut Summary, figures: Option<CgroupFigures>) {
        summary.cgroup_missing = self.cgroup.as_ref().err().cloned();
        summary.cgroup = self.cgroup.as_ref().ok().map(|cgroup| CgroupInfo {
            start: self.cgroup_start,
            end: figures,
            ..cgroup.info()
        });
    }

    /// What a summary says beside the ledger. Of a process that is `gone`, there is nothing more to look at.
    pub fn close(&mut self, summary: &mut Summary, gone: bool, smaps: bool) {
        summary.cgroup = self.cgroup_info();
        summary.cgroup_missing = self.cgroup.as_ref().err().cloned();
        if gone {
            return;
        }
        if !smaps {
            summary.mappings_missing = summary.lazyfree_missing.clone();
        } else {
            let is_go = self.go.is_ok();
            match self
                .smaps
                .as_mut()
                .map_err(|why| why.clone())
                .and_then(|smaps| smaps.read(is_go))
            {
                Ok((mappings, _)) => summary.mappings = Some(mappings.groups),
                Err(why) => summary.mappings_missing = Some(why),
            }
        }
        let go = self.go();
        summary.bridge = bridge(
            summary.end,
            summary.lazyfree_bytes,
            go.as_ref(),
            summary.mappings.as_deref(),
        );
        // What no cause explains is part of RSS at the end, and of none of the kinds.
        let unexplained = summary
            .rss_end_bytes
            .saturating_sub(summary.end.rss_bytes());
        if let Some(rest) = summary.bridge.iter_mut().find(|part| part.part == "rest") {
            rest.bytes = rest.bytes.saturating_add(unexplained);
        }
    }

    fn cgroup_info(&mut self) -> Option<CgroupInfo> {
        let cgroup = self.cgroup.as_mut().ok()?;
        let end = cgroup.figures();
        Some(CgroupInfo {
            start: self.cgroup_start,
            end: Some(end),
            ..cgroup.info()
        })
    }
}

fn open_smaps(pid: u32) -> Result<MappingsFile, String> {
    let process = i32::try_from(pid)
        .ok()
        .and_then(|pid| Process::new(pid).ok())
        .ok_or("the process has ended")?;
    MappingsFile::open(&process)
}
