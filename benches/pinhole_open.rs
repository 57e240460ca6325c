//! How long it takes to open a pinhole, from the request on a tokio task to the acknowledgement
//! there, through the handle, the firewall's thread and the kernel; in a namespace of its own.
//!
//! Needs root (or `unshare -Ur`). Without, it says so and measures nothing.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has to stop")]

use divan::Bencher;
use ftpgate::firewall::{Firewall, Opening, Settings};
use ftpgate::pinhole::Pinhole;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

fn main() {
    // Before any thread is started: all of them then live in the new namespace.
    // SAFETY: a plain system call.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        let error = std::io::Error::last_os_error();
        eprintln!("SKIPPED pinhole_open: no network namespace ({error}); run as root");
        return;
    }
    divan::main();
}

/// A forwarded passive transfer; each number another pinhole.
fn opening(number: u16) -> Opening {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    let mut entry = address("203.0.113.7:0");
    entry.set_port(1024 + number);
    Opening::Forward {
        pinhole: Pinhole { peer: address("192.0.2.2:0").ip(), entry },
        target: address("198.51.100.2:5001"),
        source: address("198.51.100.1:0").ip(),
    }
}

fn start(runtime: &Runtime) -> Firewall {
    let settings = Settings {
        table: "ftpgate".to_owned(),
        mark: 0x2100,
        captures: Vec::new(),
        intake: None,
        transparent: false,
        blind_ports: None,
    };
    let _inside = runtime.enter();
    Firewall::start(&settings).unwrap()
}

async fn open(firewall: &Firewall, opening: Opening) {
    let (sender, _receiver) = mpsc::unbounded_channel();
    firewall.open(opening, Duration::from_secs(30), sender).await.unwrap();
}

const ONE_THREAD: &str = "current-thread runtime";
const WORKERS: &str = "multi-thread runtime";

#[divan::bench(args = [ONE_THREAD, WORKERS], sample_count = 2000, sample_size = 1)]
fn open_one(bencher: Bencher<'_, '_>, kind: &str) {
    let mut builder = match kind {
        ONE_THREAD => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().build().unwrap();
    let firewall = start(&runtime);
    let mut number = 0;
    bencher
        .with_inputs(|| {
            number += 1;
            number
        })
        .bench_local_values(|number| runtime.block_on(open(&firewall, opening(number))));
}

#[divan::bench(sample_count = 500, sample_size = 1)]
fn open_and_close_one(bencher: Bencher<'_, '_>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let firewall = start(&runtime);
    bencher.bench_local(|| {
        runtime.block_on(async {
            open(&firewall, opening(1)).await;
            firewall.close(opening(1)).await.unwrap();
        });
    });
}
