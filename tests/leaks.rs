//! Many short sessions leave nothing behind: descriptors, ports and counts are back where they were.
//! Memory is measured, not tested: `benches/load`.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

use ftpgate::app;
use ftpgate::config::Config;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

/// Sessions in all: a descriptor or a port lost in one of a hundred shows.
const SESSIONS: usize = 2000;

/// At a time.
const AT_A_TIME: usize = 8;

/// Every so many-th fetches a file, and every so many-th is broken off instead of ended.
const FETCH_EVERY: usize = 3;
const BREAK_EVERY: usize = 7;

/// Pipes that the gateway keeps for the next transfers, two descriptors each: no more than were in use at a time,
/// which in each lane are that of a transfer and that of the one before it.
const KEPT_DESCRIPTORS: usize = 4 * AT_A_TIME;

/// Bounds every wait for something that has to come; above all timeouts of the gateway's that matter here.
const COMES_WITHIN: Duration = Duration::from_secs(60);

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(COMES_WITHIN, what).await.expect("in time")
}

/// One session of a server that has files of one size.
async fn serve(stream: TcpStream) -> std::io::Result<()> {
    let mut control = BufReader::new(stream);
    let mut passive = None;
    let mut line = String::new();
    control.write_all(b"220 ready\r\n").await?;
    while control.read_line(&mut line).await? > 0 {
        let reply = match line.trim_end() {
            "USER a" => "331 password".to_owned(),
            "PASS b" => "230 in".to_owned(),
            "EPSV" => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                let port = listener.local_addr()?.port();
                passive = Some(listener);
                format!("229 ok (|||{port}|)")
            }
            "RETR a" => {
                control.write_all(b"150 here\r\n").await?;
                let mut data = passive.take().unwrap().accept().await?.0;
                data.write_all(b"a file").await?;
                data.shutdown().await?;
                "226 done".to_owned()
            }
            _ => "221 bye".to_owned(),
        };
        control.write_all(format!("{reply}\r\n").as_bytes()).await?;
        if reply.starts_with("221") {
            break;
        }
        line.clear();
    }
    Ok(())
}

async fn say(control: &mut BufReader<TcpStream>, command: &str, code: &str) -> String {
    within(control.write_all(command.as_bytes())).await.unwrap();
    let mut reply = String::new();
    within(control.read_line(&mut reply)).await.unwrap();
    assert!(reply.starts_with(code), "{reply:?} where {code} is due");
    reply
}

async fn session(number: usize, gateway: SocketAddr) {
    let mut control = BufReader::new(within(TcpStream::connect(gateway)).await.unwrap());
    say(&mut control, "", "220").await;
    say(&mut control, "USER a\r\n", "331").await;
    say(&mut control, "PASS b\r\n", "230").await;
    if number.is_multiple_of(FETCH_EVERY) {
        let reply = say(&mut control, "EPSV\r\n", "229").await;
        let port = reply.split('|').nth(3).unwrap().parse().unwrap();
        let entry = SocketAddr::new(gateway.ip(), port);
        let mut data = within(TcpStream::connect(entry)).await.unwrap();
        say(&mut control, "RETR a\r\n", "150").await;
        let mut file = String::new();
        within(data.read_to_string(&mut file)).await.unwrap();
        assert_eq!(file, "a file");
        say(&mut control, "", "226").await;
    }
    if number.is_multiple_of(BREAK_EVERY) {
        // With a data connection still awaited.
        say(&mut control, "EPSV\r\n", "229").await;
        return control.get_ref().set_zero_linger().unwrap();
    }
    say(&mut control, "QUIT\r\n", "221").await;
    assert_eq!(within(control.read(&mut [0])).await.unwrap(), 0);
}

async fn run(sessions: usize, gateway: SocketAddr) {
    let lane = async |lane: usize| {
        for number in (lane..sessions).step_by(AT_A_TIME) {
            session(number, gateway).await;
        }
    };
    futures_util::future::join_all((0..AT_A_TIME).map(lane)).await;
}

/// What is served under `/metrics` of these, summed over their labels.
async fn metrics<const N: usize>(address: SocketAddr, names: [&str; N]) -> [f64; N] {
    let mut stream = within(TcpStream::connect(address)).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    within(stream.write_all(request)).await.unwrap();
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    names.map(|name| {
        let of_it = |line: &&str| line.split(['{', ' ']).next() == Some(name);
        let values = text.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next());
        values.map(|value| value.parse::<f64>().unwrap()).sum()
    })
}

/// Of this process: gateway, client and server.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn short_sessions_leave_nothing_behind() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server_address = server.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = server.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = Config::for_server(any, &server_address.to_string()).unwrap();
    config.telemetry.listen = Some(any);
    let gateway = app::start(&config, None).await.unwrap();
    let address = gateway.listeners()[0];
    let telemetry = gateway.telemetry_address().unwrap();
    let look = async || {
        let names = [
            "ftpgate_ports_free",
            "ftpgate_sessions_active",
            "ftpgate_data_connections_active",
            "ftpgate_pinholes_open",
        ];
        (metrics(telemetry, names).await, descriptors())
    };
    let (before, open_before) = look().await;
    run(SESSIONS, address).await;
    let end = Instant::now() + COMES_WITHIN;
    loop {
        let (now, open) = look().await;
        if now == before && open <= open_before + KEPT_DESCRIPTORS {
            break;
        }
        assert!(Instant::now() < end, "{now:?} of {before:?}, {open} of {open_before} descriptors");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The task of a session that had not ended would be waited for.
    within(gateway.shutdown()).await;
}
