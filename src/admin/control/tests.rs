//! A socket in a folder of its own, and requests to it.

use super::*;
use crate::admin::SocketError;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

/// Where `Orders` are not carried out unless a test does it.
struct Served {
    folder: TempDir,
    orders: Orders,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

impl Served {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = ControlSocket::bind(&folder.path().join("run/admin.sock")).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move { stopped.await.unwrap_or_default() };
        let (served, orders) = serve_control(socket, Telemetry::new(), shutdown);
        Self { folder, orders, stop, task: tokio::spawn(served) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("run/admin.sock")
    }
}

async fn ask(path: PathBuf, request: &'static str) -> String {
    let exchange = async {
        let mut stream = UnixStream::connect(path).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    timeout(PATIENCE, exchange).await.unwrap()
}

#[track_caller]
fn is(answer: &str, status: u16, body: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
}

#[tokio::test]
async fn sessions_are_shown_as_json() {
    let served = Served::start();
    let answer = ask(served.path(), "GET /sessions").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/json"), "{head}");
    assert!(!head.contains("chunked"), "{head}");
    let shown: crate::telemetry::snapshot::Snapshot = serde_json::from_str(body).unwrap();
    assert!(shown.sessions.is_empty() && shown.version == env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn orders_are_handed_out_and_their_answers_told() {
    let mut served = Served::start();
    let path = served.path();
    let carried_out = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(order) = served.orders.recv().await {
            seen.push(format!("{order:?}"));
            match order {
                Order::CloseSession { id, answer } => answer.send(id.0 == 7).unwrap(),
                Order::Reload { answer } if seen.len() < 4 => {
                    answer.send(Ok(vec!["limits.sessions: 5".to_owned()])).unwrap();
                }
                Order::Reload { answer } => answer.send(Err("line 3: bad".to_owned())).unwrap(),
                Order::Drain => break,
            }
        }
        drop(served.folder);
    });
    let ask = |request| ask(path.clone(), request);
    is(&ask("POST /sessions/7/close").await, 200, r#"{"closed":7}"#);
    is(&ask("POST /sessions/8/close").await, 404, r#"{"error":"there is no session 8"}"#);
    is(&ask("POST /reload").await, 200, r#"{"changes":["limits.sessions: 5"]}"#);
    is(&ask("POST /reload").await, 409, r#"{"error":"line 3: bad"}"#);
    is(&ask("POST /drain").await, 202, r#"{"draining":true}"#);
    timeout(PATIENCE, carried_out).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_told_and_nobody_left_waiting() {
    let served = Served::start();
    is(
        &ask(served.path(), "POST /sessions/x/close").await,
        400,
        r#"{"error":"a session has a number"}"#,
    );
    is(&ask(served.path(), "GET /").await, 404, r#"{"error":"there is nothing of this name"}"#);
    assert!(ask(served.path(), "GET /drain").await.starts_with("HTTP/1.1 405"));
    let path = served.path();
    drop(served.orders);
    is(&ask(path, "POST /reload").await, 503, r#"{"error":"the gateway is ending"}"#);
}

#[tokio::test]
async fn the_socket_is_its_owners_and_goes_with_the_gateway() {
    let served = Served::start();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&served.path()) & 0o777, 0o600);
    assert_eq!(mode(served.path().parent().unwrap()) & 0o777, 0o755);
    let again = ControlSocket::bind(&served.path());
    assert!(matches!(again, Err(SocketError::InUse(_))), "{again:?}");
    let path = served.path();
    served.stop.send(()).unwrap();
    timeout(PATIENCE, served.task).await.unwrap().unwrap().unwrap();
    assert!(!path.exists());
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 0, "nothing is left");
}

#[tokio::test]
async fn a_socket_that_is_left_is_replaced_and_anything_else_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    // Its name stays when the process is killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let first = ControlSocket::bind(&path).unwrap();
    assert_eq!(first.path(), path);
    // Somebody else's by now: it is left alone.
    std::fs::remove_file(&path).unwrap();
    let second = ControlSocket::bind(&path).unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
    std::fs::write(&path, "x").unwrap();
    let error = ControlSocket::bind(&path).unwrap_err();
    assert!(matches!(error, SocketError::NoSocket(_)) && path.exists(), "{error}");
    let error = ControlSocket::bind(&folder.path().join("a/b/admin.sock")).unwrap_err();
    assert!(error.to_string().contains("a/b/admin.sock"), "{error}");
}
