//! Who may see the page: by the token in the URL, and by what the browser believes that it talks to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use rustix::rand::{GetRandomFlags, getrandom};
use subtle::ConstantTimeEq;

/// The name of the token in a URL's query.
pub const PARAMETER: &str = "token";
/// Bytes of a token: 128 bits are not to be guessed.
const BYTES: usize = 16;

/// A secret, in hexadecimal digits.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A new one, of the kernel's random numbers.
    ///
    /// # Errors
    ///
    /// Where the kernel gives none.
    pub fn new() -> std::io::Result<Self> {
        let mut bytes = [0_u8; BYTES];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += getrandom(rest, GetRandomFlags::empty())?;
        }
        Ok(Self::of(bytes))
    }

    fn of(bytes: [u8; BYTES]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// Whether this is what a query says, found out in a time that does not tell how much of it is right.
    fn is_in(&self, query: Option<&str>) -> bool {
        let mut parameters = query.unwrap_or_default().split('&');
        let said = parameters.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            (name == PARAMETER).then_some(value)
        });
        said.is_some_and(|said| said.as_bytes().ct_eq(self.0.as_bytes()).into())
    }

    /// As the URL has it.
    #[must_use]
    pub fn in_url(&self) -> &str {
        &self.0
    }
}

/// Not in a log, and not in a panic's message.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It names another host: a name that was made to lead here, so that its owner's scripts might read the answer.
    Host,
    /// It does not know the token.
    Token,
}

/// What a request must say.
#[derive(Clone, Debug)]
pub struct Guard {
    bound: SocketAddr,
    host_name: Option<String>,
    token: Token,
}

impl Guard {
    /// For what listens there. `host_name` is this host's own.
    #[must_use]
    pub const fn new(bound: SocketAddr, host_name: Option<String>, token: Token) -> Self {
        Self {
            bound,
            host_name,
            token,
        }
    }

    /// Looks at the `Host` header, and at the query.
    ///
    /// # Errors
    ///
    /// Where one of them is not right.
    pub fn check(&self, host: Option<&str>, query: Option<&str>) -> Result<(), Refusal> {
        if !host.is_some_and(|host| self.is_here(host)) {
            return Err(Refusal::Host);
        }
        if !self.token.is_in(query) {
            return Err(Refusal::Token);
        }
        Ok(())
    }

    /// A name could be anybody's, so only this host's are taken. Who listens everywhere cannot know by which of its addresses it is
    /// reached; but an address is nobody's name.
    fn is_here(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            // `[::1]` without a port.
            Some((_, port)) if port.ends_with(']') => (host, None),
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        };
        let port = port.map_or(Some(80), |port| port.parse().ok());
        if port != Some(self.bound.port()) {
            return false;
        }
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        match ip(name) {
            Some(ip) => {
                self.bound.ip().is_unspecified()
                    || [
                        self.bound.ip(),
                        Ipv4Addr::LOCALHOST.into(),
                        Ipv6Addr::LOCALHOST.into(),
                    ]
                    .contains(&ip)
            }
            None => {
                !self.bound.ip().is_loopback()
                    && self
                        .host_name
                        .as_deref()
                        .is_some_and(|own| own.eq_ignore_ascii_case(name))
            }
        }
    }
}

/// An address as a URL has it.
fn ip(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[') {
        Some(rest) => {
            let v6: Ipv6Addr = rest.strip_suffix(']')?.parse().ok()?;
            Some(v6.into())
        }
        None => {
            let v4: Ipv4Addr = name.parse().ok()?;
            Some(v4.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "token=000102030405060708090a0b0c0d0e0f";

    fn guard(bound: &str) -> Guard {
        let bytes = std::array::from_fn(|place| u8::try_from(place).unwrap());
        Guard::new(
            bound.parse().unwrap(),
            Some("db1".to_owned()),
            Token::of(bytes),
        )
    }

    #[track_caller]
    fn hosts(bound: &str, good: &[&str], bad: &[&str]) {
        let guard = guard(bound);
        for host in good {
            assert_eq!(guard.check(Some(host), Some(GOOD)), Ok(()), "{host}");
        }
        for host in bad {
            let refused = guard.check(Some(host), Some(GOOD));
            assert_eq!(refused, Err(Refusal::Host), "{host}");
        }
        assert_eq!(guard.check(None, Some(GOOD)), Err(Refusal::Host));
    }

    #[test]
    fn a_page_for_this_host_answers_to_its_own_names_only() {
        hosts(
            "127.0.0.1:6680",
            &[
                "127.0.0.1:6680",
                "localhost:6680",
                "LOCALHOST:6680",
                "[::1]:6680",
            ],
            &[
                "",
                ":",
                ":6680",
                "127.0.0.1",
                "127.0.0.1:",
                "127.0.0.1:80",
                "127.0.0.1:6680:6680",
                "127.0.0.2:6680",
                "localhost",
                "localhost.:6680",
                "db1:6680",
                "evil.example:6680",
                "127.0.0.1.evil.example:6680",
                "localhost@evil.example:6680",
                "[::1]",
                "[::1:6680",
                "::1:6680",
                "[::2]:6680",
                "0.0.0.0:6680",
                "2130706433:6680",
                "0x7f.1:6680",
            ],
        );
        hosts(
            "127.0.0.1:80",
            &["127.0.0.1", "localhost", "[::1]", "localhost:80"],
            &["localhost:81"],
        );
        hosts(
            "127.0.0.5:81",
            &["127.0.0.5:81", "localhost:81"],
            &["127.0.0.6:81"],
        );
    }

    #[test]
    fn a_page_for_others_answers_to_addresses_and_to_the_hosts_name() {
        hosts(
            "0.0.0.0:81",
            &[
                "10.0.0.7:81",
                "localhost:81",
                "db1:81",
                "DB1:81",
                "[fe80::1]:81",
            ],
            &["10.0.0.7", "db2:81", "db1", "db1.evil.example:81"],
        );
        hosts(
            "10.0.0.7:81",
            &["10.0.0.7:81", "db1:81", "127.0.0.1:81"],
            &["10.0.0.8:81"],
        );
    }

    #[test]
    fn the_token_is_the_whole_token() {
        let guard = guard("127.0.0.1:81");
        let check = |query: Option<&str>| guard.check(Some("localhost:81"), query);
        assert_eq!(check(Some(GOOD)), Ok(()));
        assert_eq!(check(Some(&format!("from=1&{GOOD}&to=2"))), Ok(()));
        let short = &GOOD[..GOOD.len() - 1];
        for wrong in [
            "",
            "token",
            "token=",
            short,
            &format!("{GOOD}0"),
            &GOOD[6..],
            &format!("x{GOOD}"),
            &format!("token=&{GOOD}"),
            &GOOD.to_uppercase(),
        ] {
            assert_eq!(check(Some(wrong)), Err(Refusal::Token), "{wrong}");
        }
        assert_eq!(check(None), Err(Refusal::Token));
    }

    #[test]
    fn no_two_tokens_are_alike_and_none_is_logged() {
        let (one, other) = (Token::new().unwrap(), Token::new().unwrap());
        assert_ne!(one.in_url(), other.in_url());
        assert_eq!(one.in_url().len(), 32);
        assert!(!format!("{one:?}").contains(one.in_url()));
    }
}
