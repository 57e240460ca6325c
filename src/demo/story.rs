//! The demo from beginning to end: the scene, the gateway, four transfers, what is printed, and
//! `--hold`.
//!
//! Not here: how one transfer is told (`account`), the texts around them (`page`), how the hosts
//! come into being (`network`).

use crate::app::{self, RunningGateway};
use crate::config::{self, Config};
use crate::demo::Options;
use crate::demo::account::{Account, Moved, Style, live_line};
use crate::demo::client::{Arrangement, Client, ClientError};
use crate::demo::dialogue::{PATIENCE, Record};
use crate::demo::network::{self, Isolation, Network};
use crate::demo::page::{NEXT, invitation, picture};
use crate::demo::server::{Files, Server};
use crate::firewall;
use crate::report::Report;
use crate::terms::{Direction, SessionId};
use anyhow::Context;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::runtime::{self, Handle};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{timeout, timeout_at};

/// What the gateway between the namespaces runs with, as its owner would write it. `[::]` takes
/// both families.
const CONFIG: &str = r#"listeners:
  - name: demo
    listen: "[::]:2121"
    capture: tproxy
    capture_ports: [21]
    server: original
    source: gateway
data: { path: auto }
telemetry: { listen: "127.0.0.1:9121" }
"#;

/// The assigned port of FTP (RFC 959 §8).
const FTP: u16 = 21;

/// Where the server listens on loopback: an address apart from the gateway's, so that the
/// rewriting can be seen.
const LOOPBACK_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The file that is there to be fetched.
pub(super) const DOWNLOAD: &str = "demo.bin";

/// Length of the files, in bytes.
const LENGTH: usize = 1 << 20;

/// How long a report is awaited that should follow a transfer at once.
const REPORT_PATIENCE: Duration = Duration::from_secs(3);

/// Reports of the gateway, each with its session.
type Reports = UnboundedReceiver<(SessionId, Report)>;

/// The four transfers: each way of arranging data once.
const TRANSFERS: [(Arrangement, Direction); 4] = [
    (Arrangement::Pasv, Direction::Download),
    (Arrangement::Epsv, Direction::Upload),
    (Arrangement::Port, Direction::Download),
    (Arrangement::Eprt, Direction::Upload),
];

/// Runs the demo. True if every transfer succeeded.
///
/// To be called before the process has any thread or runtime: an ordinary user gets a user
/// namespace only while there is a single thread.
///
/// # Errors
///
/// Where not even the fallback on loopback can be started.
pub(super) fn run(options: &Options) -> anyhow::Result<bool> {
    let scene = Scene::build();
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let well = runtime.block_on(tell(scene, options));
    runtime.shutdown_timeout(PATIENCE);
    well
}

/// Where the demo plays.
enum Scene {
    /// Three namespaces.
    Namespaces(Network, Isolation),
    /// Loopback, for the reason given.
    Loopback(String),
}

impl Scene {
    fn build() -> Self {
        let built = network::enter_namespace().and_then(|isolation| {
            network::bring_loopback_up()?;
            Ok(Self::Namespaces(Network::build()?, isolation))
        });
        built.unwrap_or_else(|error| Self::Loopback(error.to_string()))
    }
}

/// A server, a gateway before it, and where a client runs and dials.
struct Stage {
    client: Handle,
    /// Where the client dials.
    dial: SocketAddr,
    gateway: RunningGateway,
    reports: Reports,
    files: Files,
    server_record: Record,
    /// The owner's rules, which last as long as this.
    _policy: Option<firewall::DemoPolicy>,
}

impl Stage {
    async fn between_namespaces(network: &Network) -> anyhow::Result<Self> {
        let (config, any) = match network.has_ipv6 {
            true => (config::parse("demo", CONFIG)?, IpAddr::from(Ipv6Addr::UNSPECIFIED)),
            false => {
                let text = CONFIG.replace("[::]", "0.0.0.0");
                (config::parse("demo", &text)?, IpAddr::from(Ipv4Addr::UNSPECIFIED))
            }
        };
        let policy = firewall::install_demo_policy(config.firewall.mark)
            .context("cannot install the owner's rules")?;
        let address = SocketAddr::from((network::SERVER, FTP));
        let (_, files, server_record) =
            serve(network.server.runtime(), SocketAddr::new(any, FTP)).await?;
        let (gateway, reports) = start(&config).await?;
        // Connection tracking is in use by now, so the setting is there if the kernel has it.
        // Without it bytes are not counted, and the account says so.
        let _ = network::count_bytes();
        let client = network.client.runtime();
        let _policy = Some(policy);
        Ok(Self { client, dial: address, gateway, reports, files, server_record, _policy })
    }

    async fn on_loopback() -> anyhow::Result<Self> {
        let here = Handle::current();
        let (server, files, server_record) =
            serve(here.clone(), (LOOPBACK_SERVER, 0).into()).await?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = Config::for_server(listen, &server.to_string()).map_err(anyhow::Error::msg)?;
        let (gateway, reports) = start(&config).await?;
        let dial = *gateway.listeners().first().context("the gateway has no listener")?;
        Ok(Self { client: here, dial, gateway, reports, files, server_record, _policy: None })
    }

    /// Runs one transfer in a session of its own.
    async fn transfer(&mut self, arrangement: Arrangement, direction: Direction) -> Account {
        let record = Record::default();
        let task = self.client.spawn(client_part(
            self.dial,
            record.clone(),
            self.files.clone(),
            arrangement,
            direction,
        ));
        let (outcome, client) = match task.await {
            Ok(Ok((moved, client))) => (Ok(moved), Some(client)),
            Ok(Err(error)) => (Err(error), None),
            Err(lost) => (Err(lost.to_string()), None),
        };
        let mut reports = Vec::new();
        if let Some(client) = client {
            let is_end = |report: &Report| matches!(report, Report::DataConnectionEnded { .. });
            self.await_report(&mut reports, is_end).await;
            // A session that does not end well is told by its reports.
            let _ = self.client.spawn(client.quit()).await;
        }
        let is_end = |report: &Report| matches!(report, Report::SessionEnded { .. });
        self.await_report(&mut reports, is_end).await;
        let (client, server) = (record.take(), self.server_record.take());
        Account { arrangement, direction, outcome, client, server, reports }
    }

    /// Collects reports up to the awaited one, or until patience ends.
    async fn await_report(&mut self, into: &mut Vec<Report>, is_awaited: fn(&Report) -> bool) {
        let deadline = tokio::time::Instant::now() + REPORT_PATIENCE;
        while let Ok(Some((_, report))) = timeout_at(deadline, self.reports.recv()).await {
            let last = is_awaited(&report);
            into.push(report);
            if last {
                return;
            }
        }
    }
}

async fn serve(host: Handle, address: SocketAddr) -> anyhow::Result<(SocketAddr, Files, Record)> {
    let (files, record) = (Files::default(), Record::default());
    files.put(DOWNLOAD, content());
    let server = Server::bind(address, files.clone(), record.clone());
    let server = host.spawn(server).await?.context("the demo's server cannot listen")?;
    let address = server.address()?;
    host.spawn(server.run());
    Ok((address, files, record))
}

async fn start(config: &Config) -> anyhow::Result<(RunningGateway, Reports)> {
    let (tell, reports) = unbounded_channel();
    let gateway = timeout(PATIENCE, app::start(config, Some(tell)))
        .await
        .context("the gateway does not come up")??;
    Ok((gateway, reports))
}

/// One login and one transfer: what was moved and compared, and the session.
async fn client_part(
    server: SocketAddr,
    record: Record,
    files: Files,
    arrangement: Arrangement,
    direction: Direction,
) -> Result<(Moved, Client), String> {
    let told = |error: ClientError| error.to_string();
    let mut client = Client::login(server, record).await.map_err(told)?;
    let content = content();
    let started = Instant::now();
    let arrived = match direction {
        Direction::Download => client.download(arrangement, DOWNLOAD).await.map_err(told)?,
        Direction::Upload => {
            let name = format!("from-{}", arrangement.verb());
            client.upload(arrangement, &name, &content).await.map_err(told)?;
            files.get(&name).map_or_else(Vec::new, |stored| stored.to_vec())
        }
    };
    let moved = Moved { bytes: arrived.len(), took: started.elapsed() };
    if arrived == content {
        Ok((moved, client))
    } else {
        Err(format!("{} bytes arrived, not those that were sent", moved.bytes))
    }
}

/// Bytes in which every block differs from the others, so that one lost or moved shows.
fn content() -> Vec<u8> {
    (0_u32..).flat_map(|word| word.wrapping_mul(0x9e37_79b9).to_le_bytes()).take(LENGTH).collect()
}

async fn tell(scene: Scene, options: &Options) -> anyhow::Result<bool> {
    let style = Style::of_stdout();
    say(&style.bold("FTP through a NAT gateway, in one process"));
    let mut network = None;
    let mut stage = match scene {
        Scene::Namespaces(built, isolation) => match Stage::between_namespaces(&built).await {
            Ok(stage) => {
                say(&picture(isolation));
                network = Some((built, isolation));
                stage
            }
            Err(error) => fall_back(&format!("{error:#}"), style).await?,
        },
        Scene::Loopback(reason) => fall_back(&reason, style).await?,
    };

    let mut failures = 0;
    for (index, (arrangement, direction)) in TRANSFERS.into_iter().enumerate() {
        let account = stage.transfer(arrangement, direction).await;
        failures += usize::from(account.outcome.is_err());
        say(&account.text(index + 1, style));
    }
    match failures {
        0 => say(&style.bold("All four transfers arrived.")),
        _ => say(&style.bad(&format!("{failures} of 4 transfers failed."))),
    }
    if options.hold {
        say(&invitation(network.as_ref(), stage.dial));
        hold(&mut stage.reports).await?;
    } else {
        say(NEXT);
    }
    timeout(PATIENCE, stage.gateway.shutdown()).await.context("the gateway does not stop")?;
    drop(network);
    Ok(failures == 0)
}

async fn fall_back(reason: &str, style: Style) -> anyhow::Result<Stage> {
    say(&format!("{} {reason}", style.bad("Not between namespaces:")));
    say(&style.dim("On loopback instead, by the relay path. `ftpgate doctor` says more.\n"));
    Stage::on_loopback().await
}

/// Prints; a reader that has gone away is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Tells what happens until the user ends it.
async fn hold(reports: &mut Reports) -> anyhow::Result<()> {
    let mut end = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
            _ = end.recv() => return Ok(()),
            report = reports.recv() => match report {
                Some((session, report)) => {
                    if let Some(line) = live_line(&report) {
                        say(&format!("   session {session:<4} {line}"));
                    }
                }
                None => return Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::dialogue::Said;
    use crate::report::DataOutcome;
    use crate::terms::DataPath;

    #[test]
    fn the_demos_configuration_is_good() {
        let config = config::parse("demo", CONFIG).expect("no problem");
        assert_eq!(config.listeners.len(), 1);
        assert_eq!(config.listeners[0].capture_ports, [FTP]);
    }

    #[test]
    fn the_content_has_no_two_equal_blocks() {
        let content = content();
        assert_eq!(content.len(), LENGTH);
        let blocks: std::collections::HashSet<&[u8]> = content.chunks(1024).collect();
        assert_eq!(blocks.len(), LENGTH / 1024);
    }

    /// Runs the four transfers: the path that each took, and whom the server saw.
    fn paths_and_peers(stage: &mut Stage, runtime: &runtime::Runtime) -> Vec<(DataPath, bool)> {
        let mut seen = Vec::new();
        for (arrangement, direction) in TRANSFERS {
            let account = runtime.block_on(stage.transfer(arrangement, direction));
            let moved = account.outcome.unwrap_or_else(|why| panic!("{arrangement:?}: {why}"));
            assert_eq!(moved.bytes, LENGTH);
            let path = account.reports.iter().find_map(|report| match report {
                Report::DataConnectionEnded { path, outcome: DataOutcome::Completed, .. } => {
                    Some(*path)
                }
                _ => None,
            });
            let gateway = network::GATEWAY_TO_SERVER.to_string();
            let saw_gateway = account
                .server
                .iter()
                .any(|(said, ends)| *said == Said::Data && ends.contains(&gateway));
            seen.push((path.expect("the end of the data connection is reported"), saw_gateway));
        }
        seen
    }

    fn new_runtime() -> runtime::Runtime {
        runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    #[test]
    fn four_transfers_between_namespaces_by_the_kernel_path() {
        let run = || {
            let network = match Scene::build() {
                Scene::Namespaces(network, _) => network,
                Scene::Loopback(why) => {
                    eprintln!("SKIPPED: {why}");
                    return;
                }
            };
            let runtime = new_runtime();
            let mut stage = runtime.block_on(Stage::between_namespaces(&network)).unwrap();
            let seen = paths_and_peers(&mut stage, &runtime);
            assert_eq!(seen, [(DataPath::Kernel, true); 4]);
            runtime.block_on(stage.gateway.shutdown());
        };
        // On a thread of its own, which alone is moved into the namespace.
        std::thread::spawn(run).join().unwrap();
    }

    #[test]
    fn four_transfers_on_loopback_by_the_relay_path() {
        let runtime = new_runtime();
        let mut stage = runtime.block_on(Stage::on_loopback()).unwrap();
        let seen = paths_and_peers(&mut stage, &runtime);
        assert_eq!(seen, [(DataPath::Relay, false); 4]);
        runtime.block_on(stage.gateway.shutdown());
    }
}
