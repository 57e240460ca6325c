//! What the tests of the firewall have in common: the settings of its table, the owner's policy beside
//! it, and what is told of connections that the mark brings through.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

use crate::hello::COMES_WITHIN;
use crate::netns::Lab;
use ftpgate::firewall::{DemoPolicy, FlowBytes, FlowEvent, Settings, install_demo_policy};
use std::io::{self, Read};
use std::net::TcpStream;
use tokio::sync::mpsc;

pub(crate) const MARK: u32 = 0x2100;

/// What [`download`] carries.
const SIZE: u64 = 1 << 20;

/// A table that serves nothing but pinholes of the kernel's path.
pub(crate) fn settings() -> Settings {
    Settings {
        table: "ftpgate".to_owned(),
        mark: MARK,
        captures: Vec::new(),
        intake: None,
        transparent: false,
        blind_ports: None,
    }
}

/// The owner's policy: what bears no mark is dropped.
pub(crate) fn policy(lab: &Lab) -> DemoPolicy {
    lab.gateway.run(|| install_demo_policy(MARK).unwrap())
}

pub(crate) async fn next(events: &mut mpsc::UnboundedReceiver<FlowEvent>) -> FlowEvent {
    tokio::time::timeout(COMES_WITHIN, events.recv()).await.expect("an event in time").unwrap()
}

/// The server sends a file and ends the connection, and so does the client that has read it.
pub(crate) fn download(lab: &Lab, mut client: TcpStream, mut server: TcpStream) {
    let upload = lab.server.spawn(move || {
        io::copy(&mut io::repeat(7).take(SIZE), &mut server).unwrap();
    });
    assert_eq!(io::copy(&mut client, &mut io::sink()).unwrap(), SIZE);
    upload.join().unwrap();
}

/// That conntrack has counted a [`download`] over a connection that the client had dialled.
#[track_caller]
pub(crate) fn counted(bytes: Option<FlowBytes>) {
    let bytes = bytes.expect("accounting is on");
    assert!((SIZE..SIZE + SIZE / 8).contains(&bytes.reply), "{bytes:?}");
    assert!((200..SIZE / 8).contains(&bytes.original), "{bytes:?}");
}
