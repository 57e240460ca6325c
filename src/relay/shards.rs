//! The threads that carry sessions: one per processor, each with a runtime of its own.
//!
//! A session and its data connections stay on one thread, whose own poll finds their news: nothing
//! is handed from thread to thread between a line that arrives and the line that leaves. Measured
//! against one runtime with several workers, that is what a control line's way through the gateway
//! costs most.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// The threads; they end when dropped, and whatever they carry with them.
#[derive(Debug)]
pub struct Shards {
    handles: Vec<Handle>,
    next: AtomicUsize,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Shards {
    /// Starts one thread per processor, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The system gives no more threads or descriptors.
    pub fn start() -> io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let (stop, stopped) = watch::channel(false);
        let mut shards =
            Self { handles: Vec::new(), next: AtomicUsize::new(0), stop, threads: Vec::new() };
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            shards.handles.push(runtime.handle().clone());
            let mut stopped = stopped.clone();
            let thread = std::thread::Builder::new().name(format!("ftpgate-{number}"));
            shards.threads.push(thread.spawn(move || {
                runtime.block_on(async {
                    // An error means that the gateway is gone, which is an end too.
                    let _ = stopped.wait_for(|stop| *stop).await;
                });
                // A name that is being resolved is not waited for: the resolver may take half a minute.
                runtime.shutdown_background();
            })?);
        }
        Ok(shards)
    }

    /// Tasks that they carry now.
    pub fn tasks(&self) -> usize {
        self.handles.iter().map(|handle| handle.metrics().num_alive_tasks()).sum()
    }

    /// Runs a task on the next thread in turn.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        if let Some(handle) = self.handles.get(turn % self.handles.len().max(1)) {
            handle.spawn(task);
        }
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that carries sessions has panicked");
            }
        }
    }
}
