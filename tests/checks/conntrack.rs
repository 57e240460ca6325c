//! Conntrack's events, as the kernel sends them: what is read of a datagram is what stands in it; what
//! is cut short or of another kind is left out, and hides nothing that stood before it.

use ftpgate::firewall::{Flow, FlowBytes, Happening, State, events};
use std::net::SocketAddr;

const MARK: u32 = 0x2100;

/// The shortest event that is read: a header and the attributes of the addresses.
const SHORTEST: usize = 60;

/// The input is a datagram, and the plan of one.
pub fn conntrack(input: &[u8]) {
    for mark in [MARK, 0, u32::MAX] {
        assert!(events(input, mark).count() <= input.len() / SHORTEST);
    }
    let (mut datagram, mut expected) = (Vec::new(), Vec::new());
    for plan in input.chunks(8) {
        let Ok(plan) = <[u8; 8]>::try_from(plan) else { break };
        let (message, event) = written(plan);
        datagram.extend(message);
        expected.extend(event);
    }
    assert_eq!(events(&datagram, MARK).collect::<Vec<_>>(), expected);
    assert_eq!(events(&datagram, MARK + 1).count(), 0, "of another mark");
    // Cut anywhere, it says the first few of the same, and no other one.
    for cut in (0..datagram.len()).step_by(1 + datagram.len() / 64) {
        let read: Vec<_> = events(&datagram[..cut], MARK).collect();
        assert!(expected.starts_with(&read), "{cut} of {}", datagram.len());
    }
    // Broken anywhere, it is still read to an end.
    for (at, bit) in input.iter().zip(0..64) {
        let place = usize::from(*at) * 4;
        if let Some(byte) = datagram.get_mut(place) {
            *byte ^= 1 << (bit % 8);
        }
    }
    assert!(events(&datagram, MARK).count() <= datagram.len() / SHORTEST);
}

/// A message, and what it says of a connection with the mark, if it does.
fn written(plan: [u8; 8]) -> (Vec<u8>, Option<(Happening, Flow)>) {
    let [kind, has, protocol, client, server, state, left_out, padding] = plan;
    let (kind, flags, happening) = match kind & 7 {
        0 | 1 => (0x100_u16, 0x600_u16, Some(Happening::Began)),
        2 | 3 => (0x100, 0, Some(Happening::Changed)),
        4 | 5 => (0x102, 0, Some(Happening::Gone)),
        6 => (0x101, 0, None),
        _ => (2, 0x200, None),
    };
    let is_v4 = has & 1 == 0;
    let (from, to): (SocketAddr, SocketAddr) = if is_v4 {
        (([192, 0, 2, client], 40_000).into(), ([203, 0, 113, server], 50_000).into())
    } else {
        let v6 = |last: u8| [0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()];
        ((v6(client), 40_000).into(), (v6(server), 50_000).into())
    };
    let octets = |address: SocketAddr| match address.ip() {
        std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
        std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (first, second) = if is_v4 { (1, 2) } else { (3, 4) };
    let is_tcp = protocol & 7 != 1;
    let addresses = [attribute(first, &octets(from)), attribute(second, &octets(to))].concat();
    let ports = [
        attribute(1, &[if is_tcp { 6 } else { 17 }]),
        attribute(2, &from.port().to_be_bytes()),
        attribute(3, &to.port().to_be_bytes()),
    ]
    .concat();
    let tuple = [attribute(1 | 0x8000, &addresses), attribute(2 | 0x8000, &ports)].concat();
    let is_marked = has & 2 == 0;
    let mark = if is_marked { MARK } else { MARK ^ 0x100 };
    let counters = has & 4 != 0;
    let counter = |bytes: u64| {
        [attribute(1, &7_u64.to_be_bytes()), attribute(2, &bytes.to_be_bytes())].concat()
    };
    let mut attributes = vec![
        attribute(1 | 0x8000, &tuple),
        attribute(2 | 0x8000, &tuple),
        attribute(8, &mark.to_be_bytes()),
        attribute(12, &u32::from(client).to_be_bytes()),
        // One that is not known here, of any length.
        attribute(0x30, &vec![padding; usize::from(padding & 31)]),
    ];
    if counters {
        attributes.push(attribute(9 | 0x8000, &counter(client.into())));
        attributes.push(attribute(10 | 0x8000, &counter(server.into())));
    }
    let tells_state = has & 8 != 0;
    if tells_state {
        let tcp = attribute(1 | 0x8000, &attribute(1, &[state & 15]));
        attributes.push(attribute(4 | 0x8000, &tcp));
    }
    // Without the tuple, the mark or the number it is nobody's.
    let missing = match left_out {
        0 => Some(0),
        1 => Some(2),
        2 => Some(3),
        _ => None,
    };
    if let Some(missing) = missing {
        attributes.remove(missing);
    }
    if has & 16 != 0 {
        attributes.reverse();
    }
    let body = [&[2, 0, 0, 0], &attributes.concat()[..]].concat();
    let mut message = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);

    let flow = Flow {
        id: client.into(),
        from,
        to,
        state: tells_state.then_some(match state & 15 {
            7 => State::Finished,
            8 => State::Reset,
            _ => State::Alive,
        }),
        bytes: counters.then_some(FlowBytes { original: client.into(), reply: server.into() }),
        // None is among the attributes.
        expires: None,
    };
    let good = is_tcp && is_marked && missing.is_none();
    (message, happening.filter(|_| good).map(|happening| (happening, flow)))
}

/// `struct nlattr`: the length without the padding, the kind, and what is in it.
fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + content.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
