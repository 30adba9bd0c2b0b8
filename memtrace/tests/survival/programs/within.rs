//! `within`: a command in a PID namespace and a mount namespace of its own, as in a container.

use std::{os::unix::process::CommandExt, process::Command, ptr};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// With `proc`, `/proc` is the new namespace's; with `hosts`, it stays the one that was there. Ends as the command does.
pub fn main(proc: &str, command: &[&str]) -> ! {
    unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS).unwrap();
    // SAFETY: this program has one thread.
    let child = unsafe { libc::fork() };
    if child != 0 {
        let mut status = 0;
        // SAFETY: the child just made.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        let code = if libc::WIFEXITED(status) {
            libc::WEXITSTATUS(status)
        } else {
            128 + libc::WTERMSIG(status)
        };
        std::process::exit(code);
    }
    // The first process of a namespace takes all others with it.
    // SAFETY: a number.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // No mount of this namespace's may show outside.
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    if proc == "proc" {
        let flags = MsFlags::empty();
        mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).unwrap();
    }
    let error = Command::new(command[0]).args(&command[1..]).exec();
    panic!("{command:?}: {error}");
}

/// The process that the namespace's first one is to everybody outside.
pub fn first_child(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Makes a child with this process id, which nothing else may have, running a command.
pub fn with_pid(pid: u32, command: &[&std::ffi::CStr]) -> std::io::Result<u32> {
    /// `struct clone_args`, `include/uapi/linux/sched.h`.
    #[repr(C)]
    #[derive(Default)]
    struct CloneArgs {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
    }
    let wanted = pid as libc::pid_t;
    let arguments = CloneArgs {
        exit_signal: libc::SIGCHLD as u64,
        set_tid: (&raw const wanted) as u64,
        set_tid_size: 1,
        ..CloneArgs::default()
    };
    let mut argv: Vec<*const libc::c_char> = command.iter().map(|word| word.as_ptr()).collect();
    argv.push(ptr::null());
    // SAFETY: without a stack of its own the child goes on in a copy of this one, and there it only executes.
    unsafe {
        let child = libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<CloneArgs>(),
        );
        if child == 0 {
            libc::execv(argv[0], argv.as_ptr());
            libc::_exit(127);
        }
        if child < 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(child as u32)
    }
}
