//! Epochs: the life of one `mm`, from the moment at which its state is read whole to the moment at which it is gone.
//!
//! Reading the state whole means: the shared count of each member, and the local of every CPU, kept as what each CPU has
//! "last seen". From then on every change is a difference to what is kept here, so it does not matter how busy the target
//! is meanwhile: what moves while this runs is found at the next event. Only the *start* as a figure needs the counters to
//! stand still for a moment; two equal readings in a row show that, and where they never come the epoch says so.

use aya_ebpf::{
    helpers::{bpf_ktime_get_ns, generated},
    macros::map,
    maps::PerCpuArray,
};
use memtrace_common::{
    cell::MEMBERS,
    config::RSS_PERCPU,
    layout::{CpuCells, EPOCH_SLOTS, EpochEnd, Event},
};

use crate::{
    kernel::{self, Task},
    state::{self, CELLS, CONTROL, EVENTS, config, load, shared, store},
};

/// Readings of the counters until they are called unsettled.
const PASSES: u32 = 4;

/// What the walk over the CPUs needs and brings. It lies in a map: what is on the stack the verifier follows value by value,
/// through every turn of the loop, and gives up.
#[repr(C)]
pub struct Walk {
    mm: u64,
    slot: u32,
    /// 1: keep what is read as last seen; 0: compare it with that.
    keep: u32,
    /// Locals that differed from what was kept, or could not be read.
    changed: u64,
    /// Whether all stood still, 0 or 1.
    settled: u64,
    /// Percpu pointers to the locals.
    locals: [u64; MEMBERS],
    /// Shared counts.
    counts: [i64; MEMBERS],
    /// Sums of the locals over all CPUs.
    sums: [i64; MEMBERS],
}

#[map]
static WALK: PerCpuArray<Walk> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
fn cells_of(slot: u32, cpu: u32) -> *mut CpuCells {
    // SAFETY: the map is a per-CPU array; an id that is not a possible CPU gives a null pointer.
    unsafe {
        generated::bpf_map_lookup_percpu_elem(
            core::ptr::from_ref(&CELLS).cast_mut().cast(),
            (&raw const slot).cast(),
            cpu,
        )
        .cast()
    }
}

/// Learns where each CPU keeps its running task, and where a task's registers lie, so that [`Task::running`] and
/// [`Task::user_regs`] need no helper. Then holds what they say against the helpers, once.
///
/// Only pointers are followed, since many kernels do not tell the addresses of their variables: the running task leads to its
/// CPU's run queue, a per-CPU variable; BTF tells how far from that the pointer to the running task is; and a value of a per-CPU
/// map tells how far apart two CPUs' variables are.
#[inline(always)]
pub fn learn() {
    let task = Task::current();
    let Some(cells) = CELLS.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: fields of this CPU's cells and of `SHARED`.
    unsafe {
        let shared = shared();
        store(&raw mut (*shared).mistaken, 1);
        let scratch = &raw mut (*cells).scratch;
        let regs = number(scratch, task.checked_regs().pointer());
        store(
            &raw mut (*shared).regs_offset,
            regs.wrapping_sub(task.stack()),
        );
        let known = number(scratch, task.pointer());
        let (Some(run_queue), Some(offset)) = (kernel::run_queue(known), cpu_offset(cells, 0))
        else {
            return;
        };
        let current = run_queue.wrapping_add_signed(i64::from(config!(rq_current) as i32));
        store(
            &raw mut (*shared).current_task,
            current.wrapping_sub(offset),
        );
        let found = kernel::read::<u64>(current);
        store(&raw mut (*shared).mistaken, u64::from(found != Some(known)));
    }
}

/// What this CPU's per-CPU memory is away from where per-CPU pointers point.
///
/// A kernel may hide `__per_cpu_offset`. But these cells are per-CPU memory too: their address less their per-CPU pointer is it.
#[inline(always)]
fn cpu_offset(cells: *mut CpuCells, slot: u32) -> Option<u64> {
    // SAFETY: a field of the cells.
    let scratch = unsafe { &raw mut (*cells).scratch };
    let map = number(scratch, core::ptr::from_ref(&CELLS));
    let value = number(scratch, cells.cast_const());
    let pptrs = map + u64::from(config!(array_pptrs)) + u64::from(slot) * 8;
    Some(value.wrapping_sub(kernel::read::<u64>(pptrs)?))
}

/// Turns a pointer that the verifier knows into a number: through memory, where the verifier forgets what it was.
#[inline(always)]
fn number<T>(scratch: *mut u64, pointer: *const T) -> u64 {
    store(scratch, pointer as u64);
    load(scratch)
}

unsafe extern "C" fn visit(cpu: u64, _context: *mut core::ffi::c_void) -> i64 {
    let Some(walk) = WALK.get_ptr_mut(0) else {
        return 1;
    };
    // SAFETY: this CPU's entry, used by one program at a time: see `whole`.
    let walk = unsafe { &mut *walk };
    let cells = cells_of(walk.slot, cpu as u32);
    if cells.is_null() {
        return 0;
    }
    let Some(offset) = cpu_offset(cells, walk.slot) else {
        walk.changed += 1;
        return 1;
    };
    if walk.keep != 0 {
        // SAFETY: fields of `SHARED` and of the cells just looked up.
        unsafe {
            let current = load(&raw const (*shared()).current_task);
            store(&raw mut (*cells).current, current.wrapping_add(offset));
        }
    }
    let mut member = 0;
    while member < MEMBERS {
        let address = walk.locals[member].wrapping_add(offset);
        let Some(local) = kernel::read::<i32>(address) else {
            walk.changed += 1;
            return 1;
        };
        // SAFETY: `member` is below MEMBERS.
        unsafe {
            let last = (&raw mut (*cells).last_local).cast::<i32>().add(member);
            if walk.keep != 0 {
                store(
                    (&raw mut (*cells).local_addr).cast::<u64>().add(member),
                    address,
                );
                store(last, local);
            } else if load(last) != local {
                walk.changed += 1;
            }
        }
        walk.sums[member] += i64::from(local);
        member += 1;
    }
    0
}

/// Walks over all CPUs once.
#[inline(never)]
fn visit_all(walk: &mut Walk, keep: u32) {
    walk.keep = keep;
    walk.changed = 0;
    walk.sums = [0; MEMBERS];
    // SAFETY: `visit` takes no context.
    unsafe {
        generated::bpf_loop(
            config!(cpus),
            visit as *mut core::ffi::c_void,
            core::ptr::null_mut(),
            0,
        );
    }
}

/// Reads the shared counts; false where one is not what was read before.
#[inline(never)]
fn read_counts(walk: &mut Walk) -> bool {
    let mut same = true;
    let mut member = 0;
    while member < MEMBERS {
        let count = kernel::read(kernel::count_address(walk.mm, member)).unwrap_or(0);
        same &= count == walk.counts[member];
        walk.counts[member] = count;
        member += 1;
    }
    same
}

/// Keeps what each CPU has, and looks once more; 1, which ends the loop, where nothing moved meanwhile.
unsafe extern "C" fn keep_all(_pass: u64, _context: *mut core::ffi::c_void) -> i64 {
    let Some(walk) = WALK.get_ptr_mut(0) else {
        return 1;
    };
    // SAFETY: see `visit`.
    let walk = unsafe { &mut *walk };
    visit_all(walk, 1);
    let same = read_counts(walk);
    visit_all(walk, 0);
    if same && walk.changed == 0 {
        walk.settled = 1;
        1
    } else {
        0
    }
}

/// Reads all counters, and says whether they stood still meanwhile. With `keep`, each CPU's part becomes its last seen one.
///
/// The scratch is per CPU: the programs that come here run with migration off, and the kernel does not let a program start
/// on a CPU on which it is running already. Two different programs of this file on one CPU would need one to interrupt the
/// other; the target's exec and exit cannot interrupt each other, nor the loader's one pass.
#[inline(always)]
fn whole(mm: u64, slot: u32, keep: bool) -> Option<(&'static Walk, bool)> {
    let walk = WALK.get_ptr_mut(0)?;
    // SAFETY: see above.
    let walk = unsafe { &mut *walk };
    walk.mm = mm;
    walk.slot = slot;
    let mut member = 0;
    while member < MEMBERS {
        walk.sums[member] = 0;
        // The atomic kind has no locals: its offset is not one, and the verifier refuses it next to a pointer.
        walk.locals[member] = if config!(rss_kind) == RSS_PERCPU {
            kernel::locals_pointer(mm, member).unwrap_or(0)
        } else {
            0
        };
        member += 1;
    }
    read_counts(walk);
    walk.settled = u64::from(config!(rss_kind) != RSS_PERCPU);
    if config!(rss_kind) == RSS_PERCPU {
        if keep {
            // A loop of its own here the verifier would follow pass by pass, through everything that is in it.
            // SAFETY: `keep_all` takes no context.
            unsafe {
                generated::bpf_loop(
                    PASSES,
                    keep_all as *mut core::ffi::c_void,
                    core::ptr::null_mut(),
                    0,
                );
            }
        } else {
            visit_all(walk, 0);
        }
    }
    Some((walk, walk.settled != 0))
}

/// Starts an epoch with `mm`, in a slot that the user side has cleared.
#[inline(always)]
pub fn begin(mm: u64) {
    let shared = shared();
    // SAFETY: fields of `SHARED`, here and below.
    let (started, current) = unsafe {
        (
            load(&raw const (*shared).started),
            load(&raw const (*shared).epoch),
        )
    };
    let mut number = current;
    let mut merged = false;
    if started != 0 {
        let drained = CONTROL
            .get(0)
            .map_or(0, |control| load(&raw const control.drained));
        number = current.wrapping_add(1);
        if u64::from(number) >= drained + u64::from(EPOCH_SLOTS) {
            // No slot is free: go on in this one. Its last mm ended with what `end` says, so the sums still hold.
            number = current;
            merged = true;
            // SAFETY: a field of `SHARED`.
            state::count_shared(unsafe { &raw mut (*shared).merged_epochs }, 1);
        }
    }
    let epoch = state::epoch(number);
    let Some((walk, settled)) = whole(mm, number & (EPOCH_SLOTS - 1), true) else {
        return;
    };
    // SAFETY: fields of an epoch; `member` is below MEMBERS.
    unsafe {
        let mut member = 0;
        while member < MEMBERS {
            let before = if merged {
                load((&raw const (*epoch).start).cast::<i64>().add(member))
                    - load((&raw const (*epoch).end).cast::<i64>().add(member))
            } else {
                store((&raw mut (*epoch).suspense).cast::<i64>().add(member), 0);
                0
            };
            let pages = walk.counts[member] + walk.sums[member];
            store(
                (&raw mut (*epoch).last_count).cast::<i64>().add(member),
                walk.counts[member],
            );
            store(
                (&raw mut (*epoch).start).cast::<i64>().add(member),
                before + pages,
            );
            store((&raw mut (*epoch).end).cast::<i64>().add(member), 0);
            store((&raw mut (*epoch).owed).cast::<u64>().add(member), 0);
            store((&raw mut (*epoch).taker).cast::<u64>().add(member), 0);
            store((&raw mut (*epoch).last_call).cast::<u64>().add(member), 0);
            member += 1;
        }
        store(&raw mut (*epoch).mm, mm);
        if !merged {
            store(&raw mut (*epoch).begin_ns, bpf_ktime_get_ns());
        }
        store(&raw mut (*epoch).end_ns, 0);
        store(&raw mut (*epoch).end_kind, EpochEnd::Open as u32);
        store(&raw mut (*epoch).unsettled, u32::from(!settled));
        store(&raw mut (*shared).epoch, number);
        store(&raw mut (*shared).started, 1);
        // Last: from here on events are counted.
        store(&raw mut (*shared).target_mm, mm);
    }
}

/// Ends the current epoch.
#[inline(always)]
pub fn end(mm: u64, kind: EpochEnd) {
    let shared = shared();
    // SAFETY: fields of `SHARED` and of an epoch; `member` is below MEMBERS.
    unsafe {
        // First: what follows is not counted any more.
        store(&raw mut (*shared).target_mm, 0);
        let number = load(&raw const (*shared).epoch);
        let epoch = state::epoch(number);
        if let Some((walk, _)) = whole(mm, number & (EPOCH_SLOTS - 1), false) {
            let mut member = 0;
            while member < MEMBERS {
                store(
                    (&raw mut (*epoch).end).cast::<i64>().add(member),
                    walk.counts[member] + walk.sums[member],
                );
                member += 1;
            }
        }
        store(&raw mut (*epoch).end_ns, bpf_ktime_get_ns());
        store(&raw mut (*epoch).end_kind, kind as u32);
    }
}

/// Tells the user side that the epoch `number` has ended.
#[inline(always)]
pub fn tell(number: u32, kind: EpochEnd) {
    let event = Event {
        epoch: number,
        end_kind: kind as u32,
    };
    if EVENTS.output::<Event>(&event, 0).is_err() {
        // SAFETY: a field of `SHARED`.
        state::count_shared(unsafe { &raw mut (*shared()).lost_events }, 1);
    }
}

/// Number of the current epoch.
#[inline(always)]
pub fn current() -> u32 {
    // SAFETY: a field of `SHARED`.
    load(unsafe { &raw const (*shared()).epoch })
}
