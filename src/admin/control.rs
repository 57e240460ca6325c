//! What the control socket answers: HTTP/1.1 with JSON, so that `curl --unix-socket` can ask as well.
//!
//! | request | answer |
//! |---|---|
//! | `GET /sessions` | a [`Snapshot`](crate::telemetry::snapshot::Snapshot), users and files included |
//! | `POST /sessions/ID/close` | `{"closed": ID}` |
//! | `POST /drain` | `{"draining": true}` |
//! | `POST /reload` | `{"changes": […]}` |
//!
//! What cannot be done is `{"error": "…"}` with a status of 4xx or 5xx. `docs/control.md` has it all.

use super::bounded::Bounded;
use super::order::{Order, Orders};
use super::socket::ControlSocket;
use crate::telemetry::Telemetry;
use crate::telemetry::snapshot::View;
use crate::terms::SessionId;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A person, a `top` or two, and scripts: what is more waits.
const CONNECTIONS: usize = 16;

/// How long a connection may say nothing: `top` asks every second; an order that takes longer is not
/// carried out any more.
const SILENCE: Duration = Duration::from_secs(30);

/// Orders that wait to be carried out: each waits for an answer, on a connection of its own.
const MOST_ORDERS: usize = CONNECTIONS;

/// Where orders go.
#[derive(Clone)]
struct Control {
    telemetry: Telemetry,
    orders: mpsc::Sender<Order>,
}

/// Serves `socket` until `shutdown` completes. What is asked for comes out of the returned receiver;
/// whoever holds it carries it out.
pub fn serve_control(
    socket: ControlSocket,
    telemetry: Telemetry,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> (impl Future<Output = io::Result<()>> + Send + 'static, Orders) {
    let (orders, received) = mpsc::channel(MOST_ORDERS);
    let app = router(Control { telemetry, orders });
    let listener = Bounded::new(socket, CONNECTIONS, SILENCE);
    let served = async move {
        tokio::select! {
            ended = axum::serve(listener, app).into_future() => ended,
            () = shutdown => Ok(()),
        }
    };
    (served, received)
}

fn router(control: Control) -> Router {
    Router::new()
        .route("/sessions", get(sessions))
        .route("/sessions/{id}/close", post(close))
        .route("/drain", post(drain))
        .route("/reload", post(reload))
        .fallback(async || error(StatusCode::NOT_FOUND, "there is nothing of this name"))
        .with_state(control)
}

async fn sessions(State(control): State<Control>) -> Response {
    match serde_json::to_string(&control.telemetry.snapshot(View::Owner)) {
        Ok(text) => ([(CONTENT_TYPE, JSON)], text).into_response(),
        Err(reason) => error(StatusCode::INTERNAL_SERVER_ERROR, &reason.to_string()),
    }
}

async fn close(State(control): State<Control>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse() else {
        return error(StatusCode::BAD_REQUEST, "a session has a number");
    };
    match ask(&control.orders, |answer| Order::CloseSession { id: SessionId(id), answer }).await {
        Some(true) => json(StatusCode::OK, &serde_json::json!({ "closed": id })),
        Some(false) => error(StatusCode::NOT_FOUND, &format!("there is no session {id}")),
        None => gone(),
    }
}

async fn drain(State(control): State<Control>) -> Response {
    match control.orders.send(Order::Drain).await {
        Ok(()) => json(StatusCode::ACCEPTED, &serde_json::json!({ "draining": true })),
        Err(_) => gone(),
    }
}

async fn reload(State(control): State<Control>) -> Response {
    match ask(&control.orders, |answer| Order::Reload { answer }).await {
        Some(Ok(changes)) => json(StatusCode::OK, &serde_json::json!({ "changes": changes })),
        Some(Err(reason)) => error(StatusCode::CONFLICT, &reason),
        None => gone(),
    }
}

/// The answer to an order; `None` if nobody carries orders out any more.
async fn ask<T>(
    orders: &mpsc::Sender<Order>,
    order: impl FnOnce(oneshot::Sender<T>) -> Order,
) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    orders.send(order(answer)).await.ok()?;
    answered.await.ok()
}

const JSON: &str = "application/json";

fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    (status, [(CONTENT_TYPE, JSON)], value.to_string()).into_response()
}

fn error(status: StatusCode, reason: &str) -> Response {
    json(status, &serde_json::json!({ "error": reason }))
}

fn gone() -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, "the gateway is ending")
}

#[cfg(test)]
mod tests;
