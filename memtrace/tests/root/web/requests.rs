//! Single requests: what is answered, and to whom.

use std::net::TcpListener;

use super::client::{Answer, Served, serve};
use crate::common::{Guard, fails_with, is_root, needs_root, run, sleeper, text};

fn traced(target: &Guard, web: &str) -> Served {
    let pid = target.0.id().to_string();
    serve(&["--pid", &pid, "--no-runtime", "--web", web])
}

#[track_caller]
fn is_guarded(answer: &Answer) {
    let policy = answer.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    for never in ["unsafe", "http", "*", "data:"] {
        assert!(!policy.contains(never), "{policy}");
    }
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    let cross = |(name, _): &&(String, String)| name.starts_with("access-control-");
    assert_eq!(answer.headers.iter().find(cross), None);
}

#[test]
fn the_page_is_for_who_knows_the_token_and_names_the_right_host() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let served = traced(&target, "127.0.0.1:0");
    let page = served.get("/");
    assert_eq!(page.status, 200);
    is_guarded(&page);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(page.body.starts_with("<!doctype html>"));
    // The document itself is the same for everybody.
    assert!(!page.body.contains(&served.query));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("connect-src 'self'"), "{policy}");

    let head = served.ask("HEAD", &format!("/?{}", served.query));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let length = page.body.len().to_string();
    assert_eq!(head.header("content-length"), Some(length.as_str()));
    let head = served.ask("HEAD", &format!("/events?{}", served.query));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-type"), Some("text/event-stream"));

    // Who does not know the token learns nothing, not even what there is.
    let wrong = "token=00000000000000000000000000000000";
    for path in ["/", "/events", "/favicon.ico", "/events/..", "//"] {
        for query in ["", "?", "?token=", &format!("?{wrong}"), "?token"] {
            for method in ["GET", "HEAD", "POST", "OPTIONS"] {
                let refused = served.ask(method, &format!("{path}{query}"));
                assert_eq!(refused.status, 403, "{method} {path}{query}");
                is_guarded(&refused);
                let body = if method == "HEAD" { "" } else { "Forbidden.\n" };
                assert_eq!(refused.body, body);
            }
        }
    }

    for path in ["/favicon.ico", "/events/", "/index.html", "/../etc/passwd"] {
        let missing = served.get(path);
        assert_eq!(missing.status, 404, "{path}");
        is_guarded(&missing);
    }
    for method in [
        "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "NONSENSE",
    ] {
        for path in ["/", "/events"] {
            let refused = served.ask(method, &format!("{path}?{}", served.query));
            assert_eq!(refused.status, 405, "{method} {path}");
            assert_eq!(refused.header("allow"), Some("GET,HEAD"));
            is_guarded(&refused);
        }
    }

    // Whatever a name was made to lead to, its scripts read nothing here.
    let (query, port) = (&served.query, served.port());
    for host in [
        format!("evil.example:{port}"),
        "localhost".to_owned(),
        "localhost:1".to_owned(),
        String::new(),
    ] {
        for path in ["/", "/events"] {
            let request = format!("GET {path}?{query} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let refused = served.raw(&request);
            assert_eq!(refused.status, 403, "{host}");
            is_guarded(&refused);
        }
    }
    for hosts in [
        String::new(),
        format!("Host: localhost:{port}\r\nHost: evil.example:{port}\r\n"),
    ] {
        let refused = served.raw(&format!("GET /?{query} HTTP/1.1\r\n{hosts}\r\n"));
        assert!(matches!(refused.status, 400 | 403), "{hosts}");
    }
    let good = format!(
        "GET /?{query} HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: http://evil.example\r\n\r\n"
    );
    let answer = served.raw(&good);
    assert_eq!(answer.status, 200);
    is_guarded(&answer);
}

#[test]
fn requests_are_bounded() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let served = traced(&target, "127.0.0.1:0");
    let Served { at, query, .. } = &served;
    let long = "x".repeat(20_000);
    let status = |request: &str| served.raw(request).status;
    let target = format!("GET /?{query}&{long} HTTP/1.1\r\nHost: {at}\r\n\r\n");
    assert!(matches!(status(&target), 414 | 431));
    let header = format!("GET /?{query} HTTP/1.1\r\nHost: {at}\r\nX: {long}\r\n\r\n");
    assert_eq!(status(&header), 431);
    let many = "X: y\r\n".repeat(200);
    let many = format!("GET /?{query} HTTP/1.1\r\nHost: {at}\r\n{many}\r\n");
    assert_eq!(status(&many), 431);
    assert_eq!(status("nonsense\r\n\r\n"), 400);
    assert_eq!(served.get("/").status, 200);
}

#[test]
fn other_addresses_are_served_where_they_are_asked_for() {
    if needs_root() {
        return;
    }
    let target = sleeper();
    let served = traced(&target, "[::1]:0");
    assert!(served.at.starts_with("[::1]:"), "{}", served.at);
    assert_eq!(served.get("/").status, 200);
    drop(served);

    let mut everywhere = traced(&target, "0.0.0.0:0");
    // The host's name may not lead anywhere here.
    everywhere.at = format!("127.0.0.1:{}", everywhere.port());
    let warning = everywhere.said.recv().unwrap();
    assert!(warning.contains("not encrypted"), "{warning}");
    assert_eq!(everywhere.get("/").status, 200);
    assert_eq!(everywhere.ask("GET", "/").status, 403);
}

#[test]
fn a_port_that_cannot_be_had_is_one_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let target = sleeper();
    let pid = target.0.id().to_string();
    if is_root() {
        let web = format!("127.0.0.1:{port}");
        let output = run(&["--pid", &pid, "--web", &web]);
        let named = format!("port {port} of 127.0.0.1 is in use");
        fails_with(&output, 1, &[&named, "--web 127.0.0.1:0"]);
        // An address of nobody's: RFC 5737.
        let output = run(&["--pid", &pid, "--web", "192.0.2.1:0"]);
        fails_with(&output, 1, &["192.0.2.1", "no address of this host"]);
    }
    let output = run(&["--pid", &pid, "--web", "example.org"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("ADDR:PORT"));
}
