//! `/metrics`, `/healthz` and `/readyz`, and the status page.

use super::bounded::Bounded;
use super::page;
use crate::telemetry::Telemetry;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use std::future::Future;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A few scrapers, probes and a person: for each beyond it the oldest ends.
const CONNECTIONS: usize = 64;

/// Twice Prometheus' usual scrape interval of 15 s, so that a scraper keeps its connection.
const SILENCE: Duration = Duration::from_secs(30);

/// How long answers under way may take after shutdown is asked for.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The text exposition format of Prometheus.
const EXPOSITION: &str = "text/plain; version=0.0.4";

/// Whether the gateway takes sessions; shared between the one that knows and `/readyz`.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<RwLock<Reasons>>);

/// Why no sessions are taken.
#[derive(Debug)]
struct Reasons {
    /// Its beginning, or its end.
    course: Option<&'static str>,
    /// What passes.
    held: Option<&'static str>,
}

impl Readiness {
    /// Not ready yet.
    pub fn new() -> Self {
        Self(Arc::new(RwLock::new(Reasons { course: Some("starting"), held: None })))
    }

    /// Sessions are taken.
    pub fn set_ready(&self) {
        self.set(None);
    }

    /// No sessions are taken, and why.
    pub fn set_not_ready(&self, reason: &'static str) {
        self.set(Some(reason));
    }

    fn set(&self, reason: Option<&'static str>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).course = reason;
    }

    /// No sessions are taken for a while, and why; `None`: that is over.
    pub fn hold(&self, reason: Option<&'static str>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).held = reason;
    }

    fn is_ready(&self) -> bool {
        self.reason().is_none()
    }

    pub(super) fn reason(&self) -> Option<&'static str> {
        let reasons = self.0.read().unwrap_or_else(PoisonError::into_inner);
        reasons.course.or(reasons.held)
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

/// Answers until `shutdown` completes; answers under way then have one second more. `page`: the status
/// page too.
///
/// # Errors
/// What the listening socket reports.
pub async fn serve(
    listener: TcpListener,
    telemetry: Telemetry,
    readiness: Readiness,
    page: bool,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (asked, asked_to_stop) = oneshot::channel::<()>();
    let shutdown = async move {
        shutdown.await;
        // Nobody waits for it any more: the server has ended by itself.
        let _ = asked.send(());
    };
    let local =
        listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let page = page.then(|| page::routes(telemetry.clone(), readiness.clone(), local));
    let listener = Bounded::ending_the_oldest(listener, CONNECTIONS, SILENCE);
    let server = axum::serve(listener, router(telemetry, readiness, page));
    let server = server.with_graceful_shutdown(shutdown);
    tokio::select! {
        ended = server.into_future() => ended,
        () = async {
            let _ = asked_to_stop.await;
            tokio::time::sleep(LAST_ANSWERS).await;
        } => Ok(()),
    }
}

fn router(telemetry: Telemetry, readiness: Readiness, page: Option<Router>) -> Router {
    Router::new()
        .merge(page.unwrap_or_default())
        .route("/metrics", get(metrics).with_state((telemetry, readiness.clone())))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(readiness))
}

async fn metrics(
    State((telemetry, readiness)): State<(Telemetry, Readiness)>,
) -> impl IntoResponse {
    let ready = readiness.is_ready();
    // Files are read for some of them.
    match tokio::task::spawn_blocking(move || telemetry.encode(ready)).await {
        Ok(text) => ([(CONTENT_TYPE, EXPOSITION)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be gathered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, String) {
    match readiness.reason() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(10);

    struct Server {
        address: SocketAddr,
        readiness: Readiness,
        stop: oneshot::Sender<()>,
        task: JoinHandle<io::Result<()>>,
    }

    async fn start(telemetry: Telemetry) -> Server {
        start_with(telemetry, false).await
    }

    async fn start_with(telemetry: Telemetry, page: bool) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let readiness = Readiness::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move { stopped.await.unwrap_or_default() };
        let task = tokio::spawn(serve(listener, telemetry, readiness.clone(), page, shutdown));
        Server { address, readiness, stop, task }
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        ask_as("localhost", address, request).await
    }

    async fn ask_as(host: &str, address: SocketAddr, request: &str) -> String {
        let exchange = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request =
                format!("{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        timeout(PATIENCE, exchange).await.unwrap()
    }

    #[tokio::test]
    async fn metrics_come_in_the_exposition_format() {
        let telemetry = Telemetry::new();
        telemetry.set_ports_free(77);
        let server = start(telemetry).await;
        let answer = ask(server.address, "GET /metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4\r\n"), "{answer}");
        assert!(answer.contains("\nftpgate_ports_free 77\n"), "{answer}");
        assert!(answer.contains("\nftpgate_ready 0\n"), "{answer}");
        server.readiness.set_ready();
        let answer = ask(server.address, "GET /metrics").await;
        assert!(answer.contains("\nftpgate_ready 1\n"), "{answer}");
    }

    #[tokio::test]
    async fn health_is_life_and_readiness_has_a_reason() {
        let server = start(Telemetry::new()).await;
        let ready = || ask(server.address, "GET /readyz");
        assert!(ask(server.address, "GET /healthz").await.ends_with("\r\n\r\nok\n"));
        let answer = ready().await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("not ready: starting\n"));
        server.readiness.set_ready();
        let answer = ready().await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nready\n"));
        server.readiness.set_not_ready("draining");
        assert!(ready().await.ends_with("not ready: draining\n"));
    }

    #[tokio::test]
    async fn nothing_else_is_there_and_nothing_can_be_changed() {
        let server = start(Telemetry::new()).await;
        assert!(ask(server.address, "GET /").await.starts_with("HTTP/1.1 404"));
        assert!(ask(server.address, "POST /metrics").await.starts_with("HTTP/1.1 405"));
    }

    #[tokio::test]
    async fn the_page_runs_its_own_script_only_and_cannot_be_framed() {
        let server = start_with(Telemetry::new(), true).await;
        let answer = ask(server.address, "GET /").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("<h1>ftpgate</h1>"));
        let policy = answer.lines().find(|line| line.starts_with("content-security-policy: "));
        let policy = policy.unwrap_or_else(|| panic!("{answer}"));
        for part in ["default-src 'none'", "script-src 'sha256-", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let answer = ask(server.address, "GET /status.json").await;
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
        assert!(answer.contains(r#"{"not_ready":"starting","sessions_active":0,"#), "{answer}");
        assert!(ask(server.address, "POST /").await.starts_with("HTTP/1.1 405"));
    }

    #[tokio::test]
    async fn a_page_for_this_host_answers_to_no_name_of_a_website() {
        let server = start_with(Telemetry::new(), true).await;
        for page in ["GET /", "GET /status.json"] {
            let answer = ask_as("evil.example", server.address, page).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        }
        let answer = ask_as("evil.example", server.address, "GET /metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "scrapers use names: {answer}");
    }

    #[tokio::test]
    async fn shutdown_does_not_wait_for_a_silent_connection() {
        let server = start(Telemetry::new()).await;
        let mut silent = TcpStream::connect(server.address).await.unwrap();
        silent.write_all(b"GET /metr").await.unwrap();
        // An answered request shows that the silent connection, which came first, is accepted.
        ask(server.address, "GET /healthz").await;
        server.stop.send(()).unwrap();
        timeout(PATIENCE, server.task).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait_and_silence_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Bounded::new(listener, 1, Duration::from_millis(100));
        let app = router(Telemetry::new(), Readiness::new(), None);
        tokio::spawn(axum::serve(listener, app).into_future());
        let started = tokio::time::Instant::now();
        let mut silent = TcpStream::connect(address).await.unwrap();
        let answer = ask(address, "GET /healthz").await;
        assert!(answer.ends_with("ok\n"), "{answer}");
        assert!(started.elapsed() >= Duration::from_millis(100), "answered beside the silent one");
        let end = timeout(PATIENCE, silent.read(&mut [0; 1])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }

    #[tokio::test]
    async fn who_holds_all_connections_keeps_nobody_out() {
        const MANY: usize = 4;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Bounded::ending_the_oldest(listener, MANY, Duration::from_secs(3600));
        let app = router(Telemetry::new(), Readiness::new(), None);
        tokio::spawn(axum::serve(listener, app).into_future());
        let mut held = Vec::new();
        for _ in 0..2 * MANY {
            let mut silent = TcpStream::connect(address).await.unwrap();
            silent.write_all(b"GET /me").await.unwrap();
            held.push(silent);
        }
        for _ in 0..MANY {
            let answer = timeout(PATIENCE, ask(address, "GET /healthz")).await.expect("kept out");
            assert!(answer.ends_with("ok\n"), "{answer}");
        }
        for old in held.iter_mut().take(MANY) {
            let end = timeout(PATIENCE, old.read(&mut [0; 1])).await.unwrap();
            assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        }
    }

    #[tokio::test]
    async fn a_request_that_trickles_in_is_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Bounded::new(listener, 1, Duration::from_millis(100));
        let app = router(Telemetry::new(), Readiness::new(), None);
        tokio::spawn(axum::serve(listener, app).into_future());
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /metrics HTTP/1.1\r\nX: ").await.unwrap();
        let trickle = async {
            while slow.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, trickle).await.expect("the connection is closed");
        let answer = ask(address, "GET /healthz").await;
        assert!(answer.ends_with("ok\n"), "{answer}");
    }
}
