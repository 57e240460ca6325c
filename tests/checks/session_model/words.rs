//! The vocabulary: lines of both peers, each with what it means.

/// The parties of every play.
pub(super) const CLIENT: &str = "192.0.2.2";
pub(super) const SERVER: &str = "10.0.0.5";
/// What a client dials that dials the gateway, and whom a server sees that sees the gateway.
pub(super) const GATEWAY: &str = "203.0.113.7";
pub(super) const GATEWAY_INSIDE: &str = "10.0.0.1";

/// What a line of the client means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    /// USER or PASS.
    Login,
    /// The server shall listen: PASV, or else EPSV.
    Pasv,
    Epsv,
    /// The client listens at its own address and this port. The line is cut where the address stands.
    Port(u16),
    Eprt(u16),
    /// The same with another host's address.
    Foreign,
    /// The same with an argument that is none.
    Malformed,
    /// Another address family than the one in use.
    Family,
    /// EPSV ALL.
    EpsvAll,
    /// LPRT or LPSV.
    LongAddress,
    Feat,
    Rein,
    Abor,
    Quit,
    Auth,
    /// It moves data.
    Transfer,
    /// Any other command.
    Plain,
    /// No verb of FTP's.
    Unknown,
    /// A request of HTTP.
    Http,
    /// A reply.
    Reply,
}

/// A line of the client: the text ahead of the address if it bears one of its own, and behind it.
pub(super) type Said = (Means, &'static str, &'static str);

pub(super) const CLIENT_LINES: &[Said] = &[
    (Means::Login, "USER daniel\r\n", ""),
    (Means::Login, "PASS s3cr3t\r\n", ""),
    (Means::Pasv, "PASV\r\n", ""),
    (Means::Epsv, "EPSV\r\n", ""),
    (Means::Epsv, "epsv 1\n", ""),
    (Means::Port(5001), "PORT ", "\r\n"),
    (Means::Port(5002), "port  ", " \n"),
    (Means::Port(20), "PORT ", "\r\n"),
    (Means::Port(0), "PORT ", "\r\n"),
    (Means::Eprt(5003), "EPRT ", "\r\n"),
    (Means::Eprt(1023), "EPRT ", "\r\n"),
    (Means::Foreign, "PORT 198,51,100,77,19,137\r\n", ""),
    (Means::Foreign, "PORT 198,51,100,77,0,20\r\n", ""),
    (Means::Foreign, "EPRT |1|198.51.100.77|5001|\r\n", ""),
    (Means::Malformed, "PORT 1,2,3\r\n", ""),
    (Means::Malformed, "PORT 192,0,2,2,19,137,1\r\n", ""),
    (Means::Malformed, "PORT 192,0,2,256,19,137\r\n", ""),
    (Means::Malformed, "PORT\r\n", ""),
    (Means::Malformed, "EPRT |1|192.0.2.2|65536|\r\n", ""),
    (Means::Family, "EPRT |2|2001:db8::77|5001|\r\n", ""),
    (Means::Family, "EPRT |3|x|5001|\r\n", ""),
    (Means::Family, "EPSV 2\r\n", ""),
    (Means::EpsvAll, "EPSV ALL\r\n", ""),
    (Means::LongAddress, "LPRT 6,16,1\r\n", ""),
    (Means::Transfer, "RETR file\r\n", ""),
    (Means::Transfer, "LIST\r\n", ""),
    (Means::Plain, "NOOP\r\n", ""),
    (Means::Plain, "SITE PORT 192,0,2,2,19,137\r\n", ""),
    (Means::Plain, "STAT 227 (10,0,0,5,195,80)\r\n", ""),
    (Means::Feat, "FEAT\r\n", ""),
    (Means::Rein, "REIN\r\n", ""),
    (Means::Abor, "ABOR\r\n", ""),
    (Means::Quit, "QUIT\r\n", ""),
    (Means::Auth, "AUTH TLS\r\n", ""),
    (Means::Unknown, "XYZZY\r\n", ""),
    (Means::Http, "GET / HTTP/1.1\r\n", ""),
    (Means::Reply, "227 ok (1,2,3,4,5,6)\r\n", ""),
];

/// Where a line of the server stands in a reply, if one may begin there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `ddd `
    Whole(u16),
    /// `ddd-`
    First(u16),
    /// Without a code.
    Text,
    /// A command that negotiates data.
    Command,
}

/// Where a line of the server says that it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    Nothing,
    /// As in 227, at the server's own address or at another one. The line is cut there.
    At {
        own: bool,
        port: u16,
    },
    /// As in 229. The line is cut there.
    Port(u16),
    /// Numbers that are no address.
    Broken,
    /// A feature that is never offered.
    Long,
    /// A feature that is offered where TLS may be.
    Tls,
}

/// A line of the server: the text ahead of what is named, and behind it.
pub(super) type Answer = (Form, Names, &'static str, &'static str);

const fn at(port: u16) -> Names {
    Names::At { own: true, port }
}

pub(super) const SERVER_LINES: &[Answer] = &[
    (Form::Whole(220), Names::Nothing, "220 ready\r\n", ""),
    (Form::Whole(120), Names::Nothing, "120 wait\r\n", ""),
    (Form::Whole(331), Names::Nothing, "331 password\r\n", ""),
    (Form::Whole(230), Names::Nothing, "230 in\r\n", ""),
    (Form::Whole(530), Names::Nothing, "530 no\n", ""),
    (Form::Whole(200), Names::Nothing, "200 ok\r\n", ""),
    (Form::Whole(150), Names::Nothing, "150 here\r\n", ""),
    (Form::Whole(226), Names::Nothing, "226 done\r\n", ""),
    (Form::Whole(426), Names::Nothing, "426 cut\r\n", ""),
    (Form::Whole(225), Names::Nothing, "225 nothing to abort\r\n", ""),
    (Form::Whole(500), Names::Nothing, "500 what\r\n", ""),
    (Form::Whole(421), Names::Nothing, "421 bye\r\n", ""),
    (Form::Whole(227), at(50000), "227 Entering Passive Mode (", ").\r\n"),
    (Form::Whole(227), at(50001), "227 =", "\n"),
    (Form::Whole(227), at(21), "227 low (", ")\r\n"),
    (Form::Whole(227), Names::At { own: false, port: 50003 }, "227 elsewhere (", ")\r\n"),
    (Form::Whole(227), Names::Broken, "227 (10,0,0,256,195,80)\r\n", ""),
    (Form::Whole(227), Names::Nothing, "227 End\r\n", ""),
    (Form::First(227), at(50001), "227-Passive (", ")\r\n"),
    (Form::First(227), Names::Nothing, "227-Passive\r\n", ""),
    (Form::Text, at(50001), " mind (", ")\r\n"),
    (Form::Text, Names::Broken, " 1,2,3\r\n", ""),
    (Form::Whole(500), at(50000), "500 no 227 (", ")\r\n"),
    (Form::Whole(229), Names::Port(50007), "229 Extended (", ")\r\n"),
    (Form::Whole(229), Names::Port(1023), "229 low (", ")\r\n"),
    (Form::Whole(229), Names::Nothing, "229 (|||0|)\r\n", ""),
    (Form::Whole(229), Names::Nothing, "229 End\r\n", ""),
    (Form::First(229), Names::Port(50007), "229-Extended (", ")\r\n"),
    (Form::Text, Names::Port(50008), " mind (", ")\r\n"),
    (Form::First(211), Names::Nothing, "211-Features:\r\n", ""),
    (Form::Text, Names::Long, " LPRT\r\n", ""),
    (Form::Text, Names::Tls, " AUTH TLS\r\n", ""),
    // Where a reply is due it is one; within one it is a feature.
    (Form::Command, Names::Nothing, " EPSV\r\n", ""),
    (Form::Whole(211), Names::Nothing, "211 End\r\n", ""),
    (Form::Text, Names::Nothing, "stray\r\n", ""),
    // Within a reply to PASV its numbers are an address like any other.
    (Form::Command, at(258), "PORT ", "\r\n"),
];

/// An address as in PORT and 227.
pub(super) fn numbers(ip: &str, port: u16) -> String {
    format!("{},{},{}", ip.replace('.', ","), port >> 8, port & 0xff)
}

/// The bytes of a line of the client.
pub(super) fn spoken((means, ahead, behind): Said) -> Vec<u8> {
    let address = match means {
        Means::Port(port) => numbers(CLIENT, port),
        Means::Eprt(port) => format!("|1|{CLIENT}|{port}|"),
        _ => String::new(),
    };
    [ahead, &address, behind].concat().into_bytes()
}

/// The bytes of a line of the server.
pub(super) fn answered((_, names, ahead, behind): Answer) -> Vec<u8> {
    let address = match names {
        Names::At { own, port } => numbers(if own { SERVER } else { "10.99.0.5" }, port),
        Names::Port(port) => format!("|||{port}|"),
        Names::Nothing | Names::Broken | Names::Long | Names::Tls => String::new(),
    };
    [ahead, &address, behind].concat().into_bytes()
}
