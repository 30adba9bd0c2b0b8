//! What is looked at beside the ledger: what runs in the process, Go's own figures, its cgroup, its mappings.

use std::{fs::File, time::Duration};

use procfs::process::Process;

use crate::{
    runtime::{Process as _, go, inspect},
    sample::{Cgroup, MappingsFile},
    target::LiveProcess,
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
}

/// Where a Go program's figures are, and the memory that they are in.
struct GoHeap {
    reader: go::Reader,
    memory: File,
}

impl Beside {
    /// Opens what there is to look at.
    pub fn open(pid: u32, blind: bool) -> Self {
        let mut beside = Self {
            pid,
            blind,
            runtime: None,
            go: Err(String::new()),
            cgroup: Cgroup::open(pid),
            cgroup_start: None,
            smaps: Err(String::new()),
        };
        beside.renew();
        beside
    }

    /// To be called where an exec has replaced the program.
    pub fn renew(&mut self) {
        self.runtime = None;
        self.go = Err(String::new());
        self.smaps = open_smaps(self.pid);
        self.cgroup_start = self.cgroup.as_mut().ok().map(Cgroup::figures);
        self.refresh();
    }

    /// Looks again: libraries are mapped after the start. Of a process that has ended, what was known stays.
    pub fn refresh(&mut self) {
        if self.blind {
            return;
        }
        let Ok(process) = LiveProcess::open(self.pid) else {
            return;
        };
        if process.maps().is_ok_and(|maps| maps.is_empty()) {
            return;
        }
        let mut runtime = inspect(&process);
        if runtime.name.as_deref() == Some("go") {
            if self.go.is_err() {
                self.go = go::Reader::find(&process).and_then(|reader| {
                    let memory = process.open_memory()?;
                    Ok(GoHeap { reader, memory })
                });
            }
            match &self.go {
                Ok(go) => runtime
                    .evidence
                    .push(format!("Go's figures are found by {}", go.reader.source())),
                Err(why) => runtime.missing.push(Missing::new(GO, why.as_str())),
            }
        }
        self.runtime = Some(runtime);
    }
}

impl Beside {
    /// What runs in the process.
    pub fn runtime(&self) -> Option<RuntimeInfo> {
        self.runtime.clone()
    }

    /// Whether Go's figures can be read.
    pub const fn has_go(&self) -> bool {
        self.go.is_ok()
    }

    /// Go's figures of this moment; `None` where it is none, or they were caught in mid-change.
    pub fn go(&self) -> Option<GoFigures> {
        let heap = self.go.as_ref().ok()?;
        heap.reader.read(&heap.memory).ok()
    }

    /// The cgroup's figures, where it is time for them. `now` is since any fixed moment.
    pub fn cgroup(&mut self, now: Duration) -> Option<CgroupFigures> {
        self.cgroup.as_mut().ok()?.at_tick(now)
    }

    /// What a summary says beside the ledger. Of a process that is `gone`, there is nothing more to look at.
    pub fn close(&mut self, summary: &mut Summary, gone: bool, smaps: bool) {
        summary.cgroup = self.cgroup_info();
        if gone {
            return;
        }
        if smaps {
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
