//! memtrace's kernel side. One file per family of hooks; the shared pieces are in `state` and `kernel`.

#![no_std]
#![no_main]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        unstable_features,
        reason = "the target's atomics need inline assembly"
    ),
    feature(asm_experimental_arch)
)]

mod approximate;
mod cause;
mod empty;
mod epoch;
mod events;
mod faults;
mod kernel;
mod rss;
mod state;
mod syscalls;
mod task;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: no path in this crate panics, and the verifier would refuse a program that loops here.
    loop {}
}

/// The helpers used here (`bpf_get_current_task_btf`, `bpf_probe_read_kernel` …) are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
