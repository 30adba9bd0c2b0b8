//! Connections: a bounded number of them, each for one request, and none for longer than it is of use.

use std::{convert::Infallible, future::ready, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;

use super::routes::Routes;

/// Most connections that are served.
const SOCKETS: usize = 32;
/// As many more are told that they are too many. Others wait in the kernel.
const SPARE: usize = 8;
/// Within this time a request's headers are there.
const HEADERS: Duration = Duration::from_secs(5);
/// So long may a visitor read nothing of what is sent.
const STUCK: Duration = Duration::from_secs(10);
/// So long, in ms, may the network acknowledge nothing of it.
const SILENT_MS: u32 = 20_000;
/// Request line and headers, bytes; the least that hyper takes.
const REQUEST: usize = 8192;
/// Most headers. Browsers send about 15.
const FIELDS: usize = 64;
/// So long may visitors take to read the end.
const FAREWELL: Duration = Duration::from_secs(1);
/// After a failed accept: no descriptor is free, or no memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` says so, and then what is under way for [`FAREWELL`].
pub async fn serve(listener: TcpListener, routes: Arc<Routes>, mut stop: watch::Receiver<bool>) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = open.join_next() => continue,
            accepted = listener.accept(), if open.len() < SOCKETS + SPARE => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                let crowded = open.len() >= SOCKETS;
                open.spawn(connection(socket, routes.clone(), crowded, stop.clone()));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
    drop(listener);
    let _ = timeout(FAREWELL, async {
        while open.join_next().await.is_some() {}
    })
    .await;
}

async fn connection(
    socket: TcpStream,
    routes: Arc<Routes>,
    crowded: bool,
    mut stop: watch::Receiver<bool>,
) {
    // Without them it is slower, or later to see who has gone.
    let _ = socket.set_nodelay(true);
    let _ = set_tcp_user_timeout(&socket, SILENT_MS);
    let mut stream = TimeoutStream::new(socket);
    stream.set_write_timeout(Some(STUCK));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .keep_alive(false)
        .max_buf_size(REQUEST)
        .max_headers(FIELDS);
    let service =
        service_fn(|request| ready(Ok::<_, Infallible>(routes.answer(&request, crowded))));
    let served = builder.serve_connection(TokioIo::new(Box::pin(stream)), service);
    tokio::pin!(served);
    // An error here is a visitor's: gone, stuck, or not speaking HTTP.
    tokio::select! {
        _ = &mut served => return,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = served.await;
}
