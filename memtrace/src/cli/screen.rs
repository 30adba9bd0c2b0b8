//! The screen's edge: the terminal, and the thread that looks, draws and listens to keys.
//!
//! The terminal is taken and given back by two functions, which anything may call in any order: the thread, its end, a panic.

use std::{
    io::{self, BufWriter, IsTerminal, Stdout},
    panic,
    path::PathBuf,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use ratatui_core::{
    layout::{Position, Rect},
    terminal::Terminal,
};
use ratatui_crossterm::{
    CrosstermBackend,
    crossterm::{
        cursor::{Hide, Show},
        event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
        execute,
        style::force_color_output,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};
use rustix::{
    process::{Signal, getpgrp, getsid, kill_current_process_group},
    termios::tcgetpgrp,
};
use signal_hook::{
    consts::{SIGCONT, SIGTSTP},
    flag,
    low_level::emulate_default_handler,
};

use super::{
    args::{Color, Options},
    feed::{Command, Viewer},
    shared::is_stdout,
};
use crate::{
    text::time::in_a_name,
    view::screen::{Action, Key, Look, Palette, Screen},
};

/// How long a key, a change or the end may wait.
const PATIENCE: Duration = Duration::from_millis(50);
/// Least time between two pictures of a capture that goes on: nobody reads faster.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a picture that are written at once.
const PICTURE: usize = 64 << 10;

/// Whether the terminal is the screen's at this moment.
static TAKEN: AtomicBool = AtomicBool::new(false);
static PANICS: Once = Once::new();

/// What the screen may use; `None` where there is to be none. `terminal`: whether it is memtrace's own, and not that of a program
/// that it starts.
pub fn wanted(options: &Options, terminal: bool) -> Option<Look> {
    let term = variable("TERM");
    let carries_json = options.json.as_ref().is_some_and(|path| is_stdout(path));
    if !terminal
        || options.plain
        || options.quiet
        || options.bpf_log
        || carries_json
        || options.events.on_stdout()
        || matches!(term.as_str(), "" | "dumb")
        || !io::stdin().is_terminal()
        || !io::stdout().is_terminal()
        || terminal_size::terminal_size().is_none()
        || !in_foreground()
    {
        return None;
    }
    let colours = match options.color {
        Color::Never => false,
        Color::Always => true,
        Color::Auto => variable("NO_COLOR").is_empty(),
    };
    Some(Look::of(colours, &term, &variable("COLORTERM"), &locale()))
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// The one that says which letters there are.
fn locale() -> String {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"];
    names
        .into_iter()
        .map(variable)
        .find(|value| !value.is_empty())
        .unwrap_or_default()
}

/// A job in the background is stopped where it changes the terminal.
fn in_foreground() -> bool {
    tcgetpgrp(io::stdout()).is_ok_and(|group| group == getpgrp())
}

/// Takes the terminal.
fn take() -> io::Result<()> {
    PANICS.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, Hide)
}

/// Gives the terminal back as it was, where it is taken.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // There is nothing to be done about a terminal that is gone.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// The screen while it is shown. At its end the terminal is as it was.
pub struct Shown {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Shown {
    /// Ends it.
    pub fn end(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        give_back();
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.end();
    }
}

/// Shows it, in a thread of its own. `address`: where a browser sees the same.
pub fn show(look: Look, viewer: Viewer, address: Option<String>) -> anyhow::Result<Shown> {
    let end = Arc::new(AtomicBool::new(false));
    let signals = Signals::listen().context("cannot listen for signals")?;
    // The library looks at NO_COLOR by itself; `--color always` outweighs it.
    force_color_output(look.palette != Palette::Mono);
    take()
        .inspect_err(|_| give_back())
        .context("cannot take the terminal; try --plain")?;
    let mut showing = Showing {
        screen: Screen::new(look).with_address(address),
        viewer,
        end: Arc::clone(&end),
        signals,
    };
    let thread = thread::Builder::new()
        .name("screen".to_owned())
        .spawn(move || {
            let shown = showing.run();
            give_back();
            showing.signals.over.store(true, Ordering::SeqCst);
            if let Err(error) = shown {
                super::output::say(&format!("memtrace: the screen has ended: {error}"));
            }
            // Also where it has failed: who cannot see anything cannot end anything.
            showing.viewer.ask(Command::Quit);
        });
    Ok(Shown {
        end,
        thread: Some(
            thread
                .inspect_err(|_| give_back())
                .context("cannot start a thread")?,
        ),
    })
}

/// What a shell does with a job.
struct Signals {
    /// It is to stop.
    stop: Arc<AtomicBool>,
    /// It goes on.
    go_on: Arc<AtomicBool>,
    /// The screen has ended: they do what they do to any program.
    over: Arc<AtomicBool>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let signals = Self {
            stop: Arc::default(),
            go_on: Arc::default(),
            over: Arc::default(),
        };
        flag::register_conditional_default(SIGTSTP, Arc::clone(&signals.over))?;
        flag::register(SIGTSTP, Arc::clone(&signals.stop))?;
        flag::register(SIGCONT, Arc::clone(&signals.go_on))?;
        Ok(signals)
    }
}

struct Showing {
    screen: Screen,
    viewer: Viewer,
    end: Arc<AtomicBool>,
    signals: Signals,
}

type Picture = Terminal<CrosstermBackend<BufWriter<Stdout>>>;

/// Clears the terminal, so that the next picture is drawn whole. `Terminal::clear` asks the terminal where its cursor is, and fails
/// where that takes 2 s: on a slow line, and where nobody answers.
fn anew(terminal: &mut Picture) -> io::Result<()> {
    let size = terminal.size()?;
    terminal.resize(Rect::from((Position::ORIGIN, size)))
}

impl Showing {
    /// Until somebody wants its end, or the capture's.
    fn run(&mut self) -> io::Result<()> {
        let out = BufWriter::with_capacity(PICTURE, io::stdout());
        let mut terminal = Terminal::new(CrosstermBackend::new(out))?;
        let mut drawn: Option<Instant> = None;
        let mut changed = true;
        while !self.end.load(Ordering::SeqCst) {
            self.shell(&mut terminal, &mut changed)?;
            let revision = self.viewer.look(|live| live.revision);
            let is_time = drawn.is_none_or(|drawn| drawn.elapsed() >= PAUSE);
            if changed || (is_time && self.screen.revision() != Some(revision)) {
                self.draw(&mut terminal)?;
                drawn = Some(Instant::now());
                changed = false;
            }
            if !event::poll(PATIENCE)? {
                continue;
            }
            // All that has come, before the next picture.
            loop {
                match event::read()? {
                    Event::Key(key) => match self.key(key, &mut changed)? {
                        Action::Quit => return Ok(()),
                        Action::Redraw => anew(&mut terminal)?,
                        _ => {}
                    },
                    Event::Resize(..) => changed = true,
                    _ => {}
                }
                if !event::poll(Duration::ZERO)? {
                    break;
                }
            }
        }
        Ok(())
    }

    fn draw(&mut self, terminal: &mut Picture) -> io::Result<()> {
        let width = terminal.size()?.width;
        let screen = &mut self.screen;
        self.viewer.look(|live| screen.look_at(live, width));
        if TAKEN.load(Ordering::SeqCst) {
            terminal.draw(|frame| screen.draw(frame.buffer_mut()))?;
        }
        Ok(())
    }

    /// Does what a shell wants of a job.
    fn shell(&self, terminal: &mut Picture, changed: &mut bool) -> io::Result<()> {
        let stop = self.signals.stop.swap(false, Ordering::SeqCst);
        if stop {
            give_back();
            emulate_default_handler(SIGTSTP)?;
        }
        let goes_on = self.signals.go_on.swap(false, Ordering::SeqCst);
        if stop || goes_on {
            // Whatever the terminal was used for meanwhile.
            give_back();
            take()?;
            anew(terminal)?;
            *changed = true;
        }
        Ok(())
    }

    fn key(&mut self, event: KeyEvent, changed: &mut bool) -> io::Result<Action> {
        let Some(key) = known(event) else {
            return Ok(Action::None);
        };
        let action = self.screen.key(key);
        match action {
            Action::Draw | Action::Redraw => *changed = true,
            // Without a shell there is nobody to go on with it.
            Action::Suspend if getsid(None).is_ok_and(|leader| leader == getpgrp()) => {}
            Action::Suspend => kill_current_process_group(Signal::TSTP).map_err(io::Error::from)?,
            Action::Save => self.viewer.ask(Command::Save(self.path())),
            Action::Interval(interval) => self.viewer.ask(Command::Interval(interval)),
            Action::Quit | Action::None => {}
        }
        Ok(action)
    }

    /// Where a capture is saved: in the current folder, under a name of this moment.
    fn path(&self) -> PathBuf {
        let now = in_a_name(SystemTime::now()).unwrap_or_default();
        let pid = self.screen.pid().unwrap_or_default();
        PathBuf::from(format!("memtrace-{pid}-{now}.json"))
    }
}

/// Keys that mean something.
fn known(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        return match event.code {
            KeyCode::Char('c') => Some(Key::Interrupt),
            KeyCode::Char('z') => Some(Key::Suspend),
            KeyCode::Char('l') => Some(Key::Redraw),
            _ => None,
        };
    }
    Some(match event.code {
        KeyCode::Char(letter) => Key::Char(letter),
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Esc => Key::Escape,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read, process::Stdio};

    use nix::{pty::openpty, sys::termios::tcgetattr};

    use super::*;

    #[test]
    fn a_terminal_is_given_back_after_a_panic() {
        let pty = openpty(None, None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let stdio = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "cli::screen::tests::takes_it_and_panics",
                "--ignored",
                "--nocapture",
            ])
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        let mut master = File::from(pty.master);
        let reader = thread::spawn(move || {
            let mut seen = Vec::new();
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = master.read(&mut part) {
                seen.extend_from_slice(&part[..count]);
            }
            String::from_utf8_lossy(&seen).into_owned()
        });
        assert!(!child.wait().unwrap().success());
        assert_eq!(tcgetattr(&pty.slave).unwrap(), before);
        drop(pty.slave);
        let seen = reader.join().unwrap();
        let place = |what: &str| {
            seen.find(what)
                .unwrap_or_else(|| panic!("no {what:?} in {seen:?}"))
        };
        assert!(place("\u{1b}[?1049h") < place("\u{1b}[?1049l"));
        assert!(place("\u{1b}[?25l") < place("\u{1b}[?25h"));
        // The message is read on the screen that stays.
        assert!(place("\u{1b}[?1049l") < place("it is to be seen"));
    }

    #[test]
    #[ignore = "it panics; the test above runs it, on a terminal of its own"]
    fn takes_it_and_panics() {
        take().unwrap();
        panic!("it is to be seen");
    }
}
