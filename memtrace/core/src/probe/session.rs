//! One target, traced: load, attach, read.

use std::os::fd::{AsFd, OwnedFd};

use aya::{
    Btf as AyaBtf, Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, PerCpuValues, RingBuf},
};
use bytes::Buf;
use memtrace_common::{
    cell::{CALL_SLOTS, CELLS, MEMBERS},
    config::{CONFIG, Config, NONE},
    layout::{
        Control, CpuCells, EPOCH_SLOTS, EpochEnd, ErrnoKey, MAP_ASKED, MAP_BEGUN, MAP_BEGUN_SLOTS,
        MAP_CALL_COUNTS, MAP_CALL_EVENTS, MAP_CELLS, MAP_CONTROL, MAP_ERRNOS, MAP_EVENTS,
        MAP_MOVED_SLOTS, MAP_SHARED, MAP_TASKS, Shared, TaskKey,
    },
};

use super::{
    Hook, Host, PidNamespace, ProbeError,
    attach::{attach_all, attach_approximate, programs},
    btf::Btf,
    error::chain,
    events::{CallEvents, Counts, RING_BYTES, Selection},
    ids,
    loader::loader,
    memlock, object,
    offsets::{self, Sampling},
    stats::{self, ProgramRuns, Programs},
};
use crate::{
    ledger::{Errno, Losses, Reading, TaskName},
    model::Mode,
};

/// Bytes of the ring buffer for aya-log where it is not used: the smallest that the kernel takes.
const NO_LOG_BYTES: u32 = 4096;

/// Which mode is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The exact one where this kernel allows it, else the approximate one.
    Best,
    /// The exact one, or an error.
    Exact,
    /// The approximate one.
    Approximate,
}

/// What to trace, and how.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Process id of the target, as memtrace's own PID namespace numbers it.
    pub tgid: u32,
    /// How exact.
    pub mode: Wanted,
    /// Start at the target's next exec, not at once.
    pub wait_for_exec: bool,
    /// Hook system calls.
    pub syscalls: bool,
    /// Count page faults.
    pub faults: bool,
    /// Let the kernel side log, through aya-log.
    pub bpf_log: bool,
    /// Learn of the end of the memory from the kernel's function, as on kernels without the tracepoint.
    pub exit_by_function: bool,
    /// Find the running task by the kernel's helpers alone, as on kernels before 6.2.
    pub by_helpers: bool,
    /// Tell single calls, which [`Session::call_events`] reads.
    pub events: Option<Selection>,
    /// Have the kernel measure the runs of the programs: of all eBPF programs of the host, while the session lives.
    pub self_stats: bool,
}

impl Options {
    /// Everything, at once, of a running process.
    #[must_use]
    pub const fn new(tgid: u32) -> Self {
        Self {
            tgid,
            mode: Wanted::Best,
            wait_for_exec: false,
            syscalls: true,
            faults: true,
            bpf_log: false,
            exit_by_function: false,
            by_helpers: false,
            events: None,
            self_stats: false,
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
    /// What the kernel says of each program: opened while memtrace may, since it gives its privileges up.
    programs: Programs,
    cells: PerCpuArray<MapData, PodCells>,
    shared: Array<MapData, PodShared>,
    control: Array<MapData, PodControl>,
    errnos: HashMap<MapData, PodErrno, u64>,
    tasks: HashMap<MapData, PodTask, u32>,
    events: RingBuf<MapData>,
    /// Where single calls are told: their counts, and the ring buffer until somebody reads it.
    single: Option<(Counts, Option<RingBuf<MapData>>)>,
    hooks: Vec<Hook>,
    host: Host,
    threads_keep_pages: bool,
    by_helpers: bool,
    /// Why there is no ledger; `None` where there is one.
    no_ledger: Option<String>,
    /// How far the kernel's own RSS figures may be off.
    sampling: Sampling,
    /// `CLOCK_MONOTONIC` when all was attached, ns.
    attached_ns: u64,
    /// Keeps the kernel's statistics on.
    statistics: Option<OwnedFd>,
}

impl Session {
    /// Loads the kernel side, attaches every hook that this kernel allows, and finds the target.
    ///
    /// # Errors
    ///
    /// Where the mode that is wanted is not to be had, or the target has gone. Missing hooks are reported by [`Self::hooks`].
    pub fn attach(options: &Options) -> Result<Self, ProbeError> {
        memlock::raise();
        let statistics = options.self_stats.then(stats::enable).transpose()?;
        let mut session = Self::attach_in_mode(options)?;
        session.statistics = statistics;
        Ok(session)
    }

    fn attach_in_mode(options: &Options) -> Result<Self, ProbeError> {
        match options.mode {
            Wanted::Exact => Self::exact(options),
            Wanted::Approximate => Self::approximate(options, "it was asked for"),
            Wanted::Best => match Self::exact(options) {
                Err(error) if error.is_for_want_of_a_ledger() => {
                    let exact = chain(&error);
                    Self::approximate(options, &exact).map_err(|error| ProbeError::Neither {
                        exact,
                        approximate: chain(&error),
                    })
                }
                result => result,
            },
        }
    }

    fn exact(options: &Options) -> Result<Self, ProbeError> {
        match Self::exact_once(options) {
            // What the kernel side finds without helpers is not what helpers find, or the verifier will not have it.
            Ok(session) if session.shared()?.mistaken != 0 => {}
            Err(error) if error.is_for_want_of_a_ledger() && goes_without_helpers(options) => {}
            result => return result,
        }
        Self::exact_once(&Options {
            by_helpers: true,
            ..*options
        })
    }

    fn exact_once(options: &Options) -> Result<Self, ProbeError> {
        let host = Host::read()?;
        let (mut ebpf, btf, config) = load_exact(&host, options)?;
        let hooks = attach_all(&mut programs(&mut ebpf), &btf, options)?;
        let session = Self::of(ebpf, hooks, host, &config, None, Sampling::Unknown)?;
        let shared = session.shared()?;
        let found = if options.wait_for_exec {
            shared.tgid
        } else {
            shared.started
        };
        if found == 0 {
            return Err(ProbeError::TargetGone(options.tgid));
        }
        Ok(session)
    }

    fn approximate(options: &Options, reason: &str) -> Result<Self, ProbeError> {
        let host = Host::read()?;
        let (config, sampling, reduced) = {
            let btf = Btf::from_kernel().ok();
            (
                selecting(
                    offsets::approximate(btf.as_ref(), config_host(options, &host)),
                    options,
                ),
                btf.as_ref().map_or(Sampling::Unknown, offsets::sampling),
                btf.as_ref().map(ids::reduce),
            )
        };
        let btf = reduced.and_then(|reduced| ids::for_aya(&reduced).ok());
        let mut ebpf = load(btf.as_ref(), config, None, options)?;
        let hooks = attach_approximate(&mut programs(&mut ebpf), btf.as_ref(), options, reason)?;
        Self::of(
            ebpf,
            hooks,
            host,
            &config,
            Some(reason.to_owned()),
            sampling,
        )
    }

    fn of(
        mut ebpf: Ebpf,
        hooks: Vec<Hook>,
        host: Host,
        config: &Config,
        no_ledger: Option<String>,
        sampling: Sampling,
    ) -> Result<Self, ProbeError> {
        let cells = take(&mut ebpf, MAP_CELLS, PerCpuArray::try_from)?;
        let shared = take(&mut ebpf, MAP_SHARED, Array::try_from)?;
        let control = take(&mut ebpf, MAP_CONTROL, Array::try_from)?;
        let errnos = take(&mut ebpf, MAP_ERRNOS, HashMap::try_from)?;
        let tasks = take(&mut ebpf, MAP_TASKS, HashMap::try_from)?;
        let events = take(&mut ebpf, MAP_EVENTS, RingBuf::try_from)?;
        let single = if config.events == 0 {
            None
        } else {
            let counts = take(&mut ebpf, MAP_CALL_COUNTS, PerCpuArray::try_from)?;
            let ring = take(&mut ebpf, MAP_CALL_EVENTS, RingBuf::try_from)?;
            Some((Counts::new(counts), Some(ring)))
        };
        Ok(Self {
            programs: Programs::of(&ebpf),
            ebpf,
            cells,
            shared,
            control,
            errnos,
            tasks,
            events,
            single,
            hooks,
            host,
            threads_keep_pages: config.task_rss_count != NONE,
            by_helpers: config.task_type == 0,
            no_ledger,
            sampling,
            attached_ns: monotonic_ns(),
            statistics: None,
        })
    }

    /// How exact this session is.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        match self.no_ledger {
            None => Mode::Exact,
            Some(_) => Mode::Approximate,
        }
    }

    /// Why there is no ledger; `None` where there is one.
    #[must_use]
    pub fn no_ledger(&self) -> Option<&str> {
        self.no_ledger.as_deref()
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

    /// How far RSS in `/proc/PID/status` may be off, in pages, for a process with so many threads. An upper bound: `docs/accuracy.md`.
    #[must_use]
    pub fn sampling_bound_pages(&self, threads: u64) -> u64 {
        self.sampling.bound_pages(threads, self.host.online_cpus)
    }

    /// Whether each thread keeps the pages of its last faults, up to 65 of them, out of the process's counters (before 6.2).
    /// Then the ledger shows what `statm` shows, and `smaps_rollup` shows those pages too.
    #[must_use]
    pub const fn threads_keep_pages(&self) -> bool {
        self.threads_keep_pages
    }

    /// Whether the kernel side asks the kernel's helpers for the running task, and for the counters. Where it need not (6.2 and later,
    /// on x86-64), an event costs a third less.
    #[must_use]
    pub const fn by_helpers(&self) -> bool {
        self.by_helpers
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
        loop {
            let event = self.next_in_ring()?;
            // At an exec for which no place was free, the epoch goes on: it is merged with the next one, and ends later.
            let merged = event.end == EpochEnd::Exec
                && self.epoch().is_ok_and(|current| current == event.epoch);
            if !merged {
                return Some(event);
            }
        }
    }

    fn next_in_ring(&mut self) -> Option<EpochEvent> {
        let item = self.events.next()?;
        let mut bytes: &[u8] = &item;
        let epoch = bytes.try_get_u32_le().ok()?;
        let kind = bytes.try_get_u32_le().ok()?;
        Some(EpochEvent {
            epoch,
            end: epoch_end(kind),
        })
    }

    /// The reader of single calls; `None` where [`Options::events`] does not ask for them, or another one reads them.
    ///
    /// # Errors
    ///
    /// Where this process has no descriptor to spare.
    pub fn call_events(&mut self) -> std::io::Result<Option<CallEvents>> {
        let Some((counts, ring)) = &mut self.single else {
            return Ok(None);
        };
        ring.take()
            .map(|ring| CallEvents::new(ring, counts.clone(), self.attached_ns))
            .transpose()
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
            // Where nobody on the kernel side saw it begin, it began when all was attached.
            begin_ns: if state.begin_ns == 0 {
                self.attached_ns
            } else {
                state.begin_ns
            },
            end_ns: state.end_ns,
            forks: shared.forks,
            last_child: shared.last_child as u32,
            task_slots: shared.task_slots,
            unknown_advice: unknown_advice(&shared),
            losses: Losses {
                events: shared.lost_events,
                calls: shared.lost_calls,
                errnos: shared.lost_errnos,
                reads: shared.failed_reads,
                epochs: shared.merged_epochs,
                single: match &self.single {
                    Some((counts, _)) => Some(counts.read()?.dropped),
                    None => None,
                },
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
        self.program_runs().iter().map(|runs| runs.skipped).sum()
    }

    /// The programs' runs. Only [`Options::self_stats`] lets the kernel count and time them.
    #[must_use]
    pub fn program_runs(&self) -> Vec<ProgramRuns> {
        self.programs.runs()
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

    /// Says that an epoch has been read to its end: its cells are cleared, its errnos forgotten, and its place may be used again.
    ///
    /// # Errors
    ///
    /// Where a map cannot be written.
    pub fn drained(&mut self, epoch: u32) -> Result<(), ProbeError> {
        self.forget_errnos(epoch)?;
        let zero = PodCells(CpuCells {
            local_addr: [0; MEMBERS],
            last_local: [0; MEMBERS],
            events: 0,
            current: 0,
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

    /// Makes room for the errnos of epochs to come: nobody asks for those up to this one any more.
    fn forget_errnos(&mut self, epoch: u32) -> Result<(), ProbeError> {
        let failed = |error| map_error(MAP_ERRNOS, &error);
        // Collected first: a walk over a map that is changed may begin anew.
        let old: Vec<_> = self
            .errnos
            .keys()
            .filter(|key| !matches!(key, Ok(PodErrno(key)) if key.epoch > epoch))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        for key in old {
            self.errnos.remove(&key).map_err(failed)?;
        }
        Ok(())
    }

    fn shared(&self) -> Result<Shared, ProbeError> {
        self.shared
            .get(&0, 0)
            .map(|PodShared(shared)| shared)
            .map_err(|error| map_error(MAP_SHARED, &error))
    }
}

/// Whether the kernel side would do without helpers on this kernel.
fn goes_without_helpers(options: &Options) -> bool {
    !options.by_helpers && Btf::from_kernel().is_ok_and(|btf| offsets::cast(&btf).is_some())
}

fn config_host(options: &Options, host: &Host) -> offsets::Host {
    offsets::Host {
        tgid: options.tgid,
        pid_namespace: PidNamespace::own(),
        wait_for_exec: options.wait_for_exec,
        possible_cpus: host.possible_cpus,
        online_cpus: host.online_cpus,
        anon_orders: host.anon_orders,
    }
}

/// Loads the object for a ledger: the maps are made, and nothing is attached yet.
pub(super) fn load_exact(
    host: &Host,
    options: &Options,
) -> Result<(Ebpf, AyaBtf, Config), ProbeError> {
    // The kernel's BTF is given back before aya makes objects of what is left of it.
    let (config, cast, reduced) = {
        let btf = Btf::from_kernel()?;
        let config = offsets::config(&btf, config_host(options, host))?;
        let cast = offsets::cast(&btf).filter(|_| !options.by_helpers);
        let config = match cast {
            Some(_) => config,
            None => offsets::by_helpers(config),
        };
        (selecting(config, options), cast, ids::reduce(&btf))
    };
    let btf = ids::for_aya(&reduced)?;
    let ebpf = load(Some(&btf), config, cast, options)?;
    Ok((ebpf, btf, config))
}

/// The configuration with the single calls in it that are asked for.
fn selecting(config: Config, options: &Options) -> Config {
    options
        .events
        .map_or(config, |selection| selection.configure(config))
}

fn load(
    btf: Option<&AyaBtf>,
    config: Config,
    cast: Option<u32>,
    options: &Options,
) -> Result<Ebpf, ProbeError> {
    let pod = PodConfig(config);
    let log_level = if options.bpf_log { 0xffu8 } else { 0 };
    let mut loader = loader();
    loader
        .btf(btf)
        .override_global(CONFIG, &pod, true)
        .override_global("AYA_LOG_LEVEL", &log_level, true);
    if !options.bpf_log {
        loader.map_max_entries("AYA_LOGS", NO_LOG_BYTES);
    }
    // Only the approximate mode, which has no way to find them (0), keeps a call's arguments.
    let asks = options.syscalls && config.rss_kind == 0;
    if !asks {
        loader.map_max_entries(MAP_ASKED, 1);
    }
    match options.events {
        Some(_) => loader.map_max_entries(MAP_CALL_EVENTS, RING_BYTES),
        None => loader.map_max_entries(MAP_MOVED_SLOTS, 1),
    };
    if !options.syscalls {
        loader.map_max_entries(MAP_BEGUN, 1);
        loader.map_max_entries(MAP_BEGUN_SLOTS, 1);
    }
    loader
        .load(&object::configured(&config, cast))
        .map_err(|error| ProbeError::Load(chain(&error)))
}

/// `CLOCK_MONOTONIC` in ns: the clock of the kernel side.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

fn add_cpu(reading: &mut Reading, cpu: &CpuCells) {
    let CpuCells {
        local_addr: _,
        last_local: _,
        events,
        current: _,
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

pub(super) fn map_error(
    map: &'static str,
    error: &(dyn std::error::Error + 'static),
) -> ProbeError {
    ProbeError::Map {
        map,
        reason: chain(error),
    }
}
