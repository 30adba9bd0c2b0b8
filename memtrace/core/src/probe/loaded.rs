//! What of memtrace's is loaded on this host.

use super::{ProbeError, error::chain, hooks::CALLS};

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
        "exit_mmap_done",
        "sched_process_exec",
        "sched_process_fork",
        "page_fault_user",
        "page_fault_kernel",
        "find_target",
        "sys_enter",
        "sys_exit",
        "approx_enter",
        "approx_exit",
        "approx_exec",
        "approx_fork",
        "approx_fault_user",
        "approx_fault_kern",
    ];
    fixed
        .into_iter()
        .chain(CALLS.iter().flat_map(|call| {
            let (enter, exit) = call.approximate;
            [call.enter, call.exit, enter, exit]
        }))
        .map(|name| name.chars().take(15).collect())
        .collect()
}
