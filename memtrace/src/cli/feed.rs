//! Between the capture and the views that show it while it goes on, each in a thread of its own. The capture writes what it
//! knows; a view looks when it wants to, so that one that is slow or stuck costs the capture nothing.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use crate::{model::Account, timeline::Live};

/// What a view asks of the capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// End it, as Ctrl-C does.
    Quit,
    /// Another time between ticks.
    Interval(Duration),
    /// Write a capture file of everything so far.
    Save(PathBuf),
}

/// The capture's end.
#[derive(Debug)]
pub struct Feed {
    live: Arc<Mutex<Live>>,
    changed: watch::Sender<u64>,
}

/// A view's end.
#[derive(Clone, Debug)]
pub struct Viewer {
    live: Arc<Mutex<Live>>,
    changed: watch::Receiver<u64>,
    commands: mpsc::UnboundedSender<Command>,
}

/// What is known so far, the end that the capture has of it, what views are made of, and what they ask for.
pub fn feed(live: Live) -> (Feed, Viewer, mpsc::UnboundedReceiver<Command>) {
    let live = Arc::new(Mutex::new(live));
    let (changed, seen) = watch::channel(0);
    let (commands, asked) = mpsc::unbounded_channel();
    let viewer = Viewer {
        live: Arc::clone(&live),
        changed: seen,
        commands,
    };
    (Feed { live, changed }, viewer, asked)
}

/// A view that has panicked has changed nothing of it.
fn locked(live: &Mutex<Live>) -> MutexGuard<'_, Live> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feed {
    /// Writes to it, and wakes who waits.
    pub fn write(&self, change: impl FnOnce(&mut Live)) {
        let mut live = locked(&self.live);
        change(&mut live);
        let revision = live.revision;
        drop(live);
        self.changed.send_replace(revision);
    }

    /// The account that was told last.
    pub fn account(&self) -> Account {
        locked(&self.live).account.as_ref().clone()
    }
}

impl Viewer {
    /// Looks at it. The capture waits meanwhile: what takes more than some ms works on a copy.
    pub fn look<T>(&self, look: impl FnOnce(&Live) -> T) -> T {
        look(&locked(&self.live))
    }

    /// Tells all views something beside the figures.
    pub fn say(&self, text: String) {
        locked(&self.live).say(text);
    }

    /// Waits until something has changed; `false` where nothing will any more.
    pub async fn changed(&mut self) -> bool {
        self.changed.changed().await.is_ok()
    }

    /// Asks the capture for something. After its end, nobody minds.
    pub fn ask(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}
