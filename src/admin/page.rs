//! The status page at `/`: one HTML document without any foreign asset, and the JSON that it asks
//! for every two seconds.
//!
//! It changes nothing, and shows neither users nor file names. What peers have chosen reaches a
//! browser as JSON and becomes the text of a node, never HTML; the policy that is sent along lets no
//! other script run than the document's own.

use super::Readiness;
use crate::telemetry::Telemetry;
use crate::telemetry::snapshot::{Snapshot, View};
use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const DOCUMENT: &str = include_str!("page.html");

/// What a browser lays out without a pause that is felt; `ftpgate sessions` lists them all.
const MOST_SESSIONS: usize = 500;

/// Nobody's look is older, and any number of pages cost the gateway one look in this time.
const LOOK: Duration = Duration::from_secs(1);

/// What the page shows.
#[derive(Serialize)]
struct Status<'a> {
    /// Why no sessions are taken; `null` if they are.
    not_ready: Option<&'a str>,
    sessions_active: usize,
    data_connections_active: usize,
    pinholes_open: usize,
    #[serde(flatten)]
    snapshot: Snapshot,
}

impl<'a> Status<'a> {
    fn new(not_ready: Option<&'a str>, mut snapshot: Snapshot) -> Self {
        let sessions = &snapshot.sessions;
        let (sessions_active, data_connections_active, pinholes_open) = (
            sessions.len(),
            sessions.iter().map(|session| session.transfers_running).sum(),
            sessions.iter().map(|session| session.pinholes.len()).sum(),
        );
        snapshot.sessions.truncate(MOST_SESSIONS);
        Self { not_ready, sessions_active, data_connections_active, pinholes_open, snapshot }
    }
}

#[derive(Clone)]
struct Page {
    telemetry: Telemetry,
    readiness: Readiness,
    look: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl Page {
    /// The JSON of a moment ago.
    fn status(&self) -> serde_json::Result<Bytes> {
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, json)) = &*look
            && at.elapsed() < LOOK
        {
            return Ok(json.clone());
        }
        let status = Status::new(self.readiness.reason(), self.telemetry.snapshot(View::Page));
        let json = Bytes::from(serde_json::to_vec(&status)?);
        *look = Some((Instant::now(), json.clone()));
        Ok(json)
    }
}

/// The page and its JSON. `local` is true where only this host can connect: then the page answers to
/// addresses and `localhost` alone, so that no website can have its own name lead a browser here and
/// read along (DNS rebinding).
pub(super) fn routes(telemetry: Telemetry, readiness: Readiness, local: bool) -> Router {
    let policy = content_security_policy();
    let page = Page { telemetry, readiness, look: Arc::default() };
    let routes = Router::new()
        .route("/", get(async move || document(&policy)))
        .route("/status.json", get(status).with_state(page));
    if local { routes.layer(middleware::from_fn(for_this_host)) } else { routes }
}

fn document(policy: &str) -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, DOCUMENT).into_response()
}

async fn status(State(page): State<Page>) -> Response {
    match page.status() {
        Ok(json) => {
            let headers = [
                (CONTENT_TYPE, "application/json"),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (CACHE_CONTROL, "no-store"),
            ];
            (headers, json).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the status page has nothing to show");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn for_this_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(is_this_host) {
        return next.run(request).await;
    }
    let why = "telemetry.listen is an address of this host only: ask for it by address\n";
    (StatusCode::FORBIDDEN, why).into_response()
}

/// True for a `Host` header that names an address or `localhost` (RFC 9110 §7.2).
fn is_this_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// Nothing but the document's own style and script, and its own JSON.
fn content_security_policy() -> String {
    let hash = |tag| STANDARD.encode(digest(&SHA256, content(tag).as_bytes()));
    format!(
        "default-src 'none'; img-src data:; connect-src 'self'; style-src 'sha256-{}'; \
         script-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("style"),
        hash("script"),
    )
}

/// What stands between the tags of this name, of which the document has one pair.
fn content(tag: &str) -> &'static str {
    let begun = DOCUMENT.split_once(&format!("<{tag}>")).map(|(_, rest)| rest);
    let ended = begun.and_then(|rest| rest.split_once(&format!("</{tag}>")));
    ended.map_or("", |(content, _)| content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::OriginalDst;
    use crate::pinhole::Pinhole;
    use crate::report::{PeerText, Report};
    use crate::terms::{DataMode, DataPath, SessionId, TransferId};

    fn status() -> (Telemetry, Page) {
        let telemetry = Telemetry::new();
        let page = Page {
            telemetry: telemetry.clone(),
            readiness: Readiness::new(),
            look: Arc::default(),
        };
        (telemetry, page)
    }

    #[test]
    fn the_document_is_whole_and_names_nothing_foreign() {
        assert!(content("style").contains("--ink") && content("script").contains("refresh()"));
        for tag in ["<style>", "<script>"] {
            assert_eq!(DOCUMENT.matches(tag).count(), 1, "{tag}");
        }
        for foreign in ["http:", "https:", "//cdn", "@import", "url(", "innerHTML", "style="] {
            assert!(!DOCUMENT.contains(foreign), "{foreign}");
        }
        let policy = content_security_policy();
        // As `openssl dgst -sha256 -binary | base64` has it: 32 bytes, padded.
        assert_eq!(policy.matches("'sha256-").count(), 2);
        assert_eq!(policy.matches("='").count(), 2, "{policy}");
    }

    #[test]
    fn figures_are_of_all_sessions_and_the_list_has_an_end() {
        let (telemetry, page) = status();
        let listener = telemetry.listener("out");
        let client = "192.0.2.2:40000".parse().unwrap();
        let original_dst = OriginalDst("198.51.100.1:21".parse().unwrap());
        let sessions: Vec<_> = (1..=MOST_SESSIONS as u64 + 1)
            .map(|id| {
                let session = listener.session(SessionId(id));
                session.record(&Report::SessionStarted { client, original_dst });
                session.record(&Report::LoginAccepted { user: Some(PeerText::new(b"anna")) });
                session
            })
            .collect();
        let entry = "203.0.113.7:50000".parse().unwrap();
        sessions[MOST_SESSIONS].record(&Report::PinholeOpened {
            transfer: TransferId(1),
            path: DataPath::Kernel,
            mode: DataMode::Passive,
            pinhole: Pinhole { peer: client.ip(), entry },
            elapsed: Duration::ZERO,
        });
        let json = page.status().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(value["sessions"].as_array().unwrap().len(), MOST_SESSIONS);
        assert_eq!(value["sessions_active"], MOST_SESSIONS + 1);
        assert_eq!(value["pinholes_open"], 1);
        assert_eq!(value["not_ready"], "starting");
        assert!(!String::from_utf8_lossy(&json).contains("anna"));
    }

    #[test]
    fn many_viewers_cost_one_look() {
        let (telemetry, page) = status();
        let first = page.status().unwrap();
        telemetry.set_ports_free(5);
        assert_eq!(page.status().unwrap(), first);
    }

    #[test]
    fn a_website_cannot_give_this_host_its_name() {
        for own in
            ["127.0.0.1:9121", "127.0.0.1", "[::1]:9121", "[::1]", "localhost:9121", "LocalHost"]
        {
            assert!(is_this_host(own), "{own}");
        }
        for foreign in
            ["evil.example:9121", "evil.example", "", "127.0.0.1.evil.example", "localhost.evil"]
        {
            assert!(!is_this_host(foreign), "{foreign}");
        }
    }
}
