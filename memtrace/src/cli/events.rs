//! `--events FILE`: single calls, read by a thread of their own, so that a full pipe or a slow disk keeps nobody else waiting.
//!
//! While that thread waits, calls gather in the ring buffer; once it is full, the kernel side drops them, and counts them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;

use super::{event_options::EventOptions, output};
use crate::{
    capture::{Subject, host_info, target_info},
    export::events::{Batch, EventsFile},
    model::{CallLine, EVENTS_SCHEMA, EventsFilter, EventsHeader, EventsTrailer},
    privilege::invoker,
    probe::{
        Session,
        events::{CallEvents, RING_BYTES, Waker},
        monotonic_ns,
    },
    text::time::rfc3339,
};

/// How long nothing may be taken of the last lines, once the capture has ended, until they are given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where events go, before anything is traced.
pub struct Events {
    file: Option<EventsFile>,
    filter: EventsFilter,
}

impl Events {
    /// Makes sure that they can go there. That no other output does was seen to before.
    pub fn open(options: &EventOptions) -> anyhow::Result<Self> {
        let filter = options.filter();
        let file = match &options.events {
            None => None,
            Some(_) if options.on_stdout() => {
                let file = EventsFile::descriptor(io::stdout());
                Some(file.context("cannot write events to standard output")?)
            }
            Some(path) => Some(EventsFile::create(path, invoker().as_ref())?),
        };
        Ok(Self { file, filter })
    }

    /// Everything is attached: the file gets its name.
    pub fn begin(self, session: &mut Session) -> anyhow::Result<Begun> {
        let Some(mut file) = self.file else {
            return Ok(Begun(None));
        };
        let events = session
            .call_events()
            .context("cannot read single events")?
            .context("cannot read single events: nothing tells them")?;
        file.begin(invoker().as_ref())?;
        let reader = Reader {
            page_size: session.host().page_size,
            events,
            file,
            batch: Batch::default(),
            stop_ns: Arc::new(AtomicU64::new(0)),
            moved_ns: Arc::new(AtomicU64::new(0)),
            trailer: EventsTrailer::default(),
            unwritten: 0,
            has_header: false,
            error: None,
        };
        Ok(Begun(Some((reader, self.filter))))
    }
}

fn header(
    session: &Session,
    subject: &Subject,
    filter: EventsFilter,
) -> anyhow::Result<EventsHeader> {
    let since = monotonic_ns().saturating_sub(session.read(0)?.begin_ns);
    let started_at = SystemTime::now() - Duration::from_nanos(since);
    Ok(EventsHeader {
        schema: EVENTS_SCHEMA.to_owned(),
        started_at: rfc3339(started_at).unwrap_or_default(),
        mode: session.mode(),
        host: host_info(session),
        target: target_info(&subject.target, &subject.gauges),
        hooked: session
            .hooks()
            .iter()
            .filter(|hook| hook.is_call() && hook.kind.is_some())
            .map(|hook| hook.name.to_owned())
            .collect(),
        filter,
    })
}

/// Events that nobody reads yet.
pub struct Begun(Option<(Reader, EventsFilter)>);

impl Begun {
    /// Writes the first line, and starts the thread, with the privileges that memtrace has by now.
    pub fn start(self, session: &Session, subject: &mut Subject) -> anyhow::Result<Running> {
        let Some((mut reader, filter)) = self.0 else {
            return Ok(Running(None));
        };
        subject.gauges.wait_for_first();
        reader.batch.push(&header(session, subject, filter)?);
        let (name, stop_ns) = (reader.file.name(), Arc::clone(&reader.stop_ns));
        let moved_ns = Arc::clone(&reader.moved_ns);
        let waker = reader.events.waker();
        let (sender, ended) = mpsc::channel();
        thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || {
                let _ = sender.send(reader.run());
            })
            .context("cannot start the thread that reads single events")?;
        Ok(Running(Some(Thread {
            name,
            stop_ns,
            moved_ns,
            waker,
            ended,
        })))
    }
}

/// What came of the file.
struct Written {
    trailer: EventsTrailer,
    /// It could not be written to its end, which has been said already.
    failed: bool,
}

/// Events that are being written.
pub struct Running(Option<Thread>);

struct Thread {
    name: String,
    stop_ns: Arc<AtomicU64>,
    moved_ns: Arc<AtomicU64>,
    waker: Waker,
    ended: Receiver<Written>,
}

impl Running {
    /// The capture has ended: writes what is left, and says what came of it. Whether the file is complete, where there is one.
    pub fn finish(mut self) -> bool {
        self.0.take().is_none_or(Thread::finish)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            thread.finish();
        }
    }
}

impl Thread {
    fn finish(self) -> bool {
        self.stop_ns.store(monotonic_ns().max(1), Relaxed);
        self.waker.wake();
        let written = loop {
            let before = self.moved_ns.load(Relaxed);
            match self.ended.recv_timeout(PATIENCE * 2) {
                Ok(written) => break Some(written),
                // It is slow, and goes on.
                Err(RecvTimeoutError::Timeout) if self.moved_ns.load(Relaxed) != before => {}
                Err(_) => break None,
            }
        };
        let Some(Written { trailer, failed }) = written else {
            output::say(&format!(
                "memtrace: events: {} does not take what is to be written; it ends in the midst, without its last line",
                self.name
            ));
            return false;
        };
        let EventsTrailer {
            written,
            filtered,
            dropped,
            complete,
        } = trailer;
        let more = match (complete, failed) {
            (true, _) => "",
            (false, true) => "; the file is incomplete",
            (false, false) => {
                "; the file is incomplete: for fewer events, give --events-min-bytes or --events-calls"
            }
        };
        output::say(&format!(
            "memtrace: events: {written} written to {}, {filtered} left out by the filter, {dropped} dropped{more}",
            self.name
        ));
        complete
    }
}

/// The thread's own.
struct Reader {
    events: CallEvents,
    file: EventsFile,
    batch: Batch,
    page_size: u64,
    /// When the capture ended, by `CLOCK_MONOTONIC`; 0 while it goes on.
    stop_ns: Arc<AtomicU64>,
    /// When lines were written last, by the same clock.
    moved_ns: Arc<AtomicU64>,
    trailer: EventsTrailer,
    /// Calls that were read, and are in no file.
    unwritten: u64,
    has_header: bool,
    error: Option<String>,
}

impl Reader {
    fn run(mut self) -> Written {
        loop {
            let stop_ns = self.stop_ns.load(Relaxed);
            self.read(stop_ns);
            self.flush();
            if stop_ns != 0 {
                return self.end();
            }
            self.events.wait();
        }
    }

    /// Reads what waits. Of calls that ended after `stop_ns`, where that is not 0, the capture knows nothing.
    fn read(&mut self, stop_ns: u64) {
        // A target that goes on must not keep it for ever: not more than fits into the ring buffer.
        let mut left = RING_BYTES / 128;
        while let Some(event) = self.events.next() {
            let line = event.and_then(|event| {
                CallLine::of(&event, self.page_size, self.events.attached_ns())
                    .map(|line| (event, line))
            });
            match line {
                Some((event, _))
                    if stop_ns != 0 && event.at_ns.saturating_add(event.duration_ns) > stop_ns => {}
                Some((_, line)) if self.error.is_none() => self.batch.push(&line),
                _ => self.unwritten += 1,
            }
            if self.batch.is_full() {
                self.flush();
            }
            if stop_ns != 0 {
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
    }

    fn flush(&mut self) {
        if self.batch.count() == 0 {
            return;
        }
        let (stop_ns, begun) = (&self.stop_ns, monotonic_ns());
        let hopeless = || {
            let stopped = stop_ns.load(Relaxed);
            let patience = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
            stopped != 0 && monotonic_ns() > stopped.max(begun).saturating_add(patience)
        };
        let done = self.file.write(self.batch.bytes(), hopeless);
        self.moved_ns.store(monotonic_ns(), Relaxed);
        let calls = |lines: u64, header: bool| lines - u64::from(header && lines > 0);
        let is_first = !self.has_header;
        let written = calls(done.lines, is_first);
        self.trailer.written += written;
        self.unwritten += calls(self.batch.count(), is_first) - written;
        self.has_header = true;
        self.batch.clear();
        if let Some(error) = done.error {
            output::say(&format!(
                "memtrace: cannot write events to {}: {error}; {} were written, the capture goes on without",
                self.file.name(),
                self.trailer.written
            ));
            self.error = Some(error);
        }
    }

    fn end(mut self) -> Written {
        let counts = self.events.counts();
        if let Ok(counts) = &counts {
            self.trailer.filtered = counts.filtered;
            self.trailer.dropped = counts.dropped + self.unwritten;
        }
        self.trailer.complete = counts.is_ok() && self.error.is_none() && self.trailer.dropped == 0;
        let trailer = self.trailer;
        if counts.is_err() {
            // What is not known is not said; a file without its last line is incomplete.
            output::say("memtrace: events: it cannot be read how many were dropped");
        } else if self.error.is_none() {
            self.batch.push(&trailer);
            self.flush();
        }
        let failed = self.error.is_some();
        Written {
            trailer: EventsTrailer {
                complete: trailer.complete && !failed,
                ..trailer
            },
            failed,
        }
    }
}
