//! What is known of a capture while it goes on: what every live view shows.

use std::{collections::VecDeque, sync::Arc};

use super::History;
use crate::model::{Account, Capture, End, HostInfo, Tick};

/// Most lines of what was said.
const SAID: usize = 64;

/// What memtrace itself takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// CPU time of its process since it started, ns; `None` where it could not be read.
    pub cpu_ns: Option<u64>,
    /// RSS of its process, bytes.
    pub rss_bytes: Option<u64>,
    /// The highest RSS of its process, bytes.
    pub rss_peak_bytes: Option<u64>,
}

/// How a capture has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finished {
    /// As its account says.
    Regularly(End),
    /// memtrace could not go on.
    With(String),
}

/// A capture that goes on. In bounded memory.
#[derive(Clone, Debug)]
pub struct Live {
    /// The host.
    pub host: HostInfo,
    /// Time between ticks.
    pub interval_ns: u64,
    /// The timeline, over all epochs.
    pub history: History,
    /// The present epoch, as at one of the last ticks: the ledger, and what the answer would be. Renewed a few times a second at
    /// most. `end` is `interrupted` as long as it goes on.
    pub account: Arc<Account>,
    /// When that was, ns since the start of the capture.
    pub account_ns: u64,
    /// Number of the present epoch, from 0.
    pub epoch: u32,
    /// What memtrace takes.
    pub own: Own,
    /// What was said beside the figures, with the time; the newest ones.
    pub said: VecDeque<(u64, String)>,
    /// `None` as long as it goes on.
    pub ended: Option<Finished>,
    /// Changes with everything else.
    pub revision: u64,
}

impl Live {
    /// Begins with what is known before the first tick.
    #[must_use]
    pub fn new(host: HostInfo, interval_ns: u64, opening: Account) -> Self {
        let mut history = History::default();
        history.set_interval(interval_ns);
        Self {
            host,
            interval_ns,
            history,
            account: Arc::new(opening),
            account_ns: 0,
            epoch: 0,
            own: Own::default(),
            said: VecDeque::new(),
            ended: None,
            revision: 0,
        }
    }

    /// What was known at the last tick of a capture that has ended: for pictures of it. Nothing was said.
    #[must_use]
    pub fn replay(capture: &Capture) -> Self {
        let mut epochs = capture.earlier_epochs.iter().chain([&capture.epoch]);
        let mut live: Option<Self> = None;
        let mut at_ns = 0;
        for epoch in epochs.by_ref() {
            let account = Account {
                target: epoch.target.clone(),
                capture: epoch.capture.clone(),
                summary: epoch.summary.clone(),
                verdict: epoch.verdict.clone(),
            };
            let live = match &mut live {
                Some(live) => {
                    live.exec(at_ns, account.clone());
                    live
                }
                none => none.insert(Self::new(
                    capture.host.clone(),
                    epoch.capture.interval_ns,
                    account.clone(),
                )),
            };
            for tick in &epoch.timeline {
                live.tick(tick);
            }
            live.know(account, Own::default());
            at_ns = live.history.last_ns();
        }
        live.unwrap_or_else(|| {
            let account = capture.epoch.clone().into_account();
            Self::new(capture.host.clone(), 0, account)
        })
    }

    /// Another time between ticks.
    pub fn set_interval(&mut self, interval_ns: u64) {
        self.interval_ns = interval_ns;
        self.history.set_interval(interval_ns);
        self.revision += 1;
    }

    /// Notes a tick of the present epoch.
    pub fn tick(&mut self, tick: &Tick) {
        self.history.note(tick);
        self.revision += 1;
    }

    /// Notes what is known at the last tick.
    pub fn know(&mut self, account: Account, own: Own) {
        self.account = Arc::new(account);
        self.account_ns = self.history.last_ns();
        self.own = own;
        self.revision += 1;
    }

    /// Notes an exec, so long after the start of the capture.
    pub fn exec(&mut self, at_ns: u64, opening: Account) {
        self.history.exec(at_ns, &opening.target.comm);
        self.account = Arc::new(opening);
        self.account_ns = at_ns;
        self.epoch += 1;
        self.revision += 1;
    }

    /// Notes what is to be said to who looks.
    pub fn say(&mut self, text: String) {
        if self.said.len() == SAID {
            self.said.pop_front();
        }
        self.said.push_back((self.history.last_ns(), text));
        self.revision += 1;
    }

    /// Notes the end.
    pub fn end(&mut self, ended: Finished) {
        self.ended = Some(ended);
        self.revision += 1;
    }
}
