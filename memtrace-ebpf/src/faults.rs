//! Page faults, counted by kind. Counts are never turned into bytes: a fault may bring 0 pages or 512.
//!
//! x86 only: `page_fault_user(address, regs, error_code)` and `page_fault_kernel`
//! (`arch/x86/include/asm/trace/exceptions.h`). `error_code` bits are those of `enum x86_pf_error_code`.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use memtrace_common::layout::FaultStats;

use crate::{
    kernel::Task,
    rss::current_cells,
    state::{self, load, shared},
};

const WRITE: u64 = 1 << 1;
const INSTRUCTION: u64 = 1 << 4;

#[inline(always)]
fn faults() -> Option<*mut FaultStats> {
    // SAFETY: a field of `SHARED`.
    let mm = load(unsafe { &raw const (*shared()).target_mm });
    if mm == 0 {
        return None;
    }
    let (cells, _) = current_cells()?;
    if Task::running(cells).mm() != mm {
        return None;
    }
    // SAFETY: a field of this CPU's cells.
    Some(unsafe { &raw mut (*cells).faults })
}

#[btf_tracepoint(function = "page_fault_user")]
pub fn page_fault_user(ctx: BtfTracePointContext) -> i32 {
    let Some(faults) = faults() else {
        return 0;
    };
    count_user(faults, ctx.arg::<u64>(2));
    0
}

/// Counts a fault of user code by its error code.
#[inline(always)]
pub fn count_user(faults: *mut FaultStats, error: u64) {
    // SAFETY: fields of this CPU's cells.
    let counter = unsafe {
        if error & INSTRUCTION != 0 {
            &raw mut (*faults).user_exec
        } else if error & WRITE != 0 {
            &raw mut (*faults).user_write
        } else {
            &raw mut (*faults).user_read
        }
    };
    state::add(counter, 1);
}

#[btf_tracepoint(function = "page_fault_kernel")]
pub fn page_fault_kernel(ctx: BtfTracePointContext) -> i32 {
    let Some(faults) = faults() else {
        return 0;
    };
    count_kernel(faults, ctx.arg::<u64>(0), ctx.arg::<u64>(2));
    0
}

/// Counts a fault of kernel code.
#[inline(always)]
pub fn count_kernel(faults: *mut FaultStats, address: u64, error: u64) {
    // A fault on a kernel address (vmalloc, a probing read) is not the process's memory.
    if (address as i64) < 0 {
        return;
    }
    // SAFETY: fields of this CPU's cells.
    let counter = unsafe {
        if error & WRITE != 0 {
            &raw mut (*faults).kernel_write
        } else {
            &raw mut (*faults).kernel_read
        }
    };
    state::add(counter, 1);
}
