//! One target, traced: load, attach, read.

use std::{
    io::Read,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, PerCpuValues, RingBuf},
    programs::{BtfTracePoint, FEntry, FExit, Iter, TracePoint},
};
use bytes::Buf;
use memtrace_common::{
    cell::{CALL_SLOTS, CELLS, MEMBERS},
    config::{CONFIG, Config, NONE},
    layout::{
        Control, CpuCells, EPOCH_SLOTS, EpochEnd, ErrnoKey, MAP_BEGUN, MAP_CELLS, MAP_CONTROL,
        MAP_ERRNOS, MAP_EVENTS, MAP_SHARED, MAP_TASKS, Shared, TaskKey,
    },
};

use super::{
    Hook, HookKind, Host, OBJECT, ProbeError,
    btf::Btf,
    hooks::{CALLS, function},
    offsets, tracefs,
};
use crate::ledger::{Errno, Losses, Reading, TaskName};

/// Bytes of the ring buffer for aya-log where it is not used: the smallest that the kernel takes.
const NO_LOG_BYTES: u32 = 4096;

/// What to trace, and how.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Process id of the target.
    pub tgid: u32,
    /// Start at the target's next exec, not at once.
    pub wait_for_exec: bool,
    /// Hook system calls.
    pub syscalls: bool,
    /// Count page faults.
    pub faults: bool,
    /// Let the kernel side log, through aya-log.
    pub bpf_log: bool,
}

impl Options {
    /// Everything, at once, of a running process.
    #[must_use]
    pub const fn new(tgid: u32) -> Self {
        Self {
            tgid,
            wait_for_exec: false,
            syscalls: true,
            faults: true,
            bpf_log: false,
        }
    }
}

/// An epoch has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEvent {
    /// Its number, from 0.
    pub epoch: u32,
    /// How.
    pub end: EpochEnd,
}

/// The kernel side's log: a descriptor that becomes readable, and `flush`, which hands what came to the `log` crate.
pub type KernelLog = aya_log::EbpfLogger<&'static dyn log::Log>;

/// Makes a type of the shared crate one that aya copies out of a map.
macro_rules! pod {
    ($wrapper:ident, $inner:ty) => {
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        struct $wrapper($inner);
        // SAFETY: `repr(C)`, integers only, and the shared crate asserts that there is no padding.
        unsafe impl Pod for $wrapper {}
    };
}
pod!(PodConfig, Config);
pod!(PodCells, CpuCells);
pod!(PodShared, Shared);
pod!(PodControl, Control);
pod!(PodErrno, ErrnoKey);
pod!(PodTask, TaskKey);

/// A target being traced. Dropping it detaches everything.
pub struct Session {
    ebpf: Ebpf,
    cells: PerCpuArray<MapData, PodCells>,
    shared: Array<MapData, PodShared>,
    control: Array<MapData, PodControl>,
    errnos: HashMap<MapData, PodErrno, u64>,
    tasks: HashMap<MapData, PodTask, u32>,
    events: RingBuf<MapData>,
    hooks: Vec<Hook>,
    host: Host,
    threads_keep_pages: bool,
}

impl Session {
    /// Loads the kernel side, attaches every hook that this kernel allows, and finds the target.
    ///
    /// # Errors
    ///
    /// Where there can be no ledger, or the target has gone. Other missing hooks are reported by [`Self::hooks`].
    pub fn attach(options: &Options) -> Result<Self, ProbeError> {
        let host = Host::read()?;
        let config = {
            let btf = Btf::from_kernel()?;
            offsets::config(
                &btf,
                offsets::Host {
                    tgid: options.tgid,
                    wait_for_exec: options.wait_for_exec,
                    possible_cpus: host.possible_cpus,
                    online_cpus: host.online_cpus,
                    anon_orders: host.anon_orders,
                },
            )?
        };
        let aya_btf = AyaBtf::from_sys_fs().map_err(|error| ProbeError::Load(error.to_string()))?;
        let pod = PodConfig(config);
        let log_level = if options.bpf_log { 0xffu8 } else { 0 };
        let mut loader = EbpfLoader::new();
        loader
            .btf(Some(&aya_btf))
            .override_global(CONFIG, &pod, true)
            .override_global("AYA_LOG_LEVEL", &log_level, true);
        if !options.bpf_log {
            loader.map_max_entries("AYA_LOGS", NO_LOG_BYTES);
        }
        if !options.syscalls {
            loader.map_max_entries(MAP_BEGUN, 1);
        }
        let mut ebpf = loader
            .load(OBJECT)
            .map_err(|error| ProbeError::Load(chain(&error)))?;
        let hooks = attach_all(&mut ebpf, &aya_btf, options)?;
        if !options.wait_for_exec {
            find_target(&mut ebpf, &aya_btf)?;
        }
        let cells = take(&mut ebpf, MAP_CELLS, PerCpuArray::try_from)?;
        let shared = take(&mut ebpf, MAP_SHARED, Array::try_from)?;
        let control = take(&mut ebpf, MAP_CONTROL, Array::try_from)?;
        let errnos = take(&mut ebpf, MAP_ERRNOS, HashMap::try_from)?;
        let tasks = take(&mut ebpf, MAP_TASKS, HashMap::try_from)?;
        let events = take(&mut ebpf, MAP_EVENTS, RingBuf::try_from)?;
        let session = Self {
            ebpf,
            cells,
            shared,
            control,
            errnos,
            tasks,
            events,
            hooks,
            host,
            threads_keep_pages: config.task_rss_count != NONE,
        };
        if !options.wait_for_exec && session.shared()?.started == 0 {
            return Err(ProbeError::TargetGone(options.tgid));
        }
        Ok(session)
    }

    /// The hooks, attached or not.
    #[must_use]
    pub fn hooks(&self) -> &[Hook] {
        &self.hooks
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Whether each thread keeps the pages of its last faults, up to 65 of them, out of the process's counters (before 6.2).
    /// Then the ledger shows what `statm` shows, and `smaps_rollup` shows those pages too.
    #[must_use]
    pub const fn threads_keep_pages(&self) -> bool {
        self.threads_keep_pages
    }

    /// A descriptor that becomes readable when an epoch ends.
    ///
    /// # Errors
    ///
    /// Where this process has no descriptor to spare.
    pub fn events_fd(&self) -> std::io::Result<OwnedFd> {
        self.events.as_fd().try_clone_to_owned()
    }

    /// Takes the next end of an epoch, if there is one.
    pub fn next_event(&mut self) -> Option<EpochEvent> {
        let item = self.events.next()?;
        let mut bytes: &[u8] = &item;
        let epoch = bytes.try_get_u32_le().ok()?;
        let kind = bytes.try_get_u32_le().ok()?;
        Some(EpochEvent {
            epoch,
            end: epoch_end(kind),
        })
    }

    /// Starts the reader of the kernel side's log.
    ///
    /// # Errors
    ///
    /// Where the log cannot be read.
    pub fn logger(&mut self) -> Result<KernelLog, ProbeError> {
        aya_log::EbpfLogger::init(&mut self.ebpf).map_err(|error| ProbeError::Map {
            map: "AYA_LOGS",
            reason: error.to_string(),
        })
    }

    /// Whether a first epoch has begun.
    ///
    /// # Errors
    ///
    /// Where the map cannot be read.
    pub fn started(&self) -> Result<bool, ProbeError> {
        Ok(self.shared()?.started != 0)
    }

    /// Number of the current epoch.
    ///
    /// # Errors
    ///
    /// Where the map cannot be read.
    pub fn epoch(&self) -> Result<u32, ProbeError> {
        Ok(self.shared()?.epoch)
    }

    /// Reads one epoch: all cells, summed over the CPUs. Costs two map reads.
    ///
    /// # Errors
    ///
    /// Where a map cannot be read.
    pub fn read(&self, epoch: u32) -> Result<Reading, ProbeError> {
        let slot = epoch % EPOCH_SLOTS;
        let cells = self
            .cells
            .get(&slot, 0)
            .map_err(|error| map_error(MAP_CELLS, &error))?;
        let shared = self.shared()?;
        let state = &shared.epochs[slot as usize];
        let mut reading = Reading {
            epoch,
            start: state.start,
            end: (state.end_kind != EpochEnd::Open as u32).then_some(state.end),
            end_kind: epoch_end(state.end_kind),
            counts: state.last_count,
            suspense: state.suspense,
            last_call: state
                .last_call
                .map(|cell| u32::try_from(cell).ok()?.checked_sub(1)),
            unsettled: state.unsettled != 0,
            begin_ns: state.begin_ns,
            end_ns: state.end_ns,
            forks: shared.forks,
            last_child: shared.last_child as u32,
            unknown_advice: unknown_advice(&shared),
            losses: Losses {
                events: shared.lost_events,
                calls: shared.lost_calls,
                errnos: shared.lost_errnos,
                reads: shared.failed_reads,
                epochs: shared.merged_epochs,
            },
            ..Reading::default()
        };
        for PodCells(cpu) in cells.iter() {
            add_cpu(&mut reading, cpu);
        }
        Ok(reading)
    }

    /// Runs of memtrace's programs that the kernel skipped, because another of them was running on the same CPU; `None`
    /// where the kernel does not tell (before 5.12). Each is a missed event: the sum heals at the next one.
    #[must_use]
    pub fn skipped_runs(&self) -> Option<u64> {
        let mut total = 0;
        for (_, program) in self.ebpf.programs() {
            // A program that is not loaded has no descriptor, and has not run.
            let Ok(fd) = program.fd() else {
                continue;
            };
            let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
            let text = std::fs::read_to_string(path).ok()?;
            let misses = text
                .lines()
                .find_map(|line| line.strip_prefix("recursion_misses:"))?;
            total += misses.trim().parse::<u64>().ok()?;
        }
        Some(total)
    }

    /// Failed calls of an epoch, by call and errno. For reports: it walks a map.
    ///
    /// # Errors
    ///
    /// Where the map cannot be read.
    pub fn errnos(&self, epoch: u32) -> Result<Vec<Errno>, ProbeError> {
        let mut errnos = Vec::new();
        for entry in self.errnos.iter() {
            let (PodErrno(key), count) = entry.map_err(|error| map_error(MAP_ERRNOS, &error))?;
            if key.epoch == epoch {
                errnos.push(Errno {
                    cell: key.cell,
                    errno: key.errno,
                    count,
                });
            }
        }
        errnos.sort_by_key(|entry| (entry.cell, entry.errno));
        Ok(errnos)
    }

    /// The tasks that have a cell of their own.
    ///
    /// # Errors
    ///
    /// Where the map cannot be read.
    pub fn tasks(&self) -> Result<Vec<TaskName>, ProbeError> {
        let mut tasks = Vec::new();
        for entry in self.tasks.iter() {
            let (PodTask(key), slot) = entry.map_err(|error| map_error(MAP_TASKS, &error))?;
            let length = key.comm.iter().position(|&byte| byte == 0).unwrap_or(16);
            tasks.push(TaskName {
                slot,
                cause: key.cause,
                comm: String::from_utf8_lossy(&key.comm[..length]).into_owned(),
            });
        }
        tasks.sort_by_key(|task| task.slot);
        Ok(tasks)
    }

    /// Says that an epoch has been read to its end: its cells are cleared, and its place may be used again.
    ///
    /// # Errors
    ///
    /// Where a map cannot be written.
    pub fn drained(&mut self, epoch: u32) -> Result<(), ProbeError> {
        let zero = PodCells(CpuCells {
            local_addr: [0; MEMBERS],
            last_local: [0; MEMBERS],
            events: 0,
            scratch: 0,
            faults: Default::default(),
            cells: [[0; MEMBERS]; CELLS],
            calls: [Default::default(); CALL_SLOTS],
        });
        let zeros = PerCpuValues::try_from(vec![zero; self.host.possible_cpus as usize]).map_err(
            |error| ProbeError::Map {
                map: MAP_CELLS,
                reason: error.to_string(),
            },
        )?;
        self.cells
            .set(epoch % EPOCH_SLOTS, zeros, 0)
            .map_err(|error| map_error(MAP_CELLS, &error))?;
        let control = PodControl(Control {
            drained: u64::from(epoch) + 1,
        });
        self.control
            .set(0, control, 0)
            .map_err(|error| map_error(MAP_CONTROL, &error))
    }

    fn shared(&self) -> Result<Shared, ProbeError> {
        self.shared
            .get(&0, 0)
            .map(|PodShared(shared)| shared)
            .map_err(|error| map_error(MAP_SHARED, &error))
    }
}

fn add_cpu(reading: &mut Reading, cpu: &CpuCells) {
    let CpuCells {
        local_addr: _,
        last_local: _,
        events,
        scratch: _,
        faults,
        cells,
        calls,
    } = cpu;
    reading.events += events;
    reading.faults.user_read += faults.user_read;
    reading.faults.user_write += faults.user_write;
    reading.faults.user_exec += faults.user_exec;
    reading.faults.kernel_read += faults.kernel_read;
    reading.faults.kernel_write += faults.kernel_write;
    for (sum, cell) in reading.cells.iter_mut().zip(cells) {
        for (sum, pages) in sum.iter_mut().zip(cell) {
            *sum += pages;
        }
    }
    for (sum, call) in reading.calls.iter_mut().zip(calls) {
        sum.calls += call.calls;
        sum.failed += call.failed;
        sum.requested = sum.requested.wrapping_add(call.requested);
        sum.failed_requested = sum.failed_requested.wrapping_add(call.failed_requested);
        sum.shrunk = sum.shrunk.wrapping_add(call.shrunk);
        sum.time_ns = sum.time_ns.wrapping_add(call.time_ns);
    }
}

fn unknown_advice(shared: &Shared) -> Vec<i32> {
    shared
        .unknown_advice
        .iter()
        .take_while(|&&mark| mark != 0)
        .map(|&mark| (mark - 1) as u32 as i32)
        .collect()
}

const fn epoch_end(kind: u32) -> EpochEnd {
    match kind {
        1 => EpochEnd::Exec,
        2 => EpochEnd::Exit,
        _ => EpochEnd::Open,
    }
}

fn take<T, E: std::fmt::Display>(
    ebpf: &mut Ebpf,
    name: &'static str,
    convert: impl FnOnce(Map) -> Result<T, E>,
) -> Result<T, ProbeError> {
    let map = ebpf.take_map(name).ok_or(ProbeError::Map {
        map: name,
        reason: "not in the object".into(),
    })?;
    convert(map).map_err(|error| ProbeError::Map {
        map: name,
        reason: error.to_string(),
    })
}

fn map_error(map: &'static str, error: &(dyn std::error::Error + 'static)) -> ProbeError {
    ProbeError::Map {
        map,
        reason: chain(error),
    }
}

/// An error with its causes, in one line; a verifier's log is cut to its last words.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    if std::env::var_os("MEMTRACE_VERIFIER_LOG").is_some() {
        return text;
    }
    match text.split_once("Verifier output:") {
        Some((head, log)) => {
            let last = log
                .lines()
                .rfind(|line| !line.trim().is_empty() && !line.starts_with("processed "))
                .unwrap_or_default();
            format!("{}verifier: {}", head, last.trim())
        }
        None => text.replace('\n', " "),
    }
}

/// Runs the iterator over all tasks once; it finds the target and starts the first epoch.
fn find_target(ebpf: &mut Ebpf, btf: &AyaBtf) -> Result<(), ProbeError> {
    let fail = |error: &(dyn std::error::Error + 'static)| ProbeError::Ledger {
        hook: "iter/task",
        reason: chain(error),
    };
    let program: &mut Iter = program(ebpf, "find_target")?;
    program.load("task", btf).map_err(|error| fail(&error))?;
    let link = program.attach().map_err(|error| fail(&error))?;
    let link = program.take_link(link).map_err(|error| fail(&error))?;
    let mut file = link.into_file().map_err(|error| fail(&error))?;
    // The program writes nothing; reading to the end runs it on every task.
    file.read_to_end(&mut Vec::new())
        .map_err(|error| fail(&error))?;
    drop(file);
    // It has done its work.
    program.unload().map_err(|error| fail(&error))
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, ProbeError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    ebpf.program_mut(name)
        .and_then(|program| <&mut P>::try_from(program).ok())
        .ok_or_else(|| ProbeError::Load(format!("no program {name} in the object")))
}

fn attach_all(ebpf: &mut Ebpf, btf: &AyaBtf, options: &Options) -> Result<Vec<Hook>, ProbeError> {
    let mut hooks = Vec::new();
    // First what ends and moves an epoch, the ledger last: nothing counts before the target is found.
    let tracepoints: [(&'static str, &'static str, &'static str); 4] = [
        ("exit", "exit_mmap", "exit_mmap"),
        ("exec", "sched_process_exec", "sched_process_exec"),
        ("fork", "sched_process_fork", "sched_process_fork"),
        ("rss", "rss_stat", "rss_stat"),
    ];
    for (name, program, tracepoint) in tracepoints {
        match attach_btf(ebpf, btf, program, tracepoint) {
            Ok(()) => hooks.push(Hook::attached(name, HookKind::TpBtf)),
            Err(reason) if name == "rss" => {
                return Err(ProbeError::Ledger {
                    hook: "tp_btf/rss_stat",
                    reason,
                });
            }
            Err(reason) => hooks.push(Hook::missing(name, reason)),
        }
    }
    if options.faults {
        for (name, tracepoint) in [
            ("faults_user", "page_fault_user"),
            ("faults_kernel", "page_fault_kernel"),
        ] {
            hooks.push(match attach_btf(ebpf, btf, tracepoint, tracepoint) {
                Ok(()) => Hook::attached(name, HookKind::TpBtf),
                Err(reason) => Hook::missing(name, reason),
            });
        }
    }
    if options.syscalls {
        attach_calls(ebpf, btf, &mut hooks);
    }
    Ok(hooks)
}

fn attach_btf(
    ebpf: &mut Ebpf,
    btf: &AyaBtf,
    name: &'static str,
    tracepoint: &str,
) -> Result<(), String> {
    let program: &mut BtfTracePoint = program(ebpf, name).map_err(|error| chain(&error))?;
    program
        .load(tracepoint, btf)
        .map_err(|error| chain(&error))?;
    program.attach().map_err(|error| chain(&error))?;
    Ok(())
}

/// `fentry` and `fexit` where the kernel takes them, else the tracepoints.
fn attach_calls(ebpf: &mut Ebpf, btf: &AyaBtf, hooks: &mut Vec<Hook>) {
    let mut left = Vec::new();
    let mut refused = String::new();
    for call in &CALLS {
        // Where one is refused, all are; asking once keeps the start fast.
        if !refused.is_empty() {
            left.push(call.name);
            continue;
        }
        match attach_functions(ebpf, btf, call.name, call.enter, call.exit) {
            Ok(()) => hooks.push(Hook::attached(call.name, HookKind::Fentry)),
            Err(error) => {
                refused = error;
                left.push(call.name);
            }
        }
    }
    if left.is_empty() {
        return;
    }
    let attached = tracefs::with(|| attach_tracepoints(ebpf, &left));
    match attached {
        Ok(results) => {
            for (name, result) in left.iter().zip(results) {
                hooks.push(match result {
                    Ok(()) => Hook::attached(name, HookKind::Tracepoint),
                    Err(error) => Hook::missing(name, format!("{error}; fentry: {refused}")),
                });
            }
        }
        Err(error) => {
            for name in left {
                hooks.push(Hook::missing(name, format!("{error}; fentry: {refused}")));
            }
        }
    }
}

fn attach_functions(
    ebpf: &mut Ebpf,
    btf: &AyaBtf,
    call: &str,
    enter: &'static str,
    exit: &'static str,
) -> Result<(), String> {
    let function = function(call);
    let text = |error: ProbeError| chain(&error);
    // Entry first, so that no exit comes without its entry.
    let entry: &mut FEntry = program(ebpf, enter).map_err(text)?;
    entry.load(&function, btf).map_err(|error| chain(&error))?;
    let link = entry.attach().map_err(|error| chain(&error))?;
    let result = (|| {
        let leave: &mut FExit = program(ebpf, exit).map_err(text)?;
        leave.load(&function, btf).map_err(|error| chain(&error))?;
        leave.attach().map_err(|error| chain(&error))
    })();
    if let Err(error) = result {
        let entry: &mut FEntry = program(ebpf, enter).map_err(text)?;
        entry.detach(link).map_err(|error| chain(&error))?;
        return Err(error);
    }
    Ok(())
}

fn attach_tracepoints(ebpf: &mut Ebpf, calls: &[&'static str]) -> Vec<Result<(), String>> {
    let mut results = vec![Ok(()); calls.len()];
    for name in ["sys_enter", "sys_exit"] {
        let program: &mut TracePoint = match program(ebpf, name) {
            Ok(program) => program,
            Err(error) => return vec![Err(chain(&error)); calls.len()],
        };
        if let Err(error) = program.load() {
            return vec![Err(chain(&error)); calls.len()];
        }
        for (call, result) in calls.iter().zip(&mut results) {
            if let Err(error) = program.attach("syscalls", &format!("{name}_{call}")) {
                *result = Err(chain(&error));
            }
        }
    }
    results
}

/// Ids and names of memtrace's own programs that are loaded on this host at this moment, by whichever memtrace.
///
/// # Errors
///
/// Where the kernel does not let them be listed.
pub fn loaded_programs() -> Result<Vec<(u32, String)>, ProbeError> {
    let own = program_names();
    let mut found = Vec::new();
    for info in aya::programs::loaded_programs() {
        let info = match info {
            Ok(info) => info,
            // It went away between being listed and being looked at.
            Err(aya::programs::ProgramError::SyscallError(error))
                if error.io_error.kind() == std::io::ErrorKind::NotFound =>
            {
                continue;
            }
            Err(error) => {
                return Err(ProbeError::Load(chain(&error)));
            }
        };
        if let Some(name) = info.name_as_str()
            && own.iter().any(|own| own == name)
        {
            found.push((info.id(), name.to_owned()));
        }
    }
    Ok(found)
}

/// The kernel keeps the first 15 bytes of a program's name.
fn program_names() -> Vec<String> {
    let fixed = [
        "rss_stat",
        "exit_mmap",
        "sched_process_exec",
        "sched_process_fork",
        "page_fault_user",
        "page_fault_kernel",
        "find_target",
        "sys_enter",
        "sys_exit",
    ];
    fixed
        .into_iter()
        .chain(CALLS.iter().flat_map(|call| [call.enter, call.exit]))
        .map(|name| name.chars().take(15).collect())
        .collect()
}
