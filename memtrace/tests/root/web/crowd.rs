//! Many visitors, and such as mean no good: none of them costs the capture anything.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde_json::Value;

use super::client::{Served, serve};
use crate::common::{needs_root, signal, sleeper};

const VISITORS: usize = 8;
const SOCKETS: usize = 32;

/// Waits until something is so, which it is to be within a time.
#[track_caller]
fn within(time: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + time;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not within {time:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn rss_kib(served: &Served) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", served.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// Connections that memtrace has accepted.
fn sockets(served: &Served) -> usize {
    let port = format!(":{:04X} ", served.port().parse::<u16>().unwrap());
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", served.pid())).unwrap();
    table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| format!("{} ", fields[1]).ends_with(&port))
        // 0A: it listens. Without an inode, nobody has accepted it, or it is closed.
        .filter(|fields| fields[3] != "0A" && fields[9] != "0")
        .count()
}

#[test]
fn a_ninth_visitor_is_told_so_and_gets_the_place_of_one_who_leaves() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let pid = target.0.id().to_string();
    let served = serve(&["-p", &pid, "-i", "100ms", "--web", "127.0.0.1:0"]);
    let mut visitors: Vec<_> = (0..VISITORS).map(|_| served.visit()).collect();
    for visitor in &mut visitors {
        assert_eq!(visitor.head.status, 200);
        assert_eq!(visitor.next().unwrap().name, "state");
    }
    let refused = served.get("/events");
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("8 visitors watch already"));
    // The page itself is there, and says it.
    assert_eq!(served.get("/").status, 200);
    visitors.pop().unwrap().leave();
    within(Duration::from_secs(5), "the place is free", || {
        let visitor = served.visit();
        let is_in = visitor.head.status == 200;
        visitor.leave();
        is_in
    });
    // The others have not noticed.
    for visitor in &mut visitors {
        assert_eq!(visitor.next().unwrap().name, "update");
    }
}

#[test]
fn connections_that_say_nothing_are_bounded_and_are_given_up() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let pid = target.0.id().to_string();
    let served = serve(&["-p", &pid, "--web", "127.0.0.1:0"]);
    let mut idle: Vec<TcpStream> = (0..SOCKETS).map(|_| served.connect()).collect();
    // One writes its request by and by.
    idle[0].write_all(b"GET / HT").unwrap();
    within(Duration::from_secs(3), "all are connected", || {
        sockets(&served) >= SOCKETS
    });
    let refused = served.get("/");
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("Too many connections"));
    idle.extend((0..200).map(|_| served.connect()));
    thread::sleep(Duration::from_millis(500));
    assert!(sockets(&served) <= SOCKETS + 8);
    idle.truncate(SOCKETS);
    within(Duration::from_secs(20), "there is room again", || {
        served.get("/").status == 200
    });
}

#[test]
fn who_does_not_read_is_dropped_and_delays_nothing() {
    if needs_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("capture.json");
    let name = file.to_str().unwrap();
    let target = sleeper();
    let pid = target.0.id().to_string();
    let mut served = serve(&["-p", &pid, "-i", "50ms", "-o", name, "--web", "127.0.0.1:0"]);
    let mut stuck = served.connect();
    set_socket_recv_buffer_size(&stuck, 4096).unwrap();
    served.ask_for_events(&mut stuck);
    let mut visitor = served.visit();
    let reading = thread::spawn(move || visitor.rest().len());
    within(Duration::from_secs(2), "both are connected", || {
        sockets(&served) == 2
    });
    let rss = rss_kib(&served);
    // What the kernel keeps for it is full after some seconds, and 10 s later it is dropped.
    within(Duration::from_secs(90), "it is dropped", || {
        sockets(&served) == 1
    });
    let grown = rss_kib(&served).saturating_sub(rss);
    assert!(grown < 16 << 10, "{grown} KiB");
    signal(&served.memtrace.0, libc::SIGINT);
    assert!(served.memtrace.0.wait().unwrap().success());
    assert!(reading.join().unwrap() > 50);
    let mut left = Vec::new();
    let error = stuck.read_to_end(&mut left).err();
    assert!(error.is_none_or(|error| error.kind() == ErrorKind::ConnectionReset));

    // Had the capture waited for it once, that would be a gap of 10 s.
    let capture: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let ticks = capture["timeline"].as_array().unwrap();
    let time = |tick: &Value| tick["t_ns"].as_u64().unwrap() / 1_000_000;
    let mut gaps: Vec<u64> = ticks
        .windows(2)
        .map(|pair| time(&pair[1]) - time(&pair[0]))
        .collect();
    gaps.sort_unstable();
    let (median, longest) = (gaps[gaps.len() / 2], *gaps.last().unwrap());
    eprintln!("between ticks, ms: median {median}, longest {longest}");
    assert!((40..80).contains(&median), "{median} ms");
    assert!(longest < 2000, "{longest} ms");
}

#[test]
fn a_thousand_connections_leave_nothing_behind() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let pid = target.0.id().to_string();
    let served = serve(&["-p", &pid, "--web", "127.0.0.1:0"]);
    let round = |times: usize| {
        for time in 0..times {
            match time % 4 {
                0 => assert_eq!(served.get("/").status, 200),
                1 => assert_eq!(served.ask("GET", "/").status, 403),
                2 => drop(served.connect()),
                _ => {
                    let mut visitor = served.visit();
                    // The one before may not have been seen to leave.
                    if visitor.head.status == 200 {
                        assert_eq!(visitor.next().unwrap().name, "state");
                    }
                    visitor.leave();
                }
            }
        }
    };
    round(200);
    let before = rss_kib(&served);
    round(1000);
    let after = rss_kib(&served);
    eprintln!("RSS: {before} KiB before, {after} KiB after");
    assert!(after < before + 2048, "{before} KiB, then {after} KiB");
}
