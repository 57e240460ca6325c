//! What peers say in a play: lines of both sides, names that clients ask for, and records of TLS.

/// Stands for everything that a user keeps to himself.
pub(super) const SECRET: &str = "s3cr3t";

/// Who logs in: told of the login, and of nothing else.
pub(super) const USER: &str = "daniel";

/// What the clients of the plays say; `%n` is the client's address as in PORT, `%e` as in EPRT.
pub(super) const CLIENT_LINES: &[&str] = &[
    "USER daniel\r\n",
    "PASS s3cr3t\r\n",
    "ACCT s3cr3t\r\n",
    "PASV\r\n",
    "EPSV\r\n",
    "EPSV 1\r\n",
    "EPSV 2\r\n",
    "EPSV ALL\r\n",
    "PORT %n,19,137\r\n",
    "port  %n,19,138 \n",
    "PORT 198,51,100,77,19,137\r\n",
    "PORT %n,0,20\r\n",
    "PORT 1,2,3\r\n",
    "EPRT %e|5001|\r\n",
    "EPRT |2|2001:db8::77|5001|\r\n",
    "EPRT |3|x|5001|\r\n",
    "RETR file\r\n",
    "stor \u{e9}\r\n",
    "LIST\r\n",
    "ABOR\r\n",
    "\u{f4}\u{f2}ABOR\r\n",
    "REIN\r\n",
    "QUIT\r\n",
    "FEAT\r\n",
    "NOOP\r\n",
    "AUTH TLS\r\n",
    "AUTH GSSAPI\r\n",
    "LPRT 6,16,1\r\n",
    "SITE %n,19,137\r\n",
    "227 ok (1,2,3,4,5,6)\r\n",
    "GET / HTTP/1.1\r\n",
    "XYZZY\r\n",
];

/// What the servers of the plays say; `%n` is the server's address as in 227.
pub(super) const SERVER_LINES: &[&str] = &[
    "220 ready\r\n",
    "120 wait\r\n",
    "331 password\r\n",
    "230 in\r\n",
    "530 no\r\n",
    "227 Entering Passive Mode (%n,195,80).\r\n",
    "227 =%n,195,81\r\n",
    "227-Passive (%n,195,82)\r\n",
    " mind (%n,195,82)\r\n",
    "227 End\r\n",
    "227 End (%n,195,82)\r\n",
    "227 (10,99,0,5,195,83)\r\n",
    "227 (%n,195,84) (%n,195,84)\r\n",
    "227 (%n,0,21)\r\n",
    "229 Extended (|||50007|)\r\n",
    "229 Extended (|1|10.0.0.5|50008|)\r\n",
    "229 (|||0|)\r\n",
    "229-\r\n",
    "229 (|||50009|)\r\n",
    "200 ok\r\n",
    "150 here\r\n",
    "226 done\r\n",
    "426 cut\r\n",
    "225 nothing to abort\r\n",
    "500 what\r\n",
    "211-Features:\r\n",
    " LPRT\r\n",
    " EPSV\r\n",
    "211 End\r\n",
    "234 go\r\n",
    "stray\r\n",
    "PORT 10,0,0,5,1,2\r\n",
];

/// What clients say besides where TLS ends at the gateway.
pub(super) const CLIENT_TLS_LINES: &[&str] = &[
    "AUTH TLS\r\n",
    "PBSZ 0\r\n",
    "PROT P\r\n",
    "PROT C\r\n",
    "CCC\r\n",
    "AUTH TLS-P\r\n",
    "auth ssl\n",
    "prot p\r\n",
    "PROT S\r\n",
    "PROT x\r\n",
    "PBSZ x\r\n",
    "SSCN ON\r\n",
    "CPSV\r\n",
    "ADAT abcd\r\n",
    "ENC abcd\r\n",
    "PASV\r\n",
];

/// What servers say besides where TLS ends at the gateway.
pub(super) const SERVER_TLS_LINES: &[&str] = &[
    "234 go\r\n",
    "234-go\r\n",
    " on\r\n",
    "200 PBSZ=0 too\r\n",
    "502 what\r\n",
    "533 no\r\n",
    "536 no\r\n",
    "421 too many\r\n",
    "200-clear\r\n",
    "150 hm\r\n",
    "334 ADAT=abcd\r\n",
    "631 abcd\r\n",
    "633 abcd\r\n",
    "220-ready\r\n",
    "220 steady\r\n",
    "\u{fd}\u{6}",
];

/// The names that clients ask for; the last one is on the list of those that are carried unread.
pub(super) const NAMES: &[Option<&str>] = &[None, Some("ftp.example"), Some("ftp.bank.example")];

/// A record of TLS.
pub(super) fn record(content: &str) -> &'static [u8] {
    match content {
        "handshake" => b"\x16\x03\x01\x00\x04abcd",
        "change" => b"\x14\x03\x03\x00\x01\x01",
        "data" => b"\x17\x03\x03\x00\x04efgh",
        _ => b"\x15\x03\x03\x00\x02\x01\x00",
    }
}
