//! What is answered to which request.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use anyhow::Context as _;
use bytes::Bytes;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming, SizeHint},
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
        REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    },
};

use super::{
    guard::{Guard, Refusal},
    source::{Source, VISITORS, Visitor},
};

/// What every answer says: nobody keeps it, nobody else's page may show it, nothing is told of its URL.
const HEADERS: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

const PLAIN: &str = "text/plain; charset=utf-8";

/// What every connection answers, behind the guard.
#[derive(Debug)]
pub struct Routes {
    source: Arc<Source>,
    document: Bytes,
    guard: Guard,
    policy: HeaderValue,
}

impl Routes {
    /// The two paths: `/`, the page, and `/events`.
    ///
    /// # Errors
    ///
    /// Where the policy cannot be written as a header.
    pub fn new(
        source: Arc<Source>,
        guard: Guard,
        document: String,
        policy: &str,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            source,
            document: document.into(),
            guard,
            policy: HeaderValue::from_str(policy).context("the page's Content-Security-Policy")?,
        })
    }

    /// Answers a request. `crowded`: its connection is one too many.
    pub fn answer(&self, request: &Request<Incoming>, crowded: bool) -> Response<Body> {
        // Who names two hosts names none.
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok(),
            _ => None,
        };
        let mut response = match self.guard.check(host, request.uri().query()) {
            Ok(()) if crowded => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many connections: memtrace serves a bounded number. Try again in a moment.\n",
            ),
            Ok(()) => self.found(request),
            Err(Refusal::Host) => text(
                StatusCode::FORBIDDEN,
                "Forbidden: this is not the address that memtrace printed.\n",
            ),
            // Also for what is not there: nothing is said to who does not know it.
            Err(Refusal::Token) => text(StatusCode::FORBIDDEN, "Forbidden.\n"),
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn found(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if !matches!(path, "/" | "/events") {
            return text(StatusCode::NOT_FOUND, "Not found.\n");
        }
        // Of an answer to HEAD, hyper sends the headers alone.
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = Response::new(Body::Whole(Bytes::new()));
            *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            let allowed = HeaderValue::from_static("GET,HEAD");
            refused.headers_mut().insert(ALLOW, allowed);
            return refused;
        }
        if path == "/" {
            let page = Body::Whole(self.document.clone());
            return response(StatusCode::OK, "text/html; charset=utf-8", page);
        }
        match self.source.visitor() {
            Some(visitor) => {
                let events = Body::Events(next(visitor));
                response(StatusCode::OK, "text/event-stream", events)
            }
            None => text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "{VISITORS} visitors watch already, and no more are served: close one of their pages.\n"
                ),
            ),
        }
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    response(status, PLAIN, Body::Whole(text.into()))
}

fn response(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// What a visitor is told next, and the visitor.
type Next = Pin<Box<dyn Future<Output = (Option<Bytes>, Visitor)> + Send>>;

fn next(mut visitor: Visitor) -> Next {
    Box::pin(async move { (visitor.next().await, visitor) })
}

/// The contents of an answer.
pub enum Body {
    /// Known from the start.
    Whole(Bytes),
    /// What a visitor is told, one piece after the other.
    Events(Next),
    /// Nothing more.
    Ended,
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (bytes, rest) = match &mut *self {
            Self::Whole(bytes) => (Some(std::mem::take(bytes)), Self::Ended),
            Self::Events(told) => match ready!(told.as_mut().poll(context)) {
                (Some(bytes), visitor) => (Some(bytes), Self::Events(next(visitor))),
                (None, _) => (None, Self::Ended),
            },
            Self::Ended => (None, Self::Ended),
        };
        *self = rest;
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Events(_) => false,
            Self::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Events(_) => SizeHint::default(),
            Self::Ended => SizeHint::with_exact(0),
        }
    }
}
