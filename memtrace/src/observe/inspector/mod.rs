//! Looking into the target's files and memory, in processes of their own.
//!
//! The target chooses its files, its executable and what lies where its arguments should be. A file system that never answers holds
//! whoever reads from it, in a way that no signal ends, and a hostile executable may take any amount of work. So memtrace itself never
//! looks: once privileges are dropped it forks the *spawner*, which forks a *worker* for each look. A worker has budgets of work, memory
//! and time; one that hangs in the kernel is left behind, and costs what it would have found.
//!
//! Neither of them holds anything of memtrace's open, but for the channel that it answers on.

mod error;
mod message;
mod spawner;
mod worker;

use std::{
    io::{self, ErrorKind, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair},
};

use crate::{model::GoFigures, proc::ProcDir};

pub use error::LookError;
use message::{Frames, Order};
pub use message::{Message, Task};
use spawner::Side;

/// The longest that a look may take. Most take some 10 ms.
pub const LONGEST: Duration = Duration::from_secs(5);
/// Bytes of memory that a worker may take.
const MOST_MEMORY: u64 = 32 << 20;
/// The longest that a tick waits for Go's figures, which take some 20 µs. It waits so long once: a worker that owes an answer is not asked.
const FIGURES_WAIT: Duration = Duration::from_millis(100);

/// How long a process takes to end that was killed, or has been told to end, unless it waits in the kernel.
pub const PROMPT: Duration = Duration::from_millis(20);
/// Ends of workers that are kept until they are asked for.
const MOST_ENDED: usize = 16;

/// Starts looks at processes.
pub struct Inspector {
    control: OwnedFd,
    spawner: spawner::Child,
    last: u32,
    /// How the workers ended that have, and were not asked for yet.
    ended: Vec<(u32, i32)>,
}

impl Inspector {
    /// Forks the spawner. To be called once privileges are dropped, and while this process has one thread.
    ///
    /// # Errors
    ///
    /// If there are other threads, or the kernel refuses a process or a descriptor.
    pub fn start() -> io::Result<Self> {
        be_alone()?;
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let spawner = match spawner::fork()? {
            Side::Parent(spawner) => spawner,
            Side::Child => spawner::run(theirs),
        };
        Ok(Self {
            control: ours,
            spawner,
            last: 0,
            ended: Vec::new(),
        })
    }

    /// Starts a look at the process whose directory this is.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a descriptor, or the spawner has gone.
    pub fn look(&mut self, process: &ProcDir, task: Task) -> io::Result<Look> {
        let (channel, theirs) = UnixStream::pair()?;
        channel.set_nonblocking(true)?;
        self.drain();
        self.last += 1;
        let order = Order::Look {
            number: self.last,
            pid: process.pid(),
            task,
        };
        order.send(&self.control, &[process.as_fd(), theirs.as_fd()])?;
        Ok(Look {
            number: self.last,
            channel,
            frames: Frames::default(),
            begun: Instant::now(),
            owes: false,
            is_over: false,
        })
    }

    /// Takes what the spawner has said. Of looks that found something nobody asks how they ended.
    fn drain(&mut self) {
        while let Some(ended) = spawner::receive_end(&self.control) {
            self.ended.push(ended);
        }
        let kept = self.ended.len().saturating_sub(MOST_ENDED);
        self.ended.drain(..kept);
    }

    /// Ends a look, whose result nobody waits for any more.
    pub fn end(&self, look: Look) {
        // If the spawner has gone, so have the workers.
        let _gone = Order::End {
            number: look.number,
        }
        .send(&self.control, &[]);
    }

    /// Returns why a look ended without a result, once its process has ended, which is waited for no longer than `at_most`.
    pub fn why(&mut self, number: u32, at_most: Duration) -> Option<LookError> {
        let until = Instant::now() + at_most;
        let status = loop {
            self.drain();
            if let Some(at) = self.ended.iter().position(|(ended, _)| *ended == number) {
                break self.ended.swap_remove(at).1;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !is_readable(&self.control, left) {
                return None;
            }
        };
        Some(match libc::WTERMSIG(status) {
            libc::SIGXCPU | libc::SIGALRM => LookError::TooLong,
            libc::SIGABRT | libc::SIGSEGV => LookError::TooLarge,
            0 => LookError::Exit(libc::WEXITSTATUS(status)),
            signal => LookError::Signal(signal),
        })
    }
}

/// Ends the spawner, and with it the workers.
impl Drop for Inspector {
    fn drop(&mut self) {
        // The end of its orders, though the descriptor is closed later.
        let _gone = shutdown(&self.control, Shutdown::Both);
        self.spawner.wait(PROMPT);
    }
}

/// Waits until other threads have gone: one that was joined is listed until the kernel is done with it.
fn be_alone() -> io::Result<()> {
    for _ in 0..1000 {
        if std::fs::read_dir("/proc/self/task")?.count() == 1 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(io::Error::other("memtrace has other threads already"))
}

fn is_readable(fd: &impl AsFd, at_most: Duration) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let wait = Timespec::try_from(at_most).ok();
    poll(&mut fds, wait.as_ref()).is_ok_and(|ready| ready > 0)
}

/// A look that goes on, and later the way to Go's figures.
#[derive(Debug)]
pub struct Look {
    number: u32,
    channel: UnixStream,
    frames: Frames,
    begun: Instant,
    /// It was asked for figures, and has not answered.
    owes: bool,
    is_over: bool,
}

/// What a look has to say at the moment.
#[derive(Debug)]
pub enum Next {
    /// Something it found.
    Message(Message),
    /// Nothing up to now.
    NotYet,
    /// Nothing any more: its process has ended.
    Over,
}

impl Look {
    /// Returns its number, for [`Inspector::why`].
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Returns how long it has gone on.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Returns what it has said, after waiting for no longer than `at_most`.
    pub fn next(&mut self, at_most: Duration) -> Next {
        let until = Instant::now() + at_most;
        loop {
            if let Some(message) = self.frames.next() {
                return message.map_or(Next::Over, Next::Message);
            }
            if self.is_over {
                return Next::Over;
            }
            let mut buffer = [0; 4096];
            match self.channel.read(&mut buffer) {
                Ok(0) => self.is_over = true,
                Ok(read) => self.frames.push(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() || !is_readable(&self.channel, left) {
                        return Next::NotYet;
                    }
                }
                Err(_) => self.is_over = true,
            }
        }
    }

    /// Returns Go's figures of this moment, from a look that has found where they are.
    ///
    /// # Errors
    ///
    /// [`LookError::Refused`] if they did not add up or could not be read, [`LookError::Late`] if they have not come in time, and
    /// [`LookError::NoReader`] if the worker has ended.
    pub fn figures(&mut self) -> Result<GoFigures, LookError> {
        if self.owes {
            // What was asked for at an earlier tick is of that moment.
            match self.next(Duration::ZERO) {
                Next::Message(_) => self.owes = false,
                Next::NotYet => return Err(LookError::Late),
                Next::Over => return Err(LookError::NoReader),
            }
        }
        self.channel
            .write_all(&[0])
            .map_err(|_| LookError::NoReader)?;
        match self.next(FIGURES_WAIT) {
            Next::Message(Message::Figures(figures)) => figures.map_err(LookError::Refused),
            Next::Message(_) | Next::Over => Err(LookError::NoReader),
            Next::NotYet => {
                self.owes = true;
                Err(LookError::Late)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look() -> (Look, UnixStream) {
        let (channel, theirs) = UnixStream::pair().unwrap();
        channel.set_nonblocking(true).unwrap();
        let look = Look {
            number: 1,
            channel,
            frames: Frames::default(),
            begun: Instant::now(),
            owes: false,
            is_over: false,
        };
        (look, theirs)
    }

    #[test]
    fn figures_that_hang_are_waited_for_once_and_late_ones_are_not_taken_for_new_ones() {
        let (mut look, mut worker) = look();
        let late = look.figures().unwrap_err();
        assert!(matches!(late, LookError::Late), "{late}");
        // It is not asked again, and nothing is waited for.
        let begun = Instant::now();
        for _ in 0..1000 {
            look.figures().unwrap_err();
        }
        assert!(begun.elapsed() < 1000 * FIGURES_WAIT / 2);
        let mut asked = [0; 8];
        assert_eq!(worker.read(&mut asked).unwrap(), 1);
        // Its answer is of a moment that has passed; the next one is of its own.
        let of = |collections| {
            let figures = GoFigures {
                num_gc: Some(collections),
                ..GoFigures::default()
            };
            Message::Figures(Ok(figures))
        };
        of(1).send(&mut worker).unwrap();
        let answers = thread::spawn(move || {
            assert_eq!(worker.read(&mut asked).unwrap(), 1);
            of(2).send(&mut worker).unwrap();
            worker
        });
        assert_eq!(look.figures().unwrap().num_gc, Some(2));
        drop(answers.join().unwrap());
        let ended = look.figures().unwrap_err();
        assert!(matches!(ended, LookError::NoReader), "{ended}");
    }

    #[test]
    fn a_look_that_hangs_is_waited_for_no_longer_than_said() {
        let (mut look, worker) = look();
        let begun = Instant::now();
        assert!(matches!(look.next(Duration::ZERO), Next::NotYet));
        assert!(matches!(look.next(FIGURES_WAIT), Next::NotYet));
        assert!(begun.elapsed() >= FIGURES_WAIT);
        drop(worker);
        assert!(matches!(look.next(Duration::from_secs(60)), Next::Over));
    }
}
