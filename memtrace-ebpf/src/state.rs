//! The maps and globals, and the few ways in which they are touched.

use core::cell::UnsafeCell;

use aya_ebpf::{
    Global,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use memtrace_common::{
    config::Config,
    layout::{
        Asked, BEGUN_SLOTS as SLOTS, Begun, BegunSlot, CallEventCounts, Control, CpuCells,
        EPOCH_SLOTS, Epoch, ErrnoKey, MAX_BEGUN, MAX_ERRNOS, Pages, Shared, TaskKey,
    },
};

/// What the loader knows about this kernel and this target.
#[unsafe(no_mangle)]
pub static CONFIG: Global<Config> = Global::new(
    // SAFETY: all fields are integers.
    unsafe { core::mem::zeroed() },
);

/// A field of [`Config`] that has 32 bits, as a number in the instruction itself: a load of a global would touch a page more in
/// each event.
macro_rules! config {
    ($field:ident[$index:tt]) => {
        $crate::state::config_number::<
            { core::mem::offset_of!(memtrace_common::config::Config, $field) },
            $index,
        >()
    };
    ($($field:tt)+) => {
        $crate::state::config_number::<
            { core::mem::offset_of!(memtrace_common::config::Config, $($field)+) },
            0,
        >()
    };
}
pub(crate) use config;

/// The number at so many bytes, and so many numbers behind those: the loader puts it in.
#[inline(always)]
pub fn config_number<const OFFSET: usize, const INDEX: usize>() -> u32 {
    let number: u32;
    #[cfg(target_arch = "bpf")]
    // SAFETY: a move of a number into a register.
    unsafe {
        core::arch::asm!(
            "{number} = {mark}",
            number = out(wreg) number,
            mark = const { memtrace_common::config::NUMBER + (OFFSET + 4 * INDEX) as u32 },
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        number = (OFFSET + 4 * INDEX) as u32;
    }
    number
}

/// Reads a field of [`CONFIG`] from memory.
#[inline(always)]
pub fn config_field<T: Copy + 'static>(field: impl FnOnce(&'static Config) -> &'static T) -> T {
    // SAFETY: `Global` is `repr(transparent)` over an initialised `Config`. The loader writes to it before the program is
    // loaded, which the compiler does not know: hence the volatile read.
    unsafe { core::ptr::read_volatile(field(&*core::ptr::from_ref(&CONFIG).cast())) }
}

#[map]
pub static CELLS: PerCpuArray<CpuCells> = PerCpuArray::with_max_entries(EPOCH_SLOTS, 0);

#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

#[map]
pub static ERRNOS: HashMap<ErrnoKey, u64> = HashMap::with_max_entries(MAX_ERRNOS, 0);

#[map]
pub static TASKS: HashMap<TaskKey, u32> =
    HashMap::with_max_entries(memtrace_common::cell::TASK_SLOTS, 0);

#[map]
pub static BEGUN_SLOTS: Array<BegunSlot> = Array::with_max_entries(SLOTS, 0);

#[map]
pub static BEGUN: HashMap<u64, Begun> = HashMap::with_max_entries(MAX_BEGUN, 0);

/// The loader makes it as large as `--events` needs; it is not used without.
#[map]
pub static CALL_EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

#[map]
pub static CALL_COUNTS: PerCpuArray<CallEventCounts> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub static MOVED_SLOTS: Array<Pages> = Array::with_max_entries(SLOTS, 0);

#[map]
pub static ASKED: HashMap<u64, Asked> = HashMap::with_max_entries(MAX_BEGUN, 0);

#[repr(transparent)]
pub struct SharedCell(UnsafeCell<Shared>);

// SAFETY: fields are read and written with volatile or atomic operations only.
unsafe impl Sync for SharedCell {}

// SAFETY: all fields are integers, for which zero is a value.
static SHARED: SharedCell = SharedCell(UnsafeCell::new(unsafe { core::mem::zeroed() }));

/// The kernel side's global state.
#[inline(always)]
pub fn shared() -> *mut Shared {
    SHARED.0.get()
}

/// The epoch that a slot holds.
#[inline(always)]
pub fn epoch(number: u32) -> *mut Epoch {
    let slot = (number & (EPOCH_SLOTS - 1)) as usize;
    // SAFETY: the slot is below the array's length.
    unsafe { (&raw mut (*shared()).epochs).cast::<Epoch>().add(slot) }
}

/// Reads a field that others may be writing.
#[inline(always)]
pub fn load<T: Copy>(field: *const T) -> T {
    // SAFETY: every caller passes a pointer into `SHARED` or into a map value.
    unsafe { core::ptr::read_volatile(field) }
}

/// Writes a field that others may be reading.
#[inline(always)]
pub fn store<T: Copy>(field: *mut T, value: T) {
    // SAFETY: every caller passes a pointer into `SHARED` or into a map value.
    unsafe { core::ptr::write_volatile(field, value) }
}

/// Adds to a counter that belongs to this CPU alone.
#[inline(always)]
pub fn add(field: *mut u64, value: u64) {
    store(field, load(field).wrapping_add(value));
}

/// Adds to a counter that all CPUs share. Every kernel that has eBPF can do that; what an addition *returns*, only 5.12 and
/// later can say, and a program with such an instruction anywhere in it is refused by those before.
#[inline(always)]
pub fn count_shared(field: *mut u64, value: u64) {
    atomic::add(field, value);
}

/// Adds to a counter that all CPUs share; returns what it was.
#[inline(always)]
pub fn add_shared(field: *mut u64, value: u64) -> u64 {
    atomic::fetch_add(field, value)
}

/// Adds to a signed counter that all CPUs share.
#[inline(always)]
pub fn add_shared_i64(field: *mut i64, value: i64) {
    atomic::fetch_add(field.cast(), value as u64);
}

/// Replaces a signed number that all CPUs share; returns what it was.
#[inline(always)]
pub fn swap_i64(field: *mut i64, value: i64) -> i64 {
    atomic::swap(field.cast(), value as u64) as i64
}

/// Replaces a number that all CPUs share; returns what it was.
#[inline(always)]
pub fn swap(field: *mut u64, value: u64) -> u64 {
    atomic::swap(field, value)
}

/// Puts `value` where 0 is; returns what was there.
#[inline(always)]
pub fn claim(field: *mut u64, value: u64) -> u64 {
    atomic::compare_swap(field, 0, value)
}

/// Makes the compiler forget what it knows of an index. Else it drops the bounds check that the verifier, which knows less,
/// asks for.
#[inline(always)]
pub fn unknown(index: u32) -> usize {
    let mut index = u64::from(index);
    #[cfg(target_arch = "bpf")]
    // SAFETY: changes nothing. An empty string would leave line information without an instruction, which the kernel refuses.
    unsafe {
        core::arch::asm!("{0} += 0", inout(reg) index);
    }
    #[cfg(not(target_arch = "bpf"))]
    core::hint::black_box(&mut index);
    index as usize
}

/// The BPF target has these instructions since v3, but `core::sync::atomic` offers them only where a target has a whole set
/// of atomics. Each is a full barrier, as the kernel's `BPF_FETCH` instructions are.
///
/// Every caller passes an aligned field of `SHARED` or of a map value.
#[cfg(target_arch = "bpf")]
mod atomic {
    use core::arch::asm;

    #[inline(always)]
    pub fn fetch_add(field: *mut u64, value: u64) -> u64 {
        let mut old = value;
        // SAFETY: see the module.
        unsafe {
            asm!("{v} = atomic_fetch_add((u64 *)({p} + 0), {v})", p = in(reg) field, v = inout(reg) old);
        }
        old
    }

    #[inline(always)]
    pub fn add(field: *mut u64, value: u64) {
        // SAFETY: see the module.
        unsafe {
            asm!("lock *(u64 *)({p} + 0) += {v}", p = in(reg) field, v = in(reg) value);
        }
    }

    #[inline(always)]
    pub fn swap(field: *mut u64, value: u64) -> u64 {
        let mut old = value;
        // SAFETY: see the module.
        unsafe {
            asm!("{v} = xchg_64({p} + 0, {v})", p = in(reg) field, v = inout(reg) old);
        }
        old
    }

    #[inline(always)]
    pub fn compare_swap(field: *mut u64, expected: u64, value: u64) -> u64 {
        let mut old = expected;
        // SAFETY: see the module.
        unsafe {
            asm!("r0 = cmpxchg_64({p} + 0, r0, {v})", p = in(reg) field, v = in(reg) value, inout("r0") old);
        }
        old
    }
}

/// The same for the host, so that lints and documentation need no BPF target.
#[cfg(not(target_arch = "bpf"))]
mod atomic {
    use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

    pub fn fetch_add(field: *mut u64, value: u64) -> u64 {
        // SAFETY: see above.
        unsafe { AtomicU64::from_ptr(field) }.fetch_add(value, SeqCst)
    }

    pub fn add(field: *mut u64, value: u64) {
        fetch_add(field, value);
    }

    pub fn swap(field: *mut u64, value: u64) -> u64 {
        // SAFETY: see above.
        unsafe { AtomicU64::from_ptr(field) }.swap(value, SeqCst)
    }

    pub fn compare_swap(field: *mut u64, expected: u64, value: u64) -> u64 {
        // SAFETY: see above.
        match unsafe { AtomicU64::from_ptr(field) }
            .compare_exchange(expected, value, SeqCst, SeqCst)
        {
            Ok(old) | Err(old) => old,
        }
    }
}
