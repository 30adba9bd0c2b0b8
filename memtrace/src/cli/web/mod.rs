//! `--web`: the capture while it goes on, in a browser. One thread, which exists only where that is asked for.

mod address;
mod connections;
mod guard;
mod routes;
mod source;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, bail};
use rustix::{net::sockopt::set_socket_send_buffer_size, system::uname};
use tokio::sync::watch;

pub use address::{DEFAULT, address};
use guard::{Guard, PARAMETER, Token};
use routes::Routes;
use source::Source;

use super::feed::Viewer;
use crate::view::page::{content_security_policy, document};

/// What the kernel keeps for a visitor that does not read, bytes. It would be some MiB.
const SEND_BUFFER: usize = 256 << 10;

/// A port that is listened at, and not served yet: who connects, waits.
#[derive(Debug)]
pub struct Web {
    listener: TcpListener,
    bound: SocketAddr,
    host_name: Option<String>,
    token: Token,
}

impl Web {
    /// Listens there. Before anything is attached, and before privileges are given up: some ports are root's.
    ///
    /// # Errors
    ///
    /// Where that is not possible, with what to type.
    pub fn open(wanted: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(wanted).or_else(|error| refused(wanted, &error))?;
        let context = "cannot prepare the web page's port";
        listener.set_nonblocking(true).context(context)?;
        set_socket_send_buffer_size(&listener, SEND_BUFFER).context(context)?;
        let bound = listener.local_addr().context(context)?;
        let token = Token::new().context("the kernel gives no random numbers")?;
        Ok(Self {
            listener,
            bound,
            host_name: host_name(),
            token,
        })
    }

    /// Where the page is, with the token: for who started memtrace, and nobody else.
    #[must_use]
    pub fn url(&self) -> String {
        let origin = address::origin(self.bound, self.host_name.as_deref());
        format!("{origin}/?{PARAMETER}={}", self.token.in_url())
    }

    /// What is to be known before others see the page.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        (!self.bound.ip().is_loopback()).then_some(
            "other hosts can reach the page; who has this URL sees it, and so does who reads along: it is not encrypted",
        )
    }

    /// Serves what `viewer` sees, in a thread of its own.
    ///
    /// # Errors
    ///
    /// Where there can be no thread, or no event loop.
    pub fn serve(self, viewer: Viewer) -> anyhow::Result<Serving> {
        let (stop, stopped) = watch::channel(false);
        let policy = content_security_policy(true);
        let guard = Guard::new(self.bound, self.host_name, self.token);
        let source = Arc::new(Source::new(viewer, stopped.clone()));
        let routes = Arc::new(Routes::new(source, guard, document(None), &policy)?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the web page's event loop")?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(self.listener)
                .context("cannot watch the web page's port")?
        };
        let serve = move || runtime.block_on(connections::serve(listener, routes, stopped));
        let thread = thread::Builder::new()
            .name("web".to_owned())
            .spawn(serve)
            .context("cannot start the web page's thread")?;
        Ok(Serving {
            stop,
            thread: Some(thread),
        })
    }
}

/// A page that is served until this is dropped; its visitors get a moment to read the end.
#[derive(Debug)]
pub struct Serving {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn refused(wanted: SocketAddr, error: &io::Error) -> anyhow::Result<TcpListener> {
    let ip = match wanted {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => bail!(
            "--web: port {} of {ip} is in use, perhaps by another memtrace; for any free port, type: --web {ip}:0; to see who has it: ss -ltnp 'sport = :{}'",
            wanted.port(),
            wanted.port()
        ),
        io::ErrorKind::AddrNotAvailable => bail!(
            "--web: {ip} is no address of this host; for this host alone, type: --web; for every address, --web 0.0.0.0:{}",
            wanted.port()
        ),
        io::ErrorKind::PermissionDenied => bail!(
            "--web: this user may not listen at port {}; ports from 1024 are free, such as --web {ip}:{}",
            wanted.port(),
            address::PORT
        ),
        _ => bail!("--web: cannot listen at {wanted}: {error}"),
    }
}

/// This host's name, where it can stand in a URL.
fn host_name() -> Option<String> {
    let names = uname();
    let name = names.nodename().to_str().ok()?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.');
    (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
}
