//! Asks a running gateway, over its control socket.

use super::{EXIT_CONFIG, SocketArguments, complain};
use crate::config::{self, ADMIN_SOCKET};
use crate::telemetry::snapshot::Snapshot;
use anyhow::{Context, bail};
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Longer than the gateway lets an order take.
const PATIENCE: Duration = Duration::from_secs(35);

/// Ten thousand sessions of some kilobytes each.
const LONGEST_ANSWER: u64 = 64 * 1024 * 1024;

/// A gateway that is asked.
pub(super) struct Gateway {
    socket: PathBuf,
}

/// What the gateway said.
pub(super) struct Answer {
    status: u16,
    body: String,
}

impl Gateway {
    /// The gateway that the command line speaks of; or how the command ends if it speaks of none.
    pub(super) fn of(arguments: &SocketArguments) -> Result<Self, ExitCode> {
        let socket = match (&arguments.socket, &arguments.config) {
            (Some(socket), _) => socket.clone(),
            (None, Some(file)) => match config::load(file) {
                Ok(config) => config.admin.socket.ok_or_else(|| {
                    eprintln!(
                        "ftpgate: admin.socket is null in {}: this gateway cannot be asked",
                        file.display()
                    );
                    ExitCode::from(EXIT_CONFIG)
                })?,
                Err(problems) => return Err(complain(&problems)),
            },
            (None, None) => PathBuf::from(ADMIN_SOCKET),
        };
        Ok(Self { socket })
    }

    /// Everything that runs.
    pub(super) fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let answer = self.ask("GET", "/sessions")?;
        serde_json::from_str(answer.text()?)
            .context("the gateway's answer cannot be read: is it of the same version?")
    }

    /// Sends one request, and returns what is answered.
    ///
    /// # Errors
    /// There is nobody, or nobody who may be asked, with what to do about it.
    pub(super) fn ask(&self, method: &str, path: &str) -> anyhow::Result<Answer> {
        let shown = self.socket.display();
        let mut stream = UnixStream::connect(&self.socket).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => anyhow::anyhow!(
                "no gateway answers at {shown}: does ftpgate run, and is this its admin.socket? \
                 --socket PATH or --config FILE names another one"
            ),
            ErrorKind::PermissionDenied => anyhow::anyhow!(
                "{shown} is not yours to open: ask as root (sudo), or as the user that ftpgate runs as"
            ),
            _ => anyhow::Error::new(error).context(format!("cannot connect to {shown}")),
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: ftpgate\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let mut answer = Vec::new();
        stream
            .write_all(request.as_bytes())
            .and_then(|()| stream.take(LONGEST_ANSWER).read_to_end(&mut answer))
            .with_context(|| format!("the gateway at {shown} does not answer"))?;
        Answer::read(answer).with_context(|| format!("{shown} is no control socket of ftpgate"))
    }
}

impl Answer {
    /// Takes status and body apart. The gateway closes behind the body, and does not chunk it.
    fn read(bytes: Vec<u8>) -> anyhow::Result<Self> {
        let text = String::from_utf8(bytes)?;
        let (head, body) = text.split_once("\r\n\r\n").context("the answer is cut off")?;
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|status| status.parse().ok()).context("this is not HTTP")?;
        Ok(Self { status, body: body.to_owned() })
    }

    /// The JSON of an answer that is no refusal.
    ///
    /// # Errors
    /// The reason that the gateway gives.
    pub(super) fn text(&self) -> anyhow::Result<&str> {
        if (200..300).contains(&self.status) {
            return Ok(&self.body);
        }
        match self.json().get("error").and_then(Value::as_str) {
            Some(reason) => bail!("{reason}"),
            None => bail!("the gateway answers with status {}", self.status),
        }
    }

    /// The body; null if it is no JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> anyhow::Result<Answer> {
        Answer::read(text.as_bytes().to_vec())
    }

    #[test]
    fn an_answer_is_taken_apart() {
        let good = answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
        assert_eq!(good.text().unwrap(), "{}");
        let bad = answer("HTTP/1.1 404 Not Found\r\n\r\n{\"error\":\"there is no session 7\"}");
        assert_eq!(bad.unwrap().text().unwrap_err().to_string(), "there is no session 7");
        let other = answer("HTTP/1.1 500 Oh\r\n\r\n").unwrap();
        assert!(other.text().unwrap_err().to_string().contains("500"));
        for nonsense in ["", "220 FTP\r\n", "220 FTP\r\n\r\n", "HTTP/1.1 2"] {
            assert!(answer(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn where_nobody_is_the_error_says_what_to_do() {
        let gateway = Gateway { socket: "/nowhere/admin.sock".into() };
        let error = gateway.ask("GET", "/sessions").err().unwrap().to_string();
        for words in ["/nowhere/admin.sock", "does ftpgate run", "admin.socket", "--socket"] {
            assert!(error.contains(words), "{error}");
        }
    }
}
