//! `ftpgate observe`: FTP as seen from aside, on an interface or in a capture file.
//!
//! `docs/observe.md` is its page. Not here: what is seen (see [`crate::observe`]), and how it is shown
//! (see `show`).

mod show;

use super::{EXIT_CONFIG, complain};
use crate::app;
use crate::config;
use crate::confinement;
use crate::observe::{
    CaptureError, Captured, FileCapture, LiveCapture, Observer, Pretended, Progress, Stop, now,
};
use anyhow::Context;
use clap::{Args, ValueEnum};
use show::Show;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// What to look at, and as which gateway.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["interface", "read"]))]
pub struct ObserveArguments {
    /// Look at this interface until Ctrl-C; needs CAP_NET_RAW.
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// Read this capture file (pcap or pcapng); `-` for standard input.
    #[arg(long, value_name = "FILE")]
    read: Option<PathBuf>,
    /// FTP is on this port as well, besides 21 and 990; may be repeated. On other ports it is found by
    /// how it begins.
    #[arg(long, value_name = "PORT")]
    port: Vec<u16>,
    /// The address that the gateway would have, as the far side sees it.
    #[arg(long, value_name = "ADDR")]
    external: Option<IpAddr>,
    /// Where the gateway would stand: clients dial the server (tproxy) or the gateway (direct).
    #[arg(long, value_enum, default_value_t = Place::Tproxy, conflicts_with = "config")]
    capture: Place,
    /// Take a listener's settings from this configuration file.
    #[arg(long, value_name = "FILE", requires = "listener")]
    config: Option<PathBuf>,
    /// The name of that listener.
    #[arg(long, value_name = "NAME", requires = "config")]
    listener: Option<String>,
    /// JSON Lines: one object for each control connection that is over, and a summary.
    #[arg(long)]
    json: bool,
    /// Stop after this time, such as 30s or 5m.
    #[arg(long = "for", value_name = "TIME", value_parser = config::parse_duration)]
    duration: Option<Duration>,
    /// Stop when so many control connections are over.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Take frames for others on the segment as well.
    #[arg(long, requires = "interface")]
    promiscuous: bool,
}

/// The values of `capture` that make a difference here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Place {
    Tproxy,
    Direct,
}

pub(super) fn execute(arguments: &ObserveArguments) -> anyhow::Result<ExitCode> {
    let pretended = match (&arguments.config, &arguments.listener) {
        (Some(file), Some(name)) => match from_config(arguments, file, name)? {
            Ok(pretended) => pretended,
            Err(code) => return Ok(code),
        },
        _ => Pretended::by_default(arguments.external, arguments.capture == Place::Direct),
    };
    let opened = Opened::of(arguments)?;
    // From here on there is somebody else's input.
    for warning in confinement::confine_to_what_is_open()? {
        eprintln!("ftpgate: {warning}");
    }
    let stop = Stop::default();
    end_on_signal(&stop)?;
    let mut source = opened.begin(&stop)?;
    let mut show = Show::new(arguments.json, source.is_live());
    match watch(&mut source, pretended, arguments, &stop, &mut show) {
        // Nobody reads any more: `ftpgate observe … | head`.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The gateway that a listener of a configuration is; or the exit code, when that has been told.
fn from_config(
    arguments: &ObserveArguments,
    file: &Path,
    name: &str,
) -> anyhow::Result<Result<Pretended, ExitCode>> {
    let config = match config::load(file) {
        Ok(config) => config,
        Err(problems) => return Ok(Err(complain(&problems))),
    };
    let Some(listener) = config.listeners.iter().find(|listener| listener.name == name) else {
        let names: Vec<&str> = config.listeners.iter().map(|l| l.name.as_str()).collect();
        let names = names.join(", ");
        eprintln!("--listener: {} has no listener {name:?}; there are: {names}", file.display());
        return Ok(Err(ExitCode::from(EXIT_CONFIG)));
    };
    let settings = app::session_settings(&config, listener, true);
    let direct = listener.capture == config::Capture::Direct;
    let mut pretended = Pretended::new(settings, arguments.external, direct);
    [pretended.external_client, pretended.external_server] = app::external_now(listener);
    Ok(Ok(pretended))
}

/// What packets will be read from, with nothing read yet.
enum Opened {
    Live(LiveCapture),
    File(File, String),
    Standard(String),
}

impl Opened {
    fn of(arguments: &ObserveArguments) -> anyhow::Result<Self> {
        if let Some(name) = &arguments.interface {
            return Ok(Self::Live(LiveCapture::open(name, arguments.promiscuous)?));
        }
        let path = arguments.read.as_deref().unwrap_or(Path::new("-"));
        let name = format!("--read {}", path.display());
        if path == Path::new("-") {
            return Ok(Self::Standard(name));
        }
        Ok(Self::File(File::open(path).with_context(|| name.clone())?, name))
    }

    fn begin(self, stop: &Stop) -> anyhow::Result<Source> {
        let (capture, name) = match self {
            Self::Live(capture) => return Ok(Source::Live(capture)),
            Self::File(file, name) => (FileCapture::open(file, stop.clone()), name),
            Self::Standard(name) => (FileCapture::open(io::stdin(), stop.clone()), name),
        };
        Ok(Source::File(capture.context(name)?))
    }
}

/// Where packets come from.
enum Source {
    Live(LiveCapture),
    File(FileCapture),
}

impl Source {
    fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    fn next(&mut self, take: &mut impl FnMut(&Captured<'_>)) -> Result<Progress, CaptureError> {
        match self {
            Self::Live(capture) => capture.next(take),
            Self::File(capture) => capture.next(take),
        }
    }

    fn is_cut_short(&self) -> bool {
        matches!(self, Self::File(capture) if capture.is_cut_short())
    }
}

fn watch(
    source: &mut Source,
    pretended: Pretended,
    arguments: &ObserveArguments,
    stop: &Stop,
    show: &mut Show,
) -> anyhow::Result<()> {
    let mut observer = Observer::new(pretended, &arguments.port);
    let until = arguments.duration.and_then(|duration| Instant::now().checked_add(duration));
    let mut left = arguments.count;
    let mut failed = None;
    while !stop.is_set() && left != Some(0) && until.is_none_or(|until| Instant::now() < until) {
        match source.next(&mut |packet| observer.on_packet(packet)) {
            Ok(Progress::Packet) => {}
            Ok(Progress::Idle) if source.is_live() => observer.advance(now()),
            Ok(Progress::Idle) => {}
            Ok(Progress::End) => break,
            // What was seen before is told all the same.
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
        tell_done(&mut observer, show, &mut left)?;
        show.draw(&observer)?;
    }
    // Those that still run are told as such, whatever --count says.
    observer.finish();
    tell_done(&mut observer, show, &mut None)?;
    let mut summary = observer.summary();
    summary.cut_short = source.is_cut_short();
    show.summary(&summary)?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn tell_done(
    observer: &mut Observer,
    show: &mut Show,
    left: &mut Option<u64>,
) -> anyhow::Result<()> {
    for control in observer.take_done() {
        if *left == Some(0) {
            continue;
        }
        *left = left.map(|left| left - 1);
        show.control(&control)?;
    }
    Ok(())
}

/// Sets `stop` on Ctrl-C and SIGTERM, so that the summary is still told.
fn end_on_signal(stop: &Stop) -> anyhow::Result<()> {
    let stop = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        Ok::<_, io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    })?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        stop.set();
    })?;
    Ok(())
}
