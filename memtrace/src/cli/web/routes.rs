//! What is answered to which request.

use std::{convert::Infallible, sync::Arc};

use anyhow::Context as _;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use futures_util::stream::unfold;

use super::{
    guard::{Guard, Refusal},
    source::{Source, VISITORS},
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

struct Answers {
    guard: Guard,
    policy: HeaderValue,
}

/// The two paths, behind the guard: `/`, the page, and `/events`.
///
/// # Errors
///
/// Where the policy cannot be written as a header.
pub fn routes(
    source: Arc<Source>,
    guard: Guard,
    document: String,
    policy: &str,
) -> anyhow::Result<Router> {
    let document = Bytes::from(document);
    let page = move || async move { ([(CONTENT_TYPE, "text/html; charset=utf-8")], document) };
    let router = Router::new()
        .route("/", get(page))
        .route("/events", get(events))
        .fallback(|| async { (StatusCode::NOT_FOUND, "Not found.\n") })
        .with_state(source);
    guarded(router, guard, policy)
}

/// Answers nobody: what a connection is given that is one too many.
///
/// # Errors
///
/// Where the policy cannot be written as a header.
pub fn crowded(guard: Guard, policy: &str) -> anyhow::Result<Router> {
    let router = Router::new().fallback(|| async {
        let text =
            "Too many connections: memtrace serves a bounded number. Try again in a moment.\n";
        (StatusCode::SERVICE_UNAVAILABLE, text)
    });
    guarded(router, guard, policy)
}

fn guarded(router: Router, guard: Guard, policy: &str) -> anyhow::Result<Router> {
    let policy = HeaderValue::from_str(policy).context("the page's Content-Security-Policy")?;
    let answers = Arc::new(Answers { guard, policy });
    Ok(router.layer(from_fn_with_state(answers, answer)))
}

async fn answer(State(answers): State<Arc<Answers>>, request: Request, next: Next) -> Response {
    // Who names two hosts names none.
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    let mut response = match answers.guard.check(host, request.uri().query()) {
        Ok(()) => next.run(request).await,
        Err(Refusal::Host) => {
            refused("Forbidden: this is not the address that memtrace printed.\n")
        }
        // Also for what is not there: nothing is said to who does not know it.
        Err(Refusal::Token) => refused("Forbidden.\n"),
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, answers.policy.clone());
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refused(text: &'static str) -> Response {
    (StatusCode::FORBIDDEN, text).into_response()
}

async fn events(State(source): State<Arc<Source>>) -> Response {
    let Some(visitor) = source.visitor() else {
        let text = format!(
            "{VISITORS} visitors watch already, and no more are served: close one of their pages.\n"
        );
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let stream = unfold(visitor, |mut visitor| async move {
        let bytes = visitor.next().await?;
        Some((Ok::<_, Infallible>(bytes), visitor))
    });
    let kind = [(CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(stream)).into_response()
}
