//! A capture: ticks, ends of epochs, and the report that comes of them.

mod closing;
mod watched;

use std::time::{Duration, SystemTime};

use memtrace_common::layout::EpochEnd;

use watched::Watched;

use super::{
    args::Options,
    journal::{Failed, Writing},
    output::Out,
};
use crate::{
    export::{file::FileError, journal::JournalFile},
    ledger::{Check, Names, Reading, check, check_ended, rss_of},
    model::{
        Account, CaptureInfo, Children, End, Epoch, HookInfo, HostInfo, LossInfo, Mode,
        ProgramStats, SelfStats, TargetInfo,
    },
    observe::{ClosingGauges, Gauges, Ration, Resident, Sampler, Smaps, Statm, own},
    probe::{ProbeError, Session, batch_pages, monotonic_ns},
    proc::Class,
    process::Target,
    text::time::rfc3339,
    timeline::{Final, Known, Observed, Recorder, TakenBack, bridge},
    verdict::{Case, Trend, judge},
    view::{Columns, LiveLine, live_header, replaced, whole},
};

/// Why a 32-bit process has no calls. The kernel's tracepoints leave them out, and `fentry` is on the native calls' functions.
const COMPAT: &str =
    "32-bit process: its system calls cannot be hooked, so calls and requested bytes are not known";
/// The same of one that ended, or went on to its next program, before memtrace could look.
const UNSEEN: &str = "no call was seen, and it is not known whether this was a 32-bit process, whose system calls cannot be hooked";

/// Readings until a busy target is compared as it is.
const TRIES: u32 = 8;
/// The kernel moves a counter first, and tells of it afterwards: for as long as an event takes, and longer where its thread loses
/// the CPU in between, the ledger lags behind. What does not pass in some of these is a finding.
const MOMENT: Duration = Duration::from_millis(1);

/// The process, and what is held open to look at it.
pub struct Subject {
    pub target: Target,
    pub sampler: Sampler,
    pub gauges: Gauges,
}

/// A running capture.
pub struct Capturing<'a> {
    session: &'a mut Session,
    sampler: Sampler,
    gauges: Gauges,
    target: Target,
    out: &'a mut Out,
    columns: Columns,
    options: &'a Options,
    /// Whether a line is printed per interval.
    lines: bool,
    /// Time between ticks.
    interval: Duration,
    /// The longest that it has been in this epoch.
    longest_interval: Duration,
    ration: Ration,
    host: HostInfo,
    /// Of this epoch's program; `None` where it is not known.
    class: Option<Class>,
    count_faults: bool,
    /// `statm` has been seen to show the shared part of the counters alone.
    statm_inexact: bool,
    /// It has been said that epochs were merged.
    said_merged: bool,
    number: u32,
    recorder: Recorder,
    /// What the answer needs of the ticks.
    trend: Trend,
    /// How far the sampled figures may be off: the most seen.
    sampling_bound: Option<u64>,
    started_at: SystemTime,
    last_line: Option<(u64, i64)>,
    /// All epochs that have ended were complete.
    complete: bool,
    /// The first rule of `--fail-on` that was found.
    found: Option<String>,
    journal: Option<Writing<'a>>,
    failed: Failed,
    /// The views, where there are any.
    watched: Option<Watched>,
}

/// A capture that has ended.
pub struct Ended {
    /// The last epoch.
    pub last: Account,
    /// Whether nothing was lost, and nothing is unexplained, in any epoch.
    pub complete: bool,
    /// The rule of `--fail-on` that was found, in any epoch.
    pub found: Option<String>,
    /// Why the journal stopped before the capture's end, if it did.
    pub stopped: Option<FileError>,
}

impl<'a> Capturing<'a> {
    /// Begins with the epoch that the session is in, and writes what happens to `journal`.
    pub fn begin(
        session: &'a mut Session,
        subject: Subject,
        out: &'a mut Out,
        options: &'a Options,
        lines: bool,
        journal: Option<&'a mut JournalFile>,
    ) -> Result<Self, ProbeError> {
        let Subject {
            target,
            sampler,
            gauges,
        } = subject;
        let host = session.host();
        let host = HostInfo {
            kernel: host.kernel.clone(),
            arch: host.arch.clone(),
            page_size: host.page_size,
            cpus: host.online_cpus,
        };
        let attached = |name| {
            let mut hooks = session.hooks().iter();
            hooks.any(|hook| hook.name == name && hook.kind.is_some())
        };
        let count_faults = attached("faults_user") && attached("faults_kernel");
        let ration = if options.no_smaps {
            Ration::off()
        } else {
            Ration::new(Some(options.smaps_limit))
        };
        let first = session.read(0)?;
        let mut capturing = Self {
            recorder: Recorder::new(host.page_size, count_faults, Reading::default()),
            trend: Trend::default(),
            columns: Columns::new(session.mode(), false, 0),
            number: 0,
            class: target.class,
            session,
            sampler,
            gauges,
            target,
            out,
            options,
            lines,
            interval: options.interval,
            longest_interval: options.interval,
            ration,
            host,
            count_faults,
            statm_inexact: false,
            said_merged: false,
            sampling_bound: None,
            started_at: SystemTime::now(),
            last_line: None,
            complete: true,
            found: None,
            journal: None,
            failed: Failed::default(),
            watched: None,
        };
        capturing.recorder = capturing.begin_epoch(&first);
        if let Some(file) = journal {
            let opening = capturing.opening(&first);
            let blind = capturing.blind(&first);
            let writing = Writing::begin(file, &capturing.host, &opening, blind);
            capturing.journal = Some(writing);
        }
        capturing.headline();
        Ok(capturing)
    }

    fn begin_epoch(&mut self, first: &Reading) -> Recorder {
        let first = first.clone();
        let recorder = match self.session.mode() {
            Mode::Exact => Recorder::new(self.host.page_size, self.count_faults, first),
            Mode::Approximate => {
                // Of one thread, until it is known how many there are.
                self.sampling_bound =
                    Some(self.session.sampling_bound_pages(1) * self.host.page_size);
                // Where it has ended already, it holds nothing at the moment of this sample.
                let start = self.sample().unwrap_or_default();
                Recorder::sampled(self.host.page_size, self.count_faults, first, start)
            }
        };
        // All of them are in the journal, where there is one.
        recorder.keeping(false)
    }

    /// What is known when an epoch begins.
    fn opening(&self, first: &Reading) -> Account {
        Account {
            target: self.target_info(),
            capture: self.capture_info(first, 0, None, None, End::Interrupted),
            summary: self.recorder.opening(self.sampling_bound),
            verdict: None,
        }
    }

    /// RSS by kind, for the approximate mode.
    fn sample(&mut self) -> Option<Resident> {
        let resident = self.sampler.resident()?;
        let bound = self.session.sampling_bound_pages(resident.threads) * self.host.page_size;
        self.sampling_bound = self.sampling_bound.max(Some(bound));
        Some(resident)
    }

    fn headline(&mut self) {
        if self.lines {
            self.columns =
                Columns::new(self.session.mode(), self.gauges.has_go(), self.out.width());
            self.out.line(&live_header(self.columns));
        }
    }

    /// Whether the reader of the results has gone.
    #[must_use]
    pub const fn reader_gone(&self) -> bool {
        self.out.closed()
    }

    /// Whether the journal could not be written on.
    #[must_use]
    pub fn journal_stopped(&self) -> bool {
        self.journal.as_ref().is_some_and(Writing::is_stopped)
    }

    /// Goes on without a journal that was only for captures that somebody might want to save.
    pub fn drop_journal(&mut self) {
        if let Some(error) = self.journal.take().and_then(Writing::into_stopped) {
            self.say(format!("captures can no longer be saved: {error}"));
        }
    }

    /// Whether the target has been stopped: a demo's workload that is done.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.target.is_stopped()
    }

    /// Reads everything once, and prints a line.
    pub fn tick(&mut self) -> Result<(), ProbeError> {
        if self.last_line.is_none() {
            // A program often renames itself when it starts, and it maps its libraries.
            self.target.refresh();
            self.gauges.refresh();
        }
        if self.session.mode() == Mode::Approximate {
            return self.sampled_tick();
        }
        // An exec that has just happened belongs to its own event.
        let Some(before) = self.open_reading()? else {
            return Ok(());
        };
        let mut tries = 0;
        let (statm, now, after, check) = loop {
            let statm = self.sampler.statm();
            let now = monotonic_ns();
            let Some(mut after) = self.open_reading()? else {
                return Ok(());
            };
            if before.events == after.events {
                after = after.at_rest();
            }
            let check = statm.and_then(|statm| self.against_statm(&before, statm, &after));
            tries += 1;
            if tries == TRIES || check.is_none_or(|check| check.unexplained == 0) {
                break (statm, now, after, check);
            }
            std::thread::sleep(MOMENT);
        };
        let smaps = self.rationed_smaps(now, self.rss_bytes(&after));
        let observed = Observed {
            statm,
            smaps,
            check,
            ..Observed::default()
        };
        self.note(now, &after, &observed)
    }

    fn sampled_tick(&mut self) -> Result<(), ProbeError> {
        let (Some(reading), Some(resident)) = (self.open_reading()?, self.sample()) else {
            return Ok(());
        };
        let now = monotonic_ns();
        let smaps = self.rationed_smaps(now, resident.rss());
        let observed = Observed {
            statm: self.sampler.statm(),
            resident: Some(resident),
            smaps,
            ..Observed::default()
        };
        self.note(now, &reading, &observed)
    }

    /// The current epoch's cells; `None` once it has ended.
    fn open_reading(&self) -> Result<Option<Reading>, ProbeError> {
        let reading = self.session.read(self.number)?;
        Ok((reading.end_kind == EpochEnd::Open).then_some(reading))
    }

    fn rss_bytes(&self, reading: &Reading) -> u64 {
        u64::try_from(rss_of(&reading.now())).unwrap_or(0) * self.host.page_size
    }

    /// `smaps_rollup` in between, where the ration allows it at `now`.
    fn rationed_smaps(&mut self, now: u64, rss: u64) -> Option<Smaps> {
        let since = Duration::from_nanos(now.saturating_sub(self.recorder.begin_ns()));
        if self.ration.allows(since, rss) {
            self.read_smaps(since, rss)
        } else {
            None
        }
    }

    fn read_smaps(&mut self, since: Duration, rss: u64) -> Option<Smaps> {
        let smaps = self.sampler.smaps()?;
        self.ration.spent(since, smaps.took, rss);
        Some(smaps)
    }

    /// The ledger against `statm`. Before 6.16 `statm` leaves the CPUs' own parts out; where it is seen to do so, it is
    /// compared only within what those can hold.
    fn against_statm(&mut self, before: &Reading, statm: Statm, after: &Reading) -> Option<Check> {
        let resident = i64::try_from(statm.resident).ok()?;
        let mut checked = check(before, resident, after);
        let shows_shared_part = resident == rss_of(&before.counts);
        if checked.bound == 0 && checked.unexplained != 0 && shows_shared_part {
            self.statm_inexact = true;
        }
        if self.statm_inexact {
            let host = self.session.host();
            let slack = 3 * u64::from(batch_pages(host.online_cpus)) * u64::from(host.online_cpus);
            if checked.unexplained.unsigned_abs() <= slack {
                checked.unexplained = 0;
            }
            checked.bound += slack;
        }
        Some(checked)
    }

    fn note(&mut self, now: u64, reading: &Reading, observed: &Observed) -> Result<(), ProbeError> {
        if reading.losses.epochs > 0 && !self.said_merged {
            self.said_merged = true;
            let text = format!(
                "process {} replaces its program faster than memtrace can follow; the programs' figures are added up",
                self.target.pid
            );
            self.out.line(&text);
            self.say(text);
        }
        self.gauges.collect();
        let tasks = if reading.task_slots == 0 {
            Vec::new()
        } else {
            self.session.tasks()?
        };
        let hooked = self.hooked(reading);
        let names = Names {
            tasks: &tasks,
            errnos: &[],
            hooked: &hooked,
        };
        let start = self.recorder.rss_start_bytes();
        let known = self.known(reading, &names)?;
        let observed = Observed {
            go: self.gauges.go(),
            cgroup: self.gauges.cgroup(Duration::from_nanos(now)),
            ..*observed
        };
        let tick = self.recorder.tick(now, reading, &names, &observed);
        self.trend.note(tick);
        if let Some((journal, known)) = self.journal.as_mut().zip(known) {
            journal.tick(tick, known);
        }
        // The closing tick often comes right after a regular one, and has nothing to add to its line.
        let repeats = self.last_line.is_some_and(|(t_ns, rss)| {
            let since = Duration::from_nanos(tick.t_ns.saturating_sub(t_ns));
            since < self.interval / 4 && rss == tick.rss_bytes
        });
        if self.lines && !repeats {
            let line = LiveLine {
                tick,
                before: self.last_line,
                start,
                columns: self.columns,
            };
            let text = line.to_string();
            self.out.line(&text);
        }
        self.last_line = Some((tick.t_ns, tick.rss_bytes));
        if let Some(watched) = &self.watched {
            watched.tick(tick);
        }
        self.tell(now, reading, &names, &observed)
    }

    /// What the journal is to know; `None` where there is none.
    fn known(&mut self, reading: &Reading, names: &Names<'_>) -> Result<Option<Known>, ProbeError> {
        let is_first = self.last_line.is_none();
        let blind = self.blind(reading);
        let changed = self
            .journal
            .as_ref()
            .is_some_and(|journal| journal.blind != blind);
        let hooks = changed.then(|| self.hook_info(reading));
        // A program often renames itself when it starts.
        let target = (self.gauges.has_news() || is_first).then(|| self.target_info());
        let children = self.children(reading);
        let Some(journal) = &mut self.journal else {
            return Ok(None);
        };
        journal.blind = blind;
        let failed = reading.failed_calls();
        let errnos = self
            .failed
            .errnos(failed, || self.session.errnos(self.number))?;
        let names = Names { errnos, ..*names };
        Ok(Some(Known {
            causes: self.recorder.rows(reading, &names),
            faults: self.recorder.faults(reading),
            losses: losses(reading, None),
            children,
            sampling_bound_bytes: self.sampling_bound,
            hooks,
            target,
        }))
    }

    /// Takes note of the ends of epochs; `true` once the target has ended.
    pub fn epochs(&mut self) -> Result<bool, ProbeError> {
        while let Some(event) = self.session.next_event() {
            if event.epoch < self.number {
                continue;
            }
            self.number = event.epoch;
            match event.end {
                EpochEnd::Exit => return Ok(true),
                EpochEnd::Exec => self.next_epoch()?,
                EpochEnd::Open => {}
            }
        }
        Ok(false)
    }

    /// The process has replaced its program: reports on the old one, and goes on with the new one.
    fn next_epoch(&mut self) -> Result<(), ProbeError> {
        let (epoch, taken_back) = self.close(End::Exec)?;
        self.print(&epoch);
        self.session.drained(self.number)?;
        self.sampler.renew();
        self.complete &= epoch.is_complete();
        self.number += 1;
        let first = self.session.read(self.number)?;
        self.recorder = self.begin_epoch(&first);
        self.trend = Trend::default();
        self.failed = Failed::default();
        self.longest_interval = self.interval;
        self.started_at = SystemTime::now();
        self.last_line = None;
        self.target.renew();
        self.gauges.renew();
        // What was read is this epoch's only where the next one has not begun.
        let is_current = self.session.epoch()? == self.number;
        self.class = self.target.class.filter(|_| is_current);
        if self.journal.is_some() {
            let ended = epoch.into_account();
            let opening = self.opening(&first);
            let blind = self.blind(&first);
            if let Some(journal) = &mut self.journal {
                journal.ended(&ended, taken_back, Some(&opening));
                journal.blind = blind;
            }
        }
        self.tell_exec(&first);
        self.out.line("");
        self.out.line(&replaced(self.target.pid, &self.target.comm));
        self.headline();
        Ok(())
    }

    /// Ends the capture.
    pub fn finish(mut self, mut end: End) -> Result<Ended, ProbeError> {
        // Without a ledger there is nothing that could belong to the old program.
        let has_ledger = self.session.mode() == Mode::Exact;
        if has_ledger && end != End::TargetExited && self.let_exec_pass()? {
            end = End::TargetExited;
        }
        let (epoch, taken_back) = self.close(end)?;
        self.print(&epoch);
        let complete = self.complete && epoch.is_complete();
        let last = epoch.into_account();
        self.tell_end(&last);
        // One that memtrace could not write to its end is to be read as interrupted.
        if let Some(journal) = &mut self.journal
            && end != End::Interrupted
        {
            journal.ended(&last, taken_back, None);
        }
        Ok(Ended {
            last,
            complete,
            found: self.found,
            stopped: self.journal.and_then(Writing::into_stopped),
        })
    }

    fn print(&mut self, epoch: &Epoch) {
        let report = whole(&self.host, epoch, self.out.width());
        self.out.line("");
        self.out.line(report.trim_end());
    }

    /// The report of the current epoch, and the ticks of which something is taken back.
    fn close(&mut self, end: End) -> Result<(Epoch, Option<TakenBack>), ProbeError> {
        let mut taken_back = None;
        if end == End::Exec {
            taken_back = self.recorder.ended_by_exec();
        } else {
            self.target.refresh();
            self.gauges.refresh_at_end();
        }
        self.gauges.forget();
        let mut reading = self.session.read(self.number)?;
        let mut closing = Final::default();
        if self.session.mode() == Mode::Approximate {
            closing = self.close_sampled(end, &reading)?;
        } else if let Some(check) = check_ended(&reading) {
            reading = reading.at_rest();
            closing.check = Some(check);
            closing.compared_with = Some("counters".to_owned());
            closing.lazyfree_missing = Some("the memory is gone".to_owned());
            self.note(reading.end_ns, &reading, &Observed::default())?;
        } else {
            let (last, compared) = self.compare()?;
            reading = last;
            closing.check = compared.check;
            closing.compared_with = compared.with;
            closing.note_smaps(compared.smaps);
            if compared.smaps.is_none() {
                let rss = self.rss_bytes(&reading);
                closing.lazyfree_missing = Some(self.smaps_missing(rss));
            }
            let observed = Observed {
                statm: self.sampler.statm(),
                smaps: compared.smaps,
                check: compared.check,
                ..Observed::default()
            };
            self.note(monotonic_ns(), &reading, &observed)?;
        }
        let tasks = self.session.tasks()?;
        let errnos = self.session.errnos(self.number)?;
        let hooked = self.hooked(&reading);
        let names = Names {
            tasks: &tasks,
            errnos: &errnos,
            hooked: &hooked,
        };
        let hooks = self.hook_info(&reading);
        let mut summary = self.recorder.summary(&reading, &names, &hooks, closing);
        let gone = reading.end.is_some() || matches!(end, End::Exec | End::TargetExited);
        // What may not be walked for LazyFree may not be walked for this either.
        let walked = summary.lazyfree_bytes.is_some();
        let ClosingGauges {
            cgroup,
            mappings,
            go,
        } = self.gauges.close(gone, walked);
        (summary.cgroup, summary.cgroup_missing) = split(cgroup);
        if !gone {
            (summary.mappings, summary.mappings_missing) = match mappings {
                Some(mappings) => split(mappings),
                None => (None, summary.lazyfree_missing.clone()),
            };
            summary.bridge = bridge(
                summary.end,
                summary.rss_end_bytes,
                summary.lazyfree_bytes,
                go.as_ref(),
                summary.mappings.as_deref(),
            );
        }
        let ended = if reading.end_ns > 0 {
            reading.end_ns
        } else {
            monotonic_ns()
        };
        let begun = self.recorder.begin_ns();
        let empty = Recorder::new(self.host.page_size, self.count_faults, Reading::default());
        let ticks = std::mem::replace(&mut self.recorder, empty).into_ticks();
        let mut epoch = Epoch {
            target: self.target_info(),
            capture: self.capture_info(
                &reading,
                ended.saturating_sub(begun),
                self.session.skipped_runs(),
                self.options.self_stats.then(|| self.self_stats()),
                end,
            ),
            summary,
            timeline: ticks,
            verdict: None,
        };
        let answer = judge(&Case {
            host: &self.host,
            target: &epoch.target,
            capture: &epoch.capture,
            summary: &epoch.summary,
            trend: &self.trend,
        });
        if self.found.is_none() {
            self.found = self.options.fail_on.found(&answer).map(str::to_owned);
        }
        epoch.verdict = Some(answer);
        Ok((epoch, taken_back))
    }

    fn capture_info(
        &self,
        reading: &Reading,
        duration_ns: u64,
        skipped_runs: Option<u64>,
        self_stats: Option<SelfStats>,
        end: End,
    ) -> CaptureInfo {
        let losses = losses(reading, skipped_runs);
        CaptureInfo {
            started_at: rfc3339(self.started_at).unwrap_or_default(),
            duration_ns,
            interval_ns: u64::try_from(self.longest_interval.as_nanos()).unwrap_or(u64::MAX),
            mode: self.session.mode(),
            mode_note: self.mode_note(),
            hooks: self.hook_info(reading),
            lost_events: losses.total(),
            losses,
            self_stats,
            children: self.children(reading),
            end,
        }
    }

    fn children(&self, reading: &Reading) -> Option<Children> {
        let mut hooks = self.session.hooks().iter();
        let is_hooked = hooks.any(|hook| hook.name == "fork" && hook.kind.is_some());
        is_hooked.then_some(Children {
            forked: reading.forks,
            last_pid: (reading.last_child > 0).then_some(reading.last_child),
        })
    }

    fn smaps_missing(&self, rss: u64) -> String {
        self.ration
            .refusal(rss)
            .or_else(|| self.sampler.refusal())
            .unwrap_or_else(|| "smaps_rollup could not be read".to_owned())
    }

    /// What is to be said of the mode.
    fn mode_note(&self) -> Option<String> {
        if let Some(reason) = self.session.no_ledger() {
            return Some(format!("RSS is sampled, there is no ledger: {reason}"));
        }
        self.session.threads_keep_pages().then(|| {
            "within the pages of 65 faults per thread, which this kernel lets each thread keep to itself".to_owned()
        })
    }

    fn self_stats(&self) -> SelfStats {
        let own = own();
        let programs = self.session.program_runs().into_iter();
        SelfStats {
            programs: programs
                .map(|program| ProgramStats {
                    name: program.name,
                    runs: program.runs,
                    time_ns: program.time_ns,
                    ns_per_run: program
                        .time_ns
                        .zip(program.runs)
                        .and_then(|(ns, runs)| ns.checked_div(runs)),
                    skipped_runs: program.skipped,
                })
                .collect(),
            cpu_user_ns: own.user_ns,
            cpu_system_ns: own.system_ns,
            rss_bytes: own.rss,
            rss_peak_bytes: own.rss_peak,
        }
    }

    fn target_info(&self) -> TargetInfo {
        TargetInfo {
            pid: self.target.pid,
            comm: self.target.comm.clone(),
            exe: self
                .target
                .exe
                .as_ref()
                .map(|exe| exe.to_string_lossy().into_owned()),
            cmdline: self.target.cmdline.clone(),
            start_time: self.target.start_time,
            runtime: self.gauges.runtime(),
        }
    }

    fn hook_info(&self, reading: &Reading) -> Vec<HookInfo> {
        let blind = self.blind(reading);
        self.session
            .hooks()
            .iter()
            .map(|hook| match blind {
                Some(why) if hook.kind.is_some() && hook.is_call() => HookInfo {
                    name: hook.name.to_owned(),
                    kind: None,
                    error: Some(why.to_owned()),
                    fallback: None,
                },
                _ => HookInfo::from(hook),
            })
            .collect()
    }

    /// Why no call can have been seen; `None` where they are.
    fn blind(&self, reading: &Reading) -> Option<&'static str> {
        if reading.calls.iter().any(|call| call.calls > 0) {
            return None;
        }
        match self.class {
            Some(Class::Bits64) => None,
            Some(Class::Bits32) => Some(COMPAT),
            None => Some(UNSEEN),
        }
    }

    /// The hooks that count what this epoch's program does.
    fn hooked(&self, reading: &Reading) -> Vec<&'static str> {
        let blind = self.blind(reading).is_some();
        self.session
            .hooks()
            .iter()
            .filter(|hook| hook.kind.is_some() && !(blind && hook.is_call()))
            .map(|hook| hook.name)
            .collect()
    }
}

/// Returns what was read, or why it could not be, as the summary has it.
pub(super) fn split<T>(read: Result<T, String>) -> (Option<T>, Option<String>) {
    match read {
        Ok(read) => (Some(read), None),
        Err(why) => (None, Some(why)),
    }
}

/// What was not counted. The kernel is asked for skipped runs once, at the end: that reads a file per program.
const fn losses(reading: &Reading, skipped_runs: Option<u64>) -> LossInfo {
    let losses = reading.losses;
    LossInfo {
        ring_buffer: losses.events,
        calls: losses.calls,
        errnos: losses.errnos,
        counter_reads: losses.reads,
        epochs: losses.epochs,
        skipped_runs,
        single_events: losses.single,
    }
}
