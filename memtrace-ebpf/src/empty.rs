//! Programs that do nothing, one for each hook of the exact mode. They are never loaded for a trace: a benchmark attaches them
//! to learn what the hooks cost before anybody does anything in them.

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, fexit, tracepoint},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, TracePointContext},
};

/// Programs on BTF tracepoints.
macro_rules! tracepoints {
    ($($program:ident $function:literal),* $(,)?) => {$(
        #[btf_tracepoint(function = $function)]
        pub fn $program(_ctx: BtfTracePointContext) -> i32 {
            0
        }
    )*};
}

/// Pairs of programs on system calls' own functions.
macro_rules! calls {
    ($($enter:ident $exit:ident),* $(,)?) => {$(
        #[fentry]
        pub fn $enter(_ctx: FEntryContext) -> i32 {
            0
        }

        #[fexit]
        pub fn $exit(_ctx: FExitContext) -> i32 {
            0
        }
    )*};
}

tracepoints!(
    empty_rss_stat "rss_stat",
    empty_exit_mmap "exit_mmap",
    empty_exec "sched_process_exec",
    empty_fork "sched_process_fork",
    empty_fault_user "page_fault_user",
    empty_fault_kern "page_fault_kernel",
    empty_raw_enter "sys_enter",
    empty_raw_exit "sys_exit",
);

calls!(
    empty_in_mmap empty_out_mmap,
    empty_in_munmap empty_out_munmap,
    empty_in_mremap empty_out_mremap,
    empty_in_brk empty_out_brk,
    empty_in_madvise empty_out_madvise,
    empty_in_pmadv empty_out_pmadv,
);

#[tracepoint]
pub fn empty_enter(_ctx: TracePointContext) -> u32 {
    0
}

#[tracepoint]
pub fn empty_exit(_ctx: TracePointContext) -> u32 {
    0
}
