//! The control socket of a running gateway, and what of its orders the gateway carries out by itself.

use super::RunningGateway;
use crate::admin::{self, ControlSocket, Orders};
use crate::config::{ADMIN_SOCKET, Admin};
use crate::terms::SessionId;
use anyhow::Context;
use std::path::Path;
use tokio::sync::mpsc;

/// Makes the control socket; nobody is answered before [`RunningGateway::serve_control`]. `None` if it
/// is not wanted, or if the usual place cannot be had (an ordinary user, a container, a second
/// gateway), which is a warning. Call it ahead of [`super::start`], within a runtime.
///
/// # Errors
/// It cannot be had at a place that the owner has chosen.
pub fn open_control(admin: &Admin) -> anyhow::Result<Option<ControlSocket>> {
    let Some(path) = &admin.socket else { return Ok(None) };
    match ControlSocket::bind(path) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if path == Path::new(ADMIN_SOCKET) => {
            tracing::warn!(
                "admin.socket: {error}. `ftpgate sessions`, `top` and so on will not find this \
                 gateway; write another path, or null"
            );
            Ok(None)
        }
        Err(error) => Err(error).context("admin.socket"),
    }
}

impl RunningGateway {
    /// Answers at the control socket until the gateway ends, and hands out what is asked for there:
    /// whoever receives it carries it out. Nothing comes without a socket.
    pub fn serve_control(&mut self, socket: Option<ControlSocket>) -> Orders {
        let Some(socket) = socket else { return mpsc::channel(1).1 };
        tracing::info!(path = %socket.path().display(), "control socket open");
        let (served, orders) =
            admin::serve_control(socket, self.telemetry.clone(), self.course.ending());
        self.tasks.spawn(async {
            if let Err(error) = served.await {
                tracing::error!(%error, "the control socket is no longer served");
            }
        });
        orders
    }

    /// Ends one session, and the data connections that the relay carries for it. False if there is no
    /// such session.
    pub fn close_session(&self, id: SessionId) -> bool {
        self.shared.close_session(id)
    }
}
