//! A headless Chromium, driven by the DevTools protocol over two pipes (`--remote-debugging-pipe`): messages are JSON, each ended by a 0.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Until a browser on a busy machine is taken to be stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A page of its own in a browser of its own; both end with the value.
pub struct Chromium {
    browser: Child,
    _profile: tempfile::TempDir,
    to: File,
    from: Receiver<Value>,
    session: Option<String>,
    last_id: u64,
    /// What went wrong on the page: errors on its console, and what its Content-Security-Policy refused.
    pub complaints: Vec<String>,
    /// What the page has asked for, by its URL.
    pub requests: Vec<String>,
}

impl Chromium {
    /// Starts it. Without one it says so aloud, and fails where it must be there.
    pub fn start() -> Option<Self> {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let found = names.iter().find(|name| {
            let version = Command::new(name)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            version.is_ok_and(|status| status.success())
        });
        let Some(name) = found else {
            assert!(
                std::env::var_os("MEMTRACE_REQUIRE_RUNTIMES").is_none(),
                "this must run here, and cannot: there is no chromium; apt-get install chromium"
            );
            eprintln!("skipped: there is no chromium; apt-get install chromium");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let (their_in, to) = nix::unistd::pipe().unwrap();
        let (from, their_out) = nix::unistd::pipe().unwrap();
        let mut command = Command::new(name);
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .args(["--disable-extensions", "--disable-sync", "--mute-audio"])
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let theirs = [their_in.as_raw_fd(), their_out.as_raw_fd()];
        // SAFETY: between fork and exec, system calls alone. Both are moved out of the way first: they may be 3 or 4 themselves.
        unsafe {
            command.pre_exec(move || {
                let apart = theirs.map(|fd| libc::fcntl(fd, libc::F_DUPFD, 10));
                for (fd, wanted) in apart.into_iter().zip([3, 4]) {
                    if libc::dup2(fd, wanted) < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                    libc::close(fd);
                }
                Ok(())
            });
        }
        // What the browser has must not stay open here: its end is seen by that.
        for own in [&to, &from] {
            let flags = nix::fcntl::FdFlag::FD_CLOEXEC;
            nix::fcntl::fcntl(own, nix::fcntl::FcntlArg::F_SETFD(flags)).unwrap();
        }
        let browser = command.spawn().unwrap();
        drop((their_in, their_out));
        let mut page = Self {
            browser,
            _profile: profile,
            to: File::from(to),
            from: messages(from),
            session: None,
            last_id: 0,
            complaints: Vec::new(),
            requests: Vec::new(),
        };
        let target = page.call("Target.createTarget", &json!({"url": "about:blank"}));
        let wanted = json!({"targetId": target["targetId"], "flatten": true});
        let attached = page.call("Target.attachToTarget", &wanted);
        page.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network", "Audits"] {
            page.call(&format!("{domain}.enable"), &json!({}));
        }
        // Tall, so that what the mouse is to reach is in sight.
        let window =
            json!({"width": 1280, "height": 1600, "deviceScaleFactor": 1, "mobile": false});
        page.call("Emulation.setDeviceMetricsOverride", &window);
        Some(page)
    }

    /// Calls a method of the protocol, and returns its result.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to
            .write_all(format!("{message}\0").as_bytes())
            .unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let message = self
                .from
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("no answer to {method}"));
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let told = &message["params"];
        match message["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                let url = told["request"]["url"].as_str().unwrap();
                self.requests.push(url.to_owned());
            }
            Some("Runtime.exceptionThrown") => self.complaints.push(told.to_string()),
            Some("Audits.issueAdded") if told["issue"]["code"] == "ContentSecurityPolicyIssue" => {
                self.complaints.push(told.to_string());
            }
            Some("Runtime.consoleAPICalled") if told["type"] == "error" => {
                self.complaints.push(told.to_string());
            }
            Some("Log.entryAdded") if told["entry"]["level"] == "error" => {
                self.complaints.push(told.to_string());
            }
            _ => {}
        }
    }

    /// Goes to a URL, and waits until the page is ready.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        // A change of the part behind # alone would not load it again.
        self.call("Page.navigate", &json!({"url": "about:blank"}));
        self.requests.clear();
        self.call("Page.navigate", &json!({"url": url}));
        self.wait("document.documentElement?.dataset.ready === '1'");
    }

    /// What an expression comes to.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let result = self.call("Runtime.evaluate", &parameters);
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {result}"
        );
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait(&mut self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        while self.eval(expression) != true {
            assert!(
                Instant::now() < end,
                "{expression} did not become true: {:?}",
                self.complaints
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Moves the mouse with its button pressed from one point of the window to another.
    pub fn drag(&mut self, from: (f64, f64), to: (f64, f64)) {
        for (kind, at, button) in [
            ("mouseMoved", from, "none"),
            ("mousePressed", from, "left"),
            ("mouseMoved", to, "left"),
            ("mouseReleased", to, "left"),
        ] {
            self.mouse(kind, at, button, 1);
        }
    }

    /// Something that the mouse does.
    pub fn mouse(&mut self, kind: &str, (x, y): (f64, f64), button: &str, clicks: u32) {
        let held = u32::from(button == "left" && kind != "mouseReleased");
        self.call(
            "Input.dispatchMouseEvent",
            &json!({"type": kind, "x": x, "y": y, "button": button, "buttons": held, "clickCount": clicks}),
        );
    }

    /// Presses a key.
    pub fn key(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call(
                "Input.dispatchKeyEvent",
                &json!({"type": kind, "key": key, "code": key}),
            );
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

/// Reads on, so that the browser never waits.
fn messages(from: OwnedFd) -> Receiver<Value> {
    let (told, heard) = channel();
    thread::spawn(move || {
        let mut from = BufReader::new(File::from(from));
        loop {
            let mut message = Vec::new();
            match from.read_until(0, &mut message) {
                Ok(read) if read > 0 && message.pop() == Some(0) => {
                    let message = serde_json::from_slice(&message).unwrap();
                    if told.send(message).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    });
    heard
}
