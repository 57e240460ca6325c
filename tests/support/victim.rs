//! A process that dies by SIGKILL: the test's own program once more, which runs one function of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

use crate::netns::Namespace;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Set for the child process that is killed.
const VICTIM: &str = "FTPGATE_TEST_VICTIM";
const READY: &str = "victim is ready";

/// Starts it in this namespace, and waits until it is ready to be killed. `test` is the whole name of
/// the function that calls [`be_killed`], for the harness.
pub(crate) fn start(namespace: &Namespace, test: &str) -> Child {
    let mut child = namespace.run(|| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(VICTIM, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == READY));
    child
}

/// The whole of that function, which the harness takes for a test: in the child process it prepares
/// what the victim holds, and waits for its end; elsewhere it does nothing.
pub(crate) fn be_killed<T>(prepare: impl AsyncFnOnce() -> T) {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let _held = prepare().await;
        println!("\n{READY}");
        std::thread::sleep(Duration::from_secs(60));
    });
}
