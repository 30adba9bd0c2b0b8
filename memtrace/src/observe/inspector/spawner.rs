//! The process that forks workers: one that has a single thread, and nothing open.

use std::{
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
    process::{
        Pid, PidfdFlags, Signal, WaitOptions, chdir, kill_process, pidfd_open,
        set_parent_process_death_signal, waitpid,
    },
};

use super::{PROMPT, is_readable, message::Order, worker};
use crate::{inspect::LiveProcess, proc::ProcDir};

/// Which of the two a process is after a fork.
pub enum Side {
    /// The one that forked, with the other one.
    Parent(Child),
    /// The new one.
    Child,
}

/// Forks this process, which must have no other thread.
pub fn fork() -> io::Result<Side> {
    // SAFETY: with one thread nothing is locked or half done by another, so the child may go on as the parent would.
    match unsafe { libc::fork() } {
        0 => Ok(Side::Child),
        id => {
            let pid = Pid::from_raw(id).filter(|_| id > 0);
            let pid = pid.ok_or_else(io::Error::last_os_error)?;
            let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
            Ok(Side::Parent(Child { pid, pidfd }))
        }
    }
}

/// A process that this one has forked.
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Child {
    /// Returns its wait status once it has ended, which is waited for no longer than `at_most`.
    pub fn wait(&self, at_most: Duration) -> Option<i32> {
        if !at_most.is_zero() {
            is_readable(&self.pidfd, at_most);
        }
        match waitpid(Some(self.pid), WaitOptions::NOHANG) {
            Ok(None) => None,
            Ok(Some((_, status))) => Some(status.as_raw()),
            Err(_) => Some(0),
        }
    }
}

/// Ends this process at once: what its memory holds belongs to the one that forked it.
fn exit(code: i32) -> ! {
    // SAFETY: takes a number, and does not return.
    unsafe { libc::_exit(code) }
}

/// A worker.
struct Worker {
    number: u32,
    child: Child,
}

/// Runs the spawner until `control` is closed.
pub fn run(control: OwnedFd) -> ! {
    // A panic's message would go to a terminal that is not the spawner's.
    std::panic::set_hook(Box::new(|_| {}));
    let ran = std::panic::catch_unwind(|| serve(&control));
    exit(i32::from(!matches!(ran, Ok(Ok(())))))
}

fn serve(control: &OwnedFd) -> io::Result<()> {
    settle(control)?;
    let mut workers: Vec<Worker> = Vec::new();
    loop {
        let waited =
            std::iter::once(control).chain(workers.iter().map(|worker| &worker.child.pidfd));
        let mut fds: Vec<_> = waited.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let has_order = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        workers.retain(|worker| !has_ended(worker, control));
        if !has_order {
            continue;
        }
        match Order::receive(control)? {
            None => break,
            Some((Order::End { number }, _)) => {
                for worker in workers.iter().filter(|worker| worker.number == number) {
                    // One that waits in the kernel goes on waiting.
                    let _ended = kill_process(worker.child.pid, Signal::KILL);
                }
            }
            Some((Order::Look { number, pid, task }, fds)) => {
                let Ok([dir, channel]) = <[OwnedFd; 2]>::try_from(fds) else {
                    continue;
                };
                // Without a process there is no answer: the channel closes.
                if let Ok(true) = start(number, &mut workers) {
                    keep_only(&[channel.as_raw_fd(), dir.as_raw_fd()]);
                    let process = LiveProcess::at(ProcDir::received(pid, dir));
                    let mut channel = UnixStream::from(channel);
                    let ran =
                        std::panic::catch_unwind(move || worker::run(&process, &mut channel, task));
                    exit(i32::from(!matches!(ran, Ok(Ok(())))));
                }
            }
        }
    }
    for worker in &workers {
        let _ended = kill_process(worker.child.pid, Signal::KILL);
    }
    for worker in &workers {
        worker.child.wait(PROMPT / 4);
    }
    Ok(())
}

/// Forks a worker; returns true in it.
fn start(number: u32, workers: &mut Vec<Worker>) -> io::Result<bool> {
    match fork()? {
        Side::Parent(child) => {
            workers.push(Worker { number, child });
            Ok(false)
        }
        Side::Child => {
            // Without it, the closed channel ends it.
            let _unset = set_parent_process_death_signal(Some(Signal::KILL));
            Ok(true)
        }
    }
}

/// Takes leave of a worker that has ended, and says so.
fn has_ended(worker: &Worker, control: &OwnedFd) -> bool {
    let Some(status) = worker.child.wait(Duration::ZERO) else {
        return false;
    };
    let message = [worker.number.to_le_bytes(), status.to_le_bytes()].concat();
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    // If nobody reads them any more, there is nobody to be told.
    let _unread = send(control, &message, flags);
    true
}

/// Returns the number and the wait status of a worker that has ended, as the spawner told it.
pub fn receive_end(control: &OwnedFd) -> Option<(u32, i32)> {
    let mut bytes = [0; 8];
    let (read, _) = recv(control, &mut bytes, RecvFlags::DONTWAIT).ok()?;
    let (number, status) = bytes.split_first_chunk()?;
    (read == bytes.len()).then_some((
        u32::from_le_bytes(*number),
        i32::from_le_bytes(*status.first_chunk()?),
    ))
}

/// Makes what was forked off memtrace a process of its own: one that a terminal's signals do not end, which ends with memtrace, and
/// keeps nothing of it open, nor its working directory in use.
fn settle(control: &OwnedFd) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::thread::set_name(c"memtrace-look")?;
    for signal in 1..libc::SIGRTMIN() {
        let action = match signal {
            libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT | libc::SIGTSTP => {
                libc::SIG_IGN
            }
            _ => libc::SIG_DFL,
        };
        // SAFETY: replaces handlers, which belong to memtrace, by actions of the kernel.
        unsafe { libc::signal(signal, action) };
    }
    chdir(c"/")?;
    keep_only(&[control.as_raw_fd()]);
    Ok(())
}

/// Closes every descriptor but these.
fn keep_only(kept: &[i32]) {
    let mut kept: Vec<u32> = kept.iter().map(|fd| fd.cast_unsigned()).collect();
    kept.sort_unstable();
    let mut first = 0;
    for next in kept.into_iter().chain([u32::MAX]) {
        if let Some(last) = next.checked_sub(1).filter(|&last| last >= first) {
            // SAFETY: the values that own these descriptors are never dropped: this process ends by `_exit`.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
        first = next.saturating_add(1);
    }
}
