//! The live page in a real browser.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::client::{Served, serve};
use crate::{
    chromium::Chromium,
    common::{Guard, copy_program, needs_root, row, signal, sleeper},
};

fn browser() -> Option<Chromium> {
    if needs_root() {
        None
    } else {
        Chromium::start()
    }
}

fn url(served: &Served) -> String {
    format!("http://{}/?{}", served.at, served.query)
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

const ROWS: &str = "Number(document.getElementById('charts').dataset.rows)";
const ABOUT: &str = "document.getElementById('about').textContent";

/// Nothing went wrong on the page, and it asked nobody else for anything.
#[track_caller]
fn is_clean(page: &Chromium, served: &Served) {
    assert!(page.complaints.is_empty(), "{:?}", page.complaints);
    let origin = format!("http://{}/", served.at);
    for request in &page.requests {
        assert!(request.starts_with(&origin), "{request}");
    }
}

/// A number of the page's ledger, in full.
fn cell(page: &mut Chromium, cause: &str, column: &str) -> Value {
    page.eval(&format!(
        "(() => {{
            const table = document.querySelector('[data-panel=ledger] table');
            const place = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === '{column}');
            const row = [...table.tBodies[0].rows].find((row) => row.cells[0].textContent === '{cause}');
            return Number(row.cells[place].dataset.value);
        }})()"
    ))
}

#[test]
fn the_page_grows_and_ends_with_the_numbers_of_the_capture_file() {
    let Some(mut page) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("capture.json");
    let name = file.to_str().unwrap();
    let mut served = serve(&[
        "demo",
        "dontneed",
        "-i",
        "100ms",
        "-o",
        name,
        "--web",
        "127.0.0.1:0",
    ]);
    page.open(&url(&served));
    let first = page.eval(ROWS).as_u64().unwrap();
    page.wait(&format!("{ROWS} > {first} + 3"));
    assert!(page.eval(ABOUT).as_str().unwrap().contains("live"));
    // The chart is drawn: some of its pixels have a colour.
    page.wait(
        "(() => {
            const canvas = document.querySelector('#chart-lines canvas');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            return data.some((byte) => byte !== 0);
        })()",
    );
    page.wait(&format!("!{ABOUT}.includes('live')"));
    assert!(served.memtrace.0.wait().unwrap().success());

    let capture = read(&file);
    let ticks = capture["timeline"].as_array().unwrap();
    page.wait(&format!("{ROWS} === {}", ticks.len()));
    let rss = page.eval("document.querySelector('#readout tr[data-key=rss] td').dataset.value");
    let last = ticks.last().unwrap()["rss_bytes"].to_string();
    assert_eq!(rss.as_str(), Some(last.as_str()));
    for (cause, advice, name) in [
        ("fault", None, "fault"),
        ("madvise", Some("MADV_DONTNEED"), "madvise DONTNEED"),
    ] {
        let row = row(&capture, cause, advice);
        assert_eq!(cell(&mut page, name, "RSS"), row["rss_delta_bytes"]);
    }
    // It stays readable, and asks no more.
    let asked = page.requests.len();
    thread::sleep(Duration::from_secs(3));
    assert!(page.eval(ROWS).as_u64().unwrap() > first);
    assert_eq!(page.requests.len(), asked);
    is_clean(&page, &served);
}

#[test]
fn a_hostile_name_does_no_harm() {
    let Some(mut page) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("<img src=x:x>\n");
    copy_program("/bin/sleep", &program);
    let target = Command::new(&program)
        .arg("1000")
        .stdin(Stdio::null())
        .spawn();
    let target = Guard(target.unwrap());
    let pid = target.0.id().to_string();
    let served = serve(&["-p", &pid, "-i", "100ms", "--web", "127.0.0.1:0"]);
    page.open(&url(&served));
    page.wait(&format!("{ROWS} > 3"));
    let name = page.eval("document.getElementById('name').textContent");
    assert!(name.as_str().unwrap().contains("<img src=x:x>"), "{name}");
    assert_eq!(page.eval("document.querySelectorAll('img').length"), 0);
    is_clean(&page, &served);
}

/// Between the browser and memtrace, to be cut.
struct Between {
    at: String,
    sockets: Arc<Mutex<Vec<TcpStream>>>,
}

impl Between {
    fn new(served: &Served) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let sockets = Arc::new(Mutex::new(Vec::new()));
        let (open, ours, theirs) = (Arc::clone(&sockets), at.clone(), served.at.clone());
        thread::spawn(move || {
            for browser in listener.incoming().map_while(Result::ok) {
                let Ok(memtrace) = TcpStream::connect(&theirs) else {
                    continue;
                };
                let both = [&browser, &memtrace].map(|socket| socket.try_clone().unwrap());
                open.lock().unwrap().extend(both);
                let (ours, theirs) = (ours.clone(), theirs.clone());
                thread::spawn(move || carry(browser, memtrace, &ours, &theirs));
            }
        });
        Self { at, sockets }
    }

    fn cut(&self) {
        for socket in self.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// One request, under the name that memtrace answers to, and its answer.
fn carry(mut browser: TcpStream, mut memtrace: TcpStream, ours: &str, theirs: &str) {
    let mut request = Vec::new();
    let mut part = [0; 4096];
    while !request.ends_with(b"\r\n\r\n") {
        match browser.read(&mut part) {
            Ok(read) if read > 0 => request.extend_from_slice(&part[..read]),
            _ => return,
        }
    }
    let request = String::from_utf8(request).unwrap().replace(ours, theirs);
    if memtrace.write_all(request.as_bytes()).is_ok() {
        let _ = std::io::copy(&mut memtrace, &mut browser);
        let _ = browser.shutdown(Shutdown::Both);
    }
}

#[test]
fn a_lost_connection_is_made_again_and_nothing_is_told_twice() {
    let Some(mut page) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("capture.json");
    let name = file.to_str().unwrap();
    let target = sleeper();
    let pid = target.0.id().to_string();
    let mut served = serve(&[
        "-p",
        &pid,
        "-i",
        "100ms",
        "-o",
        name,
        "--web",
        "127.0.0.1:0",
    ]);
    let between = Between::new(&served);
    page.open(&format!("http://{}/?{}", between.at, served.query));
    page.wait(&format!("{ROWS} > 5"));
    between.cut();
    page.wait(&format!("{ABOUT}.includes('trying again')"));
    page.wait(&format!("!{ABOUT}.includes('trying again')"));
    // Which includes what happened meanwhile.
    signal(&served.memtrace.0, libc::SIGINT);
    page.wait(&format!("!{ABOUT}.includes('live')"));
    assert!(served.memtrace.0.wait().unwrap().success());
    let ticks = read(&file)["timeline"].as_array().unwrap().len();
    page.wait(&format!("{ROWS} === {ticks}"));
}

#[test]
fn a_page_whose_memtrace_has_gone_says_so_and_is_not_let_in_by_the_next_one() {
    let Some(mut page) = browser() else { return };
    let target = sleeper();
    let pid = target.0.id().to_string();
    let mut served = serve(&["-p", &pid, "-i", "100ms", "--web", "127.0.0.1:0"]);
    page.open(&url(&served));
    page.wait(&format!("{ROWS} > 3"));
    served.memtrace.0.kill().unwrap();
    served.memtrace.0.wait().unwrap();
    page.wait(&format!("{ABOUT}.includes('trying again')"));
    let asked = page.requests.len();
    thread::sleep(Duration::from_secs(5));
    page.eval("1");
    // Every 2 s.
    assert!(page.requests.len() <= asked + 4, "{:?}", page.requests);
    let next = serve(&["-p", &pid, "-i", "100ms", "--web", &served.at]);
    assert_eq!(next.at, served.at);
    page.wait(&format!("{ABOUT}.includes('lets nobody in')"));
}
