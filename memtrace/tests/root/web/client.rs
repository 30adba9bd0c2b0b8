//! A browser's part, by hand: requests as they are on the wire, and events as they come.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    process::{Child, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::common::{Guard, memtrace};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A memtrace that serves its page.
pub struct Served {
    pub memtrace: Guard,
    /// `127.0.0.1:4242`.
    pub at: String,
    /// `token=…`.
    pub query: String,
    /// What it has said to standard error, line by line.
    pub said: Receiver<String>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// By names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(known, _)| known == name)?;
        Some(value)
    }
}

/// Starts memtrace, and waits until it says where its page is.
pub fn serve(arguments: &[&str]) -> Served {
    let mut child = memtrace()
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = lines(&mut child);
    let mut all = String::new();
    loop {
        let line = said
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("no page: {all}"));
        if let Some((_, url)) = line.split_once("live page: http://") {
            let (at, query) = url.split_once("/?").unwrap();
            return Served {
                memtrace: Guard(child),
                at: at.to_owned(),
                query: query.to_owned(),
                said,
            };
        }
        all.push_str(&line);
    }
}

fn lines(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let error = BufReader::new(child.stderr.take().unwrap());
    thread::spawn(move || {
        for line in error.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Served {
    pub fn pid(&self) -> u32 {
        self.memtrace.0.id()
    }

    /// The port alone.
    pub fn port(&self) -> &str {
        self.at.rsplit_once(':').unwrap().1
    }

    pub fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(&self.at).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// Sends bytes as they are, and reads until the end.
    pub fn raw(&self, request: &str) -> Answer {
        let mut socket = self.connect();
        // One that is refused early may be closed before it is written whole.
        let _ = socket.write_all(request.as_bytes());
        answer(&mut BufReader::new(socket))
    }

    /// A request with a `Host` that is right.
    pub fn ask(&self, method: &str, target: &str) -> Answer {
        let host = &self.at;
        self.raw(&format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"
        ))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", &format!("{path}?{}", self.query))
    }

    /// Asks for the events, and reads none yet.
    pub fn visit(&self) -> Visitor {
        let mut socket = self.connect();
        self.ask_for_events(&mut socket);
        let mut reader = BufReader::new(socket);
        let head = head(&mut reader);
        Visitor {
            head,
            reader,
            pending: String::new(),
        }
    }

    pub fn ask_for_events(&self, socket: &mut TcpStream) {
        let Self { at, query, .. } = self;
        let request = format!("GET /events?{query} HTTP/1.1\r\nHost: {at}\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
    }
}

fn head(reader: &mut BufReader<TcpStream>) -> Answer {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("{line:?}"));
    let status = status.parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Answer {
        status,
        headers,
        body: String::new(),
    }
}

fn answer(reader: &mut BufReader<TcpStream>) -> Answer {
    let mut answer = head(reader);
    let mut body = Vec::new();
    let _ = reader.read_to_end(&mut body);
    answer.body = String::from_utf8(body).unwrap();
    answer
}

/// Who watches.
pub struct Visitor {
    pub head: Answer,
    reader: BufReader<TcpStream>,
    pending: String,
}

/// An event, of which a browser would hear.
#[derive(Debug)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

impl Visitor {
    /// The next event; `None` at the end. Checks that it is one line of JSON under a name.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.pending.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.pending = rest;
                if block.starts_with(':') || block.starts_with("retry: ") {
                    continue;
                }
                let (first, data) = block.split_once('\n').unwrap();
                let data = data.strip_prefix("data: ").unwrap();
                assert!(!data.contains(['\n', '\r']), "{data}");
                return Some(Event {
                    name: first.strip_prefix("event: ").unwrap().to_owned(),
                    data: serde_json::from_str(data).unwrap(),
                });
            }
            self.chunk()?;
        }
    }

    /// Everything until the end.
    pub fn rest(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next()).collect()
    }

    fn chunk(&mut self) -> Option<()> {
        let mut size = String::new();
        self.reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).ok()?;
        chunk.truncate(size);
        self.pending.push_str(&String::from_utf8(chunk).unwrap());
        (size > 0).then_some(())
    }

    pub fn leave(self) {
        let _ = self.reader.get_ref().shutdown(Shutdown::Both);
    }
}

/// Numbers as the page reads them: differences, and `[difference, n]` for n equal ones.
fn numbers(coded: &Value) -> Vec<Option<i64>> {
    let mut all = Vec::new();
    let mut last = 0;
    let mut push = |step: &Value| {
        all.push(step.as_i64().map(|step| {
            last += step;
            last
        }));
    };
    for step in coded.as_array().unwrap() {
        match step.as_array() {
            Some(run) => (0..run[1].as_u64().unwrap()).for_each(|_| push(&run[0])),
            None => push(step),
        }
    }
    all
}

/// The figures of some ticks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ticks {
    pub t_us: Vec<Option<i64>>,
    pub rss: Vec<Option<i64>>,
}

impl Ticks {
    /// What an event tells of.
    pub fn of(event: &Event) -> Self {
        let series = &event.data["series"];
        match series["rows"].as_u64().unwrap() {
            0 => Self::default(),
            _ => Self {
                t_us: numbers(&series["t_us"]),
                rss: numbers(&series["columns"]["rss"]),
            },
        }
    }

    /// What all of them tell of, one after the other.
    pub fn all<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut all = Self::default();
        for event in events {
            if event.name != "end" {
                let ticks = Self::of(event);
                all.t_us.extend(ticks.t_us);
                all.rss.extend(ticks.rss);
            }
        }
        all
    }

    /// What a capture file holds.
    pub fn in_file(capture: &Value) -> Self {
        let ticks = capture["timeline"].as_array().unwrap();
        let column = |of: &dyn Fn(&Value) -> i64| ticks.iter().map(|tick| Some(of(tick))).collect();
        Self {
            t_us: column(&|tick| tick["t_ns"].as_i64().unwrap() / 1000),
            rss: column(&|tick| tick["rss_bytes"].as_i64().unwrap()),
        }
    }
}
