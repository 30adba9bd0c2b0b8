//! Where the page is: an address to listen at, from what was typed, and the URL to type into a browser.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The port where none is given. Always the same, so that it can be forwarded with ssh.
pub const PORT: u16 = 6680;
/// What `--web` alone stands for: nobody but this host.
pub const DEFAULT: &str = "127.0.0.1:6680";

/// An address as it is typed: `ADDR:PORT`, `ADDR`, `PORT` or `:PORT`. Names are not looked up, but for `localhost`.
///
/// # Errors
///
/// What was found, and what to type.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let local = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, PORT));
    }
    if text == "localhost" {
        return Ok(local(PORT));
    }
    let port = text.strip_prefix("localhost").unwrap_or(text);
    let port = port.strip_prefix(':').unwrap_or(port);
    port.parse().map(local).map_err(|_| {
        format!(
            "an address is ADDR:PORT, such as {DEFAULT}, or a port alone; port 0 is any free one"
        )
    })
}

/// The address as a URL names it, for a browser on this host or, where it is not a loopback one, on another.
#[must_use]
pub fn origin(bound: SocketAddr, host_name: Option<&str>) -> String {
    let port = bound.port();
    match host_name.filter(|_| bound.ip().is_unspecified()) {
        Some(name) => format!("http://{name}:{port}"),
        None if bound.ip().is_unspecified() => format!("http://localhost:{port}"),
        None => format!("http://{bound}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_short() {
        for (typed, meant) in [
            (DEFAULT, "127.0.0.1:6680"),
            ("127.0.0.1", "127.0.0.1:6680"),
            ("8080", "127.0.0.1:8080"),
            (":8080", "127.0.0.1:8080"),
            ("0", "127.0.0.1:0"),
            ("localhost", "127.0.0.1:6680"),
            ("localhost:80", "127.0.0.1:80"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("::1", "[::1]:6680"),
            ("[::1]", "[::1]:6680"),
            ("[::]:80", "[::]:80"),
        ] {
            assert_eq!(address(typed), Ok(meant.parse().unwrap()), "{typed}");
        }
    }

    #[test]
    fn what_is_no_address_is_said() {
        for typed in [
            "",
            ":",
            "lazy-free",
            "example.org:80",
            "127.0.0.1:65536",
            "1.2.3:80",
            "-1",
            "localhost80x",
        ] {
            let said = address(typed).unwrap_err();
            assert!(said.contains("ADDR:PORT"), "{typed}: {said}");
        }
    }

    #[test]
    fn who_listens_everywhere_is_named() {
        let all = "0.0.0.0:80".parse().unwrap();
        assert_eq!(origin(all, Some("db1")), "http://db1:80");
        assert_eq!(origin(all, None), "http://localhost:80");
        let one = "[::1]:81".parse().unwrap();
        assert_eq!(origin(one, Some("db1")), "http://[::1]:81");
    }
}
