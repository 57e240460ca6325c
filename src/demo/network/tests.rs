use super::*;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

/// On a thread of its own, whose namespace then becomes the gateway's.
fn in_a_network<T: Send + 'static>(check: impl FnOnce(Network) -> T + Send + 'static) -> Option<T> {
    let run = move || {
        unshare(UnshareFlags::NEWNET).ok()?;
        Some(check(Network::build().expect("the network can be built")))
    };
    let outcome = thread::spawn(run).join().expect("the check does not panic");
    if outcome.is_none() {
        eprintln!("SKIPPED: no network namespace to be had (CAP_SYS_ADMIN is missing)");
    }
    outcome
}

/// Connects from one host to another and tells whom the far side saw.
fn seen_by(from: &Host, to: &Host, address: SocketAddr) -> Result<SocketAddr, String> {
    let runtime = new_runtime("test").expect("a runtime");
    let limit = std::time::Duration::from_secs(2);
    let (tell, told) = oneshot::channel();
    let accepted = to.runtime.spawn(async move {
        let listener = TcpListener::bind(address).await.expect("the address is there");
        let _ = tell.send(());
        tokio::time::timeout(limit, listener.accept()).await
    });
    runtime.block_on(async {
        told.await.map_err(|error| error.to_string())?;
        let dialled = from
            .runtime
            .spawn(async move { tokio::time::timeout(limit, TcpStream::connect(address)).await });
        let dialled = dialled.await.map_err(|error| error.to_string())?;
        let accepted = accepted.await.map_err(|error| error.to_string())?;
        dialled.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let (_, peer) =
            accepted.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(peer)
    })
}

#[test]
fn the_server_cannot_answer_the_client_without_source_nat() {
    in_a_network(|network| {
        let outcome = seen_by(&network.client, &network.server, (SERVER, 2100).into());
        assert!(outcome.is_err(), "the server has a route back: {outcome:?}");
    });
}

#[test]
fn the_gateway_reaches_both_sides() {
    in_a_network(|network| {
        for (host, address, own) in [
            (&network.server, IpAddr::from(SERVER), IpAddr::from(GATEWAY_TO_SERVER)),
            (&network.client, IpAddr::from(CLIENT), IpAddr::from(GATEWAY_TO_CLIENT)),
        ] {
            let gateway = new_runtime("test").expect("a runtime");
            let target = SocketAddr::new(address, 2100);
            let (tell, told) = oneshot::channel();
            let listening = host.runtime.spawn(async move {
                let listener = TcpListener::bind(target).await.expect("the address is there");
                let _ = tell.send(());
                listener.accept().await.expect("a connection").1
            });
            let seen = gateway.block_on(async {
                told.await.expect("the host listens");
                let dialled = tokio::time::timeout(PATIENCE, TcpStream::connect(target)).await;
                let _stream = dialled.expect("in time").expect("connected");
                listening.await.expect("the host accepts")
            });
            assert_eq!(seen.ip(), own);
        }
    });
}
