//! Both ends of `run.py`: an FTP server that costs little, and clients that hold sessions, fetch files, or come and
//! go. One thread each, one line of JSON for each answer.
//!
//! ```text
//! load_peers server ADDR:PORT [CERTIFICATE KEY VERSION]
//! load_peers client ADDR:PORT KEY=VALUE …     then commands on standard input, one a line:
//!   hold N        keeps N sessions that are logged in: begins what is missing
//!   noop N        N round trips, each in another session of those held
//!   fetch BYTES N SECONDS   N sessions fetch files of this size over and over
//!   short N K     N sessions from connect to QUIT; every K-th fetches 1 KiB
//!
//!   from=A,B,…    source addresses, in turn; default what the system chooses
//!   parallel=N    sessions that are begun at a time, default 32
//!   tls=V         `none`, `1.2` or `1.3`: AUTH TLS ahead of the login, default none
//! ```
//!
//! Not here: namespaces, figures, pictures (`run.py`); active mode; data connections in TLS.

#[path = "peers/client.rs"]
mod client;
#[path = "peers/server.rs"]
mod server;
#[path = "peers/tls.rs"]
mod tls;
#[path = "../support/verify_nothing.rs"]
mod verify_nothing;

use client::{Client, Session};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;

/// Short sessions between two lines that tell how far the work is.
const TOLD_EVERY: u64 = 1000;

/// What a short session fetches.
const SMALL_FILE_BYTES: u64 = 1024;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match words.as_slice() {
        ["server", address, files @ ..] => runtime.block_on(server::serve(address, files)),
        ["client", address, options @ ..] => {
            let client = Client::new(address, options)?;
            tokio::task::LocalSet::new().block_on(&runtime, obey(Arc::new(client)))
        }
        // `cargo bench` and `cargo test --all-targets` start every target once, without arguments.
        _ => {
            println!("load_peers: started by benches/load/run.py");
            Ok(())
        }
    }
}

/// Does what standard input says, until it ends.
async fn obey(client: Arc<Client>) -> Outcome<()> {
    let (sender, mut commands) = unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let mut held = Vec::new();
    while let Some(line) = commands.recv().await {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["hold", count] => hold(&client, &mut held, count.parse()?).await?,
            ["noop", count] => noop(&mut held, count.parse()?).await?,
            ["fetch", bytes, count, seconds] => {
                let time = Duration::from_secs_f64(seconds.parse()?);
                fetch(&client, bytes.parse()?, count.parse()?, time).await?;
            }
            ["short", count, every] => short(&client, count.parse()?, every.parse()?).await?,
            _ => return Err(format!("unknown command {line:?}").into()),
        }
    }
    Ok(())
}

async fn hold(client: &Arc<Client>, held: &mut Vec<Session>, count: usize) -> Outcome<()> {
    let started = Instant::now();
    let missing = count.saturating_sub(held.len());
    let mut tasks = JoinSet::new();
    for _ in 0..missing {
        if tasks.len() >= client.parallel {
            held.extend(tasks.join_next().await.transpose()?.transpose()?);
        }
        let client = Arc::clone(client);
        tasks.spawn(async move { client.log_in().await });
    }
    while let Some(session) = tasks.join_next().await {
        held.push(session??);
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(r#"{{"held":{},"begun":{missing},"seconds":{seconds:.3}}}"#, held.len());
    Ok(())
}

async fn noop(held: &mut [Session], count: usize) -> Outcome<()> {
    let step = (held.len() / count.max(1)).max(1);
    let mut times = Vec::with_capacity(count);
    for turn in 0..count {
        let at = turn * step % held.len().max(1);
        let session = held.get_mut(at).ok_or("no session is held")?;
        let asked = Instant::now();
        session.command("NOOP", "200").await?;
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    let (half, most) = (at(50).as_secs_f64() * 1e6, at(99).as_secs_f64() * 1e6);
    println!(r#"{{"noops":{count},"median_us":{half:.1},"p99_us":{most:.1}}}"#);
    Ok(())
}

async fn fetch(client: &Arc<Client>, bytes: u64, count: usize, time: Duration) -> Outcome<()> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let client = Arc::clone(client);
        tasks.spawn(async move {
            let mut session = client.log_in().await?;
            let mut files = 0;
            while started.elapsed() < time {
                session.fetch(bytes).await?;
                files += 1;
            }
            session.quit().await?;
            Outcome::Ok(files)
        });
    }
    let mut files: u64 = 0;
    while let Some(fetched) = tasks.join_next().await {
        files += fetched??;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(r#"{{"files":{files},"bytes":{},"seconds":{seconds:.3}}}"#, files * bytes);
    Ok(())
}

/// Failures are counted, and the first one is told.
async fn short(client: &Arc<Client>, count: u64, every: u64) -> Outcome<()> {
    let started = Instant::now();
    let (next, done, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let one = async |number: u64| {
        let mut session = client.log_in().await?;
        if number.is_multiple_of(every) {
            session.fetch(SMALL_FILE_BYTES).await?;
        }
        session.quit().await
    };
    let work = async || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed) + 1;
            if number > count {
                return;
            }
            if let Err(error) = one(number).await
                && failed.fetch_add(1, Ordering::Relaxed) == 0
            {
                eprintln!("load_peers: {error}");
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(TOLD_EVERY) || done == count {
                let failed = failed.load(Ordering::Relaxed);
                let seconds = started.elapsed().as_secs_f64();
                println!(r#"{{"done":{done},"failed":{failed},"seconds":{seconds:.3}}}"#);
            }
        }
    };
    futures_util::future::join_all((0..client.parallel).map(|_| work())).await;
    Ok(())
}
