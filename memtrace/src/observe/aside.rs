//! Work that may take without end, in a thread of its own: reading a file whose file system hangs cannot be broken off.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

/// Work that goes on aside. Its thread has the credentials of the thread that starts it, and ends with the process; where it waits for
/// a FUSE file system that has taken its request, the process ends with it, since not even SIGKILL ends that wait (tried on 6.18). Where
/// this is dropped, the result goes nowhere.
pub struct Aside<T> {
    result: Receiver<T>,
    thread: JoinHandle<()>,
    begun: Instant,
}

/// What has come of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// Its result.
    Done(T),
    /// Nothing up to now.
    NotYet,
    /// Its thread has ended without one.
    Lost,
}

impl<T: Send + 'static> Aside<T> {
    /// Starts `work`.
    ///
    /// # Errors
    ///
    /// Where the thread cannot be made.
    pub fn start(work: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        let (sender, result) = sync_channel(1);
        let thread = Builder::new().name("aside".into()).spawn(move || {
            // Where nobody waits for it any more, it is of no use.
            let _unwanted = sender.send(work());
        })?;
        Ok(Self {
            result,
            thread,
            begun: Instant::now(),
        })
    }

    /// Its result, waited for no longer than `at_most`.
    pub fn wait(&self, at_most: Duration) -> Outcome<T> {
        match self.result.recv_timeout(at_most) {
            Ok(result) => Outcome::Done(result),
            Err(RecvTimeoutError::Timeout) => Outcome::NotYet,
            Err(RecvTimeoutError::Disconnected) => Outcome::Lost,
        }
    }

    /// How long it has gone on.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether its thread has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, os::unix::net::UnixStream};

    use super::*;
    use crate::inspect::{Image, Process, inspect};

    const MOMENT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    /// A process whose executable is on a file system that hangs until the other end of the socket is closed.
    struct Hung(UnixStream);

    impl Process for Hung {
        fn executable(&self) -> Result<Box<dyn Image>, String> {
            let mut byte = [0];
            let read = (&self.0).read(&mut byte);
            Err(format!("the file system is back: {read:?}"))
        }

        fn maps(&self) -> Result<Vec<u8>, String> {
            Ok(Vec::new())
        }

        fn environ(&self) -> Result<Vec<u8>, String> {
            Ok(Vec::new())
        }

        fn arguments(&self) -> Result<Vec<u8>, String> {
            Ok(Vec::new())
        }

        fn file(&self, _path: &[u8]) -> Result<Box<dyn Image>, String> {
            Err("none".to_owned())
        }
    }

    #[test]
    fn a_hung_file_system_is_waited_for_no_longer_than_said_and_its_answer_comes_later() {
        let (file_system, hung) = UnixStream::pair().unwrap();
        let look = Aside::start(move || inspect(&Hung(hung))).unwrap();
        let begun = Instant::now();
        assert_eq!(look.wait(Duration::ZERO), Outcome::NotYet);
        assert_eq!(look.wait(MOMENT), Outcome::NotYet);
        // Not the hour that the file system may take; a busy machine may wake this thread late.
        assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
        assert!(!look.has_ended());
        assert!(look.elapsed() >= MOMENT);

        drop(file_system);
        let Outcome::Done(info) = look.wait(LONG) else {
            panic!("no answer");
        };
        let executable = |missing: &&crate::model::Missing| missing.what == "executable";
        let missing = info.missing.iter().find(executable).unwrap();
        assert!(missing.why.contains("is back"), "{}", missing.why);
    }

    #[test]
    fn what_nobody_waits_for_ends_by_itself() {
        let (file_system, hung) = UnixStream::pair().unwrap();
        let look = Aside::start(move || inspect(&Hung(hung))).unwrap();
        let Aside { result, thread, .. } = look;
        drop(result);
        assert!(!thread.is_finished());
        drop(file_system);
        thread.join().unwrap();
    }

    #[test]
    fn a_thread_that_dies_is_not_waited_for() {
        let look: Aside<()> = Aside::start(|| std::panic::resume_unwind(Box::new(()))).unwrap();
        assert_eq!(look.wait(LONG), Outcome::Lost);
    }
}
