//! What this kernel takes, found by trying: each hook alone, then a whole session on memtrace itself. For `memtrace doctor`.
//!
//! Nothing outlasts the trial. The programs count for a target that none of them has been told of.

use std::ptr;

use aya::programs::{BtfTracePoint, FEntry, FExit, Iter, Program, ProgramError, TracePoint};

use memtrace_common::cell::{MMAP, call_slot};

use super::{
    Hook, Host, ProbeError,
    attach::{
        EXACT, Parts, attach_btf, attach_functions, attach_tracepoints, find_target, load_finder,
        program, programs,
    },
    error::Refusal,
    hooks::{CALLS, TRACEPOINTS},
    session::{Options, Session, load_exact},
    tracefs,
};
use crate::{ledger::rss_of, model::HookKind};

/// Bytes that memtrace maps to see whether it can see them.
const MAPPED: usize = 4 << 20;

/// One hook, attached in one way and detached at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The hook: as in [`Hook::name`], and `find_target` for the iterator over all tasks.
    pub hook: &'static str,
    /// The way.
    pub way: Way,
    /// Why the kernel refused it.
    pub error: Option<String>,
}

/// A way to attach a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A hook.
    Hook(HookKind),
    /// An iterator over all tasks, which is read once.
    Iterator,
}

/// A session on memtrace itself: whether it sees what memtrace does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnLedger {
    /// The hooks that a session chose.
    pub hooks: Vec<Hook>,
    /// Bytes that memtrace mapped, and touched.
    pub mapped_bytes: u64,
    /// The change of RSS that the ledger saw meanwhile.
    pub seen_bytes: i64,
    /// What the ledger may lag by: pages that a thread keeps to itself before 6.2.
    pub slack_bytes: u64,
    /// Why there is no ledger, so that a trace is approximate; `None` where there is one.
    pub no_ledger: Option<String>,
    /// Bytes that mmap was seen to ask for meanwhile; `None` where it is not hooked.
    pub asked_bytes: Option<u64>,
}

impl OwnLedger {
    /// Whether all of it was seen: by the ledger, or where there is none by the hook of mmap, if that is attached.
    #[must_use]
    pub fn is_right(&self) -> bool {
        if self.no_ledger.is_some() {
            return self
                .asked_bytes
                .is_none_or(|asked| asked >= self.mapped_bytes);
        }
        self.seen_bytes >= 0
            && self.seen_bytes.unsigned_abs() + self.slack_bytes >= self.mapped_bytes
    }
}

/// Tries each hook in each way.
///
/// # Errors
///
/// Where the eBPF object cannot be loaded, so that nothing can be tried.
pub fn try_hooks() -> Result<Vec<Attempt>, ProbeError> {
    let (mut ebpf, btf, _) = load_exact(&Host::read()?, &Options::new(std::process::id()))?;
    let parts = &mut programs(&mut ebpf);
    let mut attempts = Vec::new();
    let mut note = |hook, way, result: Result<(), Refusal>| {
        attempts.push(Attempt {
            hook,
            way,
            error: result.err().map(|refusal| refusal.0),
        });
    };
    for (hook, tracepoint) in TRACEPOINTS {
        let result = attach_btf(parts, &btf, tracepoint, tracepoint);
        unload::<BtfTracePoint>(parts, tracepoint);
        note(hook, Way::Hook(HookKind::TpBtf), result);
    }
    for call in &CALLS {
        let result = attach_functions(parts, &btf, call.name, call.enter, call.exit);
        unload::<FEntry>(parts, call.enter);
        unload::<FExit>(parts, call.exit);
        note(call.name, Way::Hook(HookKind::Fentry), result);
    }
    let names = CALLS.map(|call| call.name);
    let results = tracefs::with(|| attach_tracepoints(parts, &EXACT, &names))
        .unwrap_or_else(|error| vec![Err(Refusal(error.to_string())); names.len()]);
    unload::<TracePoint>(parts, "sys_enter");
    unload::<TracePoint>(parts, "sys_exit");
    for (name, result) in names.into_iter().zip(results) {
        note(name, Way::Hook(HookKind::Tracepoint), result);
    }
    // The last one: once it has found its target, the others would count.
    let result = load_finder(parts, &btf).and_then(|()| find_target(parts));
    let result = result.map_err(|error| match error {
        ProbeError::Ledger { reason, .. } => Refusal(reason),
        other => Refusal(other.to_string()),
    });
    unload::<Iter>(parts, "find_target");
    note("find_target", Way::Iterator, result);
    Ok(attempts)
}

/// Attaches a session to memtrace itself, as `--pid` does to its target, and lets it see something.
///
/// # Errors
///
/// Why no target can be traced.
pub fn try_own_ledger() -> Result<OwnLedger, ProbeError> {
    let session = Session::attach(&Options::new(std::process::id()))?;
    let epoch = session.epoch()?;
    let before = session.read(epoch)?;
    let mapped = Populated::new(MAPPED)?;
    let after = session.read(epoch)?;
    drop(mapped);
    let page = session.host().page_size;
    let pages = rss_of(&after.now()) - rss_of(&before.now());
    let hooked = session
        .hooks()
        .iter()
        .any(|hook| hook.name == "mmap" && hook.kind.is_some());
    let mmap = call_slot(MMAP).unwrap_or_default() as usize;
    let asked = after.calls[mmap].requested - before.calls[mmap].requested;
    Ok(OwnLedger {
        no_ledger: session.no_ledger().map(str::to_owned),
        asked_bytes: hooked.then_some(asked),
        hooks: session.hooks().to_vec(),
        mapped_bytes: MAPPED as u64,
        seen_bytes: pages * page as i64,
        slack_bytes: if session.threads_keep_pages() {
            65 * page
        } else {
            0
        },
    })
}

/// Takes a program out of the kernel, with its links. One that was never loaded is out of it.
fn unload<P: Unload>(parts: &mut Parts<'_>, name: &'static str)
where
    for<'a> &'a mut P: TryFrom<&'a mut Program>,
{
    if let Ok(program) = program::<P>(parts, name) {
        let _ = program.unload();
    }
}

/// What the programs of all types can do, each by a method of its own.
trait Unload {
    fn unload(&mut self) -> Result<(), ProgramError>;
}

macro_rules! unload {
    ($($program:ty),+) => {
        $(impl Unload for $program {
            fn unload(&mut self) -> Result<(), ProgramError> {
                <$program>::unload(self)
            }
        })+
    };
}
unload!(BtfTracePoint, FEntry, FExit, TracePoint, Iter);

/// Memory that is there from the beginning to the end.
struct Populated {
    base: *mut libc::c_void,
    bytes: usize,
}

impl Populated {
    fn new(bytes: usize) -> Result<Self, ProbeError> {
        // SAFETY: a fresh mapping.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(ProbeError::Host {
                what: "a mapping of memtrace's own",
                reason: std::io::Error::last_os_error().to_string(),
            });
        }
        Ok(Self { base, bytes })
    }
}

impl Drop for Populated {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, which nothing points into.
        unsafe { libc::munmap(self.base, self.bytes) };
    }
}
