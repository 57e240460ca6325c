//! Conversations as segments, in order, out of order, with holes and twice.

mod wire;

use super::*;
use crate::observe::record::{Control, Outcome};
use crate::session::Settings;
use crate::terms::Side;
use proptest::prelude::*;
use wire::{CLIENT, DATA, SERVER, Sent, Wire, in_tls, secured};

fn flows(settings: Settings) -> Flows {
    Flows::new(Pretended::new(settings, None, false), vec![21, 990], Instant::now())
}

fn observe(sent: &[Sent]) -> Vec<Control> {
    let mut flows = flows(Settings::default());
    for sent in sent {
        flows.on_segment(&sent.segment(), Duration::from_millis(1_700_000_000_000 + sent.at));
    }
    flows.finish_all();
    flows.take_done()
}

fn one(sent: &[Sent]) -> Control {
    let mut controls = observe(sent);
    assert_eq!(controls.len(), 1);
    controls.remove(0)
}

fn findings(control: &Control) -> Vec<&'static str> {
    control.findings.iter().map(|found| found.finding).collect()
}

/// PASV with an address that is not the server's, and PORT.
fn both_modes() -> Vec<Sent> {
    let mut wire = Wire::logged_in(CLIENT, SERVER);
    wire.client("PASV").server("227 Entering Passive Mode (10,0,0,5,195,80).");
    wire.client("RETR a\x1b[2J").data(
        "192.0.2.2:40001",
        "198.51.100.10:50000",
        b"0123456789",
        false,
    );
    wire.server("150 here").server("226 done");
    wire.client("PORT 192,0,2,2,200,1").server("200 ok");
    wire.client("STOR b").data("198.51.100.10:20", "192.0.2.2:51201", b"abc", false);
    wire.server("150 go").server("226 done").quit();
    wire.sent
}

#[test]
fn both_modes_are_told_with_what_a_gateway_would_do() {
    let control = one(&both_modes());
    assert_eq!(
        (control.from_start, control.ended, control.close),
        (true, Ended::Fin, Some("quit"))
    );
    assert_eq!(control.user.as_deref(), Some("lab"));
    assert_eq!(control.negotiations, [("PASV", 1), ("PORT", 1)].into());
    let rewrites: Vec<_> =
        control.rewrites.iter().map(|r| (r.line, r.from.as_str(), r.to.as_str())).collect();
    assert_eq!(
        rewrites,
        [
            (
                "pasv",
                "227 Entering Passive Mode (10,0,0,5,195,80).",
                "227 Entering Passive Mode (198,51,100,10,195,80)."
            ),
            ("port", "PORT 192,0,2,2,200,1", "PORT 203,0,113,1,195,80"),
        ]
    );
    let openings: Vec<_> =
        control.openings.iter().map(|o| (o.mode, o.peer.as_str(), o.entry.as_str())).collect();
    assert_eq!(
        openings,
        [
            ("passive", "192.0.2.2", "198.51.100.10:50000"),
            ("active", "198.51.100.10", "203.0.113.1:50000"),
        ]
    );
    let transfers: Vec<_> = control
        .transfers
        .iter()
        .map(|t| (t.mode, t.command.as_deref(), t.reply, t.outcome, t.upload, t.download))
        .collect();
    assert_eq!(
        transfers,
        [
            ("passive", Some(r"RETR a\x1b[2J"), Some(226), Outcome::Completed, 0, 10),
            ("active", Some("STOR b"), Some(226), Outcome::Completed, 3, 0),
        ]
    );
    assert_eq!(findings(&control), ["clear_login", "private_address", "active_mode"]);
    assert!(!serde_json::to_string(&control).unwrap().contains("xyzzy"));
}

#[test]
fn what_did_fail_is_told_with_its_reason() {
    let mut wire = Wire::logged_in(CLIENT, SERVER);
    // Dropped on the way, refused, never seen.
    wire.client("EPSV").server("229 ok (|||50001|)").client("LIST");
    let mut lost = Wire::new("192.0.2.2:40002", "198.51.100.10:50001");
    lost.send(Side::Client, "S", b"");
    lost.sent[0].at = wire.at;
    wire.sent.append(&mut lost.sent);
    wire.server("425 no connection").client("EPSV").server("229 ok (|||50002|)").client("LIST");
    let mut refused = Wire::new("192.0.2.2:40003", "198.51.100.10:50002");
    refused.send(Side::Client, "S", b"").send(Side::Server, "RA", b"");
    refused.sent.iter_mut().for_each(|sent| sent.at = wire.at);
    wire.sent.append(&mut refused.sent);
    wire.server("425 no connection").client("EPSV").server("229 ok (|||50003|)").client("LIST");
    wire.server("425 no connection");
    // A third host, a low port, another way after EPSV ALL.
    wire.client("PORT 198,51,100,9,200,1")
        .server("200 ok")
        .client("PORT 192,0,2,2,0,25")
        .server("200 ok");
    wire.client("EPSV ALL")
        .server("200 ok")
        .client("PASV")
        .server("227 (198,51,100,10,195,90)")
        .quit();
    let control = one(&wire.sent);
    assert_eq!(
        findings(&control),
        [
            "clear_login",
            "third_address",
            "low_port",
            "after_epsv_all",
            "data_unanswered",
            "data_refused",
            "data_missing",
        ]
    );
    let detail = |word: &str| {
        let found = control.findings.iter().find(|found| found.finding == word);
        found.and_then(|found| found.detail.clone()).unwrap_or_default()
    };
    assert_eq!(detail("low_port"), "low_port: PORT 192,0,2,2,0,25");
    assert_eq!(detail("data_unanswered"), "229 ok (|||50001|)");
    assert_eq!(control.close, Some("quit"), "refusals do not end what goes on");
}

#[test]
fn who_connects_is_held_against_who_was_meant() {
    let mut wire = Wire::logged_in(CLIENT, SERVER);
    wire.client("EPSV").server("229 ok (|||50001|)").client("RETR a");
    wire.data("192.0.2.66:40002", "198.51.100.10:50001", b"stolen", false).server("150 ok");
    let control = one(&wire.sent);
    assert!(findings(&control).contains(&"stranger"), "{control:?}");
    assert_eq!(control.findings[1].detail.as_deref(), Some("192.0.2.66 instead of 192.0.2.2"));
    assert_eq!((control.ended, control.close), (Ended::CaptureEnd, None));
}

#[test]
fn ftps_with_ccc_can_be_read_again_and_without_cannot() {
    let mut wire = Wire::opened(CLIENT, SERVER);
    secured(wire.server("220 hello"));
    wire.client("EPSV").server("229 ok (|||50001|)").client("RETR a");
    wire.data("192.0.2.2:40002", "198.51.100.10:50001", b"abcd", false)
        .server("150 ok")
        .server("226 done");
    let control = one(&wire.quit().sent);
    assert_eq!((control.protection, control.ccc), ("cleared", Some("cleared")));
    assert_eq!(findings(&control), [""; 0]);
    assert_eq!(control.transfers[0].outcome, Outcome::Completed);

    let mut wire = Wire::opened(CLIENT, SERVER);
    secured(wire.server("220 hello"));
    wire.data("192.0.2.2:40002", "198.51.100.10:50001", b"abcd", false);
    wire.data("198.51.100.10:20", "192.0.2.2:50001", b"abc", false);
    wire.send(Side::Client, "FA", b"").send(Side::Server, "FA", b"");
    let control = one(&wire.sent);
    assert_eq!((control.protection, control.ccc), ("passthrough", Some("none")));
    assert_eq!(findings(&control), ["blind"]);
    let modes: Vec<_> = control.transfers.iter().map(|t| (t.mode, t.upload, t.download)).collect();
    assert_eq!(modes, [("passive", 0, 4), ("active", 3, 0)]);

    let mut wire = Wire::opened(CLIENT, "198.51.100.10:990");
    in_tls(&mut wire);
    assert_eq!(findings(&one(&wire.sent)), ["implicit_tls", "blind"]);
}

#[test]
fn what_comes_behind_a_refused_auth_is_not_read() {
    let mut wire = Wire::opened(CLIENT, SERVER);
    secured(wire.server("220 hello"));
    let settings = Settings { tls: crate::session::TlsMode::Refuse, ..Settings::default() };
    let mut flows = flows(settings);
    for sent in &wire.sent {
        flows.on_segment(&sent.segment(), Duration::from_millis(sent.at));
    }
    flows.finish_all();
    let control = flows.take_done().remove(0);
    assert_eq!((findings(&control), control.close), (vec!["refused"], None));
}

#[test]
fn it_begins_in_the_middle() {
    let whole = both_modes();
    // The login is not in the capture.
    let control = one(&whole[8..]);
    assert!(!control.from_start);
    assert_eq!((control.transfers_total, control.rewrites_total), (2, 2), "{control:?}");
    assert_eq!(control.user, None);
    // In the middle of a line, and of TLS.
    let mut wire = Wire::new(CLIENT, SERVER);
    wire.send(Side::Server, "A", b"ry listing\r\n226 done\r\n")
        .client("EPSV")
        .server("229 ok (|||50001|)");
    assert_eq!(one(&wire.sent).openings_total, 1);
    let mut wire = Wire::new(CLIENT, SERVER);
    for _ in 0..3 {
        wire.send(Side::Client, "A", DATA).send(Side::Server, "A", DATA);
    }
    wire.client("EPSV").server("229 ok (|||50001|)");
    let control = one(&wire.sent);
    assert_eq!((control.protection, control.openings_total), ("cleared", 1), "{control:?}");
}

#[test]
fn it_reads_on_behind_a_hole() {
    let whole = both_modes();
    let is = |sent: &&Sent, text: &[u8]| sent.bytes.starts_with(text);
    for (missing, transfers, rewrites) in
        [(&b"PASV"[..], 1, 1), (b"227", 1, 1), (b"230", 2, 2), (b"RETR", 2, 2)]
    {
        let left: Vec<Sent> = whole.iter().filter(|sent| !is(sent, missing)).cloned().collect();
        assert_eq!(left.len() + 1, whole.len());
        let control = one(&left);
        let missing = String::from_utf8_lossy(missing);
        assert_eq!(
            (control.gaps, control.transfers_total, control.rewrites_total),
            (1, transfers, rewrites),
            "{missing}"
        );
        assert!(findings(&control).contains(&"capture_loss"));
    }
    // Inside TLS, up to the return to text.
    let mut wire = Wire::opened(CLIENT, SERVER);
    secured(wire.server("220 hello"));
    wire.client("EPSV").server("229 ok (|||50001|)").client("RETR a").quit();
    for missing in 4..wire.sent.len() - 7 {
        let mut left = wire.sent.clone();
        left.remove(missing);
        let control = one(&left);
        assert_eq!(
            (control.protection, control.openings_total),
            ("cleared", 1),
            "{missing} {control:?}"
        );
    }
}

#[test]
fn it_is_found_on_any_port_and_mail_is_not() {
    let mut wire = Wire::logged_in(CLIENT, "198.51.100.10:2121");
    wire.client("EPSV").server("229 ok (|||50001|)").quit();
    assert_eq!(one(&wire.sent).openings_total, 1);
    let mut mail = Wire::opened(CLIENT, "198.51.100.10:587");
    mail.server("220 mail ESMTP").client("EHLO x").server("250 ok").client("QUIT");
    assert_eq!(observe(&mail.sent).len(), 0);
    let mut web = Wire::opened(CLIENT, "198.51.100.10:8080");
    web.client("GET / HTTP/1.1").server("HTTP/1.1 200 OK");
    assert_eq!(observe(&web.sent).len(), 0);
    let mut web = Wire::opened(CLIENT, SERVER);
    web.client("POST / HTTP/1.1").server("220 hello");
    assert_eq!(one(&web.sent).close, Some("not_ftp"));
}

#[test]
fn case_22_endless_lines_and_floods_stay_within_bounds() {
    let mut wire = Wire::logged_in(CLIENT, SERVER);
    for _ in 0..200 {
        wire.send(Side::Server, "A", &[b'x'; 1400]);
    }
    let control = one(&wire.sent);
    let found = (control.close, findings(&control));
    assert_eq!(found, (Some("line_too_long"), vec!["clear_login", "gateway_closes"]));
    let mut many = flows(Settings::default());
    let talk = Wire::logged_in("192.0.2.9:40000", SERVER);
    for sent in &talk.sent {
        many.on_segment(&sent.segment(), Duration::ZERO);
    }
    let mut peak = (0, 0);
    for n in 0..5000u32 {
        let [_, _, high, low] = n.to_be_bytes();
        let client = format!("10.0.{high}.{low}:40000");
        for server in [SERVER, "198.51.100.10:8080"] {
            let mut syn = Wire::new(&client, server);
            syn.send(Side::Client, "S", b"");
            many.on_segment(&syn.sent[0].segment(), Duration::from_millis(n.into()));
        }
        peak = (peak.0.max(many.controls.len()), peak.1.max(many.candidates.len()));
    }
    assert_eq!(peak, (MAX_CONTROL, MAX_CANDIDATES));
    assert_eq!((many.rows().len(), many.evicted), (1, 0), "who talks keeps the place");
    // RST of strangers, who do not know the numbers.
    let mut wire = Wire::logged_in(CLIENT, SERVER);
    for n in 1..500u32 {
        let mut rst = wire.sent[0].clone();
        (rst.flags, rst.sequence) = ("R", rst.sequence.wrapping_add(n << 23));
        wire.sent.push(rst);
    }
    wire.client("EPSV").server("229 ok (|||50001|)").quit();
    let control = one(&wire.sent);
    assert_eq!((control.ended, control.openings_total), (Ended::Fin, 1));
}

const WORDS: &[&[u8]] = &[
    b"",
    b"220 x\r\n",
    b"USER a\r\n",
    b"PASV\r\n",
    b"227 (1,2,3,4,5,6)\r\n",
    b"\x16\x03\x01\0\x01a",
    b"\x17\x03\x03\0\x01a",
    b"AUTH TLS\r\n",
    b"234 go\r\n",
    b"RETR x\r\n",
    b"x",
    b"230 a\r\n",
];

/// Everything but the times, which the order of the packets decides.
fn timeless(mut control: Control) -> String {
    control.seconds = 0.0;
    control.started.clear();
    control.transfers.iter_mut().for_each(|transfer| transfer.seconds = 0.0);
    serde_json::to_string(&control).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_order_within_the_window_and_any_repetition_gives_the_same(
        order in proptest::collection::vec(0..12usize, 64), again in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let whole = both_modes();
        let expected = timeless(one(&whole));
        // Each segment is late by up to twelve others.
        let mut shuffled: Vec<(usize, &Sent)> =
            whole.iter().enumerate().map(|(at, sent)| (at + order[at % order.len()], sent)).collect();
        for index in again {
            let at = index.index(whole.len());
            shuffled.push((at + 12, &whole[at]));
        }
        shuffled.sort_by_key(|(at, _)| *at);
        let shuffled: Vec<Sent> = shuffled
            .into_iter()
            .zip(0..)
            .map(|((_, sent), at)| Sent { at, ..sent.clone() })
            .collect();
        prop_assert_eq!(timeless(one(&shuffled)), expected);
    }

    #[test]
    fn any_segments_are_taken(
        segments in proptest::collection::vec((0..4u8, any::<u8>(), 0..4u32, prop::sample::select(WORDS)), 0..60),
    ) {
        let mut flows = flows(Settings::default());
        for (at, (ends, flags, sequence, bytes)) in segments.iter().enumerate() {
            let ends = match ends {
                0 => (CLIENT, SERVER),
                1 => (SERVER, CLIENT),
                2 => (CLIENT, "1.2.3.4:1286"),
                _ => ("1.2.3.4:1286", CLIENT),
            };
            let bears = |bit: u8| flags & bit != 0;
            flows.on_segment(&Segment {
                from: ends.0.parse().unwrap(),
                to: ends.1.parse().unwrap(),
                sequence: sequence.wrapping_mul(0x4000_0005),
                acknowledges: bears(1).then_some(u32::from(*flags)),
                syn: flags & 0xe == 0,
                fin: flags & 0x3e == 2,
                rst: flags & 0x7e == 4,
                payload: bytes,
                cut: usize::from(bears(128)),
            }, Duration::from_millis(u64::try_from(at).unwrap() * u64::from(*flags)));
        }
        flows.finish_all();
    }
}
