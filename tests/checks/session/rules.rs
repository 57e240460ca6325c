//! The owner's rules in a play: policies as an owner writes them, and beside each of them in plain words
//! what may never reach the server, told by a server that knows where its client is.
//!
//! Nothing of the code that judges is used here.

use super::truth::{Truth, resolve};
use ftpgate::config;
use ftpgate::policy::Policy;
use std::sync::LazyLock;

/// What clients say besides where there are rules; as in `vocabulary`.
pub(super) const CLIENT_LINES: &[&str] = &[
    "USER daniel\r\n",
    "USER eve\r\n",
    "USER nobody\r\n",
    "USER anonymous\r\n",
    "PASS s3cr3t\r\n",
    "REIN\r\n",
    "CWD pub\r\n",
    "CWD /secret\r\n",
    "CWD link\r\n",
    "CWD nowhere\r\n",
    "CDUP\r\n",
    "xcwd ..\r\n",
    "SITE CD /secret\r\n",
    "SMNT /secret\r\n",
    "XYZZY /secret\r\n",
    "pwd\r\n",
    "DELE a\r\n",
    "dele secret/a\r\n",
    "DELE  /secret/a\r\n",
    "DELE ../secret/a.exe\r\n",
    "RETR /pub/a\r\n",
    "RETR /pub/../secret/a\r\n",
    "RETR ~root/a\r\n",
    "STOR b.exe\r\n",
    "STOR /pub/b\r\n",
    "STOU\r\n",
    "APPE pub/./x\r\n",
    "RNFR a\r\n",
    "RNTO /pub/b\r\n",
    "RNTO b\r\n",
    "MDTM a\r\n",
    "MDTM 20020717210715 /secret/a\r\n",
    "MFMT 20020717210715 a\r\n",
    "SITE EXEC x\r\n",
    "site \"ex\\ec\" x\r\n",
    "SITE HELP\r\n",
    "XMKD a\r\n",
    "RMD /pub\r\n",
    "LIST /secret\r\n",
    "LIST -a\r\n",
    "REST 1\r\n",
    "MIC abcd\r\n",
    "AUTH TLS\r\n",
    "PBSZ 0\r\n",
    "PROT P\r\n",
    "PROT C\r\n",
    "CCC\r\n",
    "PASV\r\n",
    "EPSV\r\n",
    "PORT %n,19,137\r\n",
    "PORT 198,51,100,77,19,137\r\n",
    "PORT 192,0,2,77,19,137\r\n",
    "EPRT |1|198.51.100.77|5001|\r\n",
    "FEAT\r\n",
    "NOOP\r\n",
    "NO-OP\r\n",
];

/// What servers say besides, unasked.
pub(super) const SERVER_LINES: &[&str] = &[
    "257 \"/pub\"\r\n",
    "257 \"/secret\" is it\r\n",
    "257 /pub\r\n",
    "257 \"\"\r\n",
    "250 ok\r\n",
    "550 no\r\n",
    "230 in\r\n",
    "331 password\r\n",
];

/// The policies, as they stand behind `default:`.
const POLICIES: [&str; 16] = [
    "{ profile: read_only }",
    "{ profile: upload_only }",
    "{ deny: [DELE, RNTO, MDTM, SITE EXEC], strict: true }",
    "{ allow_only: [RETR, LIST, CWD, CDUP] }",
    "{ paths: { deny: [/secret, /secret/**, '*.exe'] } }",
    "{ paths: { allow_only: [/pub/**] } }",
    "{ active: refuse, anonymous: refuse }",
    "{ fxp: listed, fxp_peers: [198.51.100.0/24], deny: [PASV, EPSV, CPSV, LPSV] }",
    "{ data_protection: private }",
    "{ ccc: refuse }",
    "{ ccc: after_login, data_protection: private }",
    "{ profile: read_only, rules: [{ name: owner, match: { user: [dan*], login: after }, verdict: allow }] }",
    "{ rules: [{ name: trap, match: { command: [DELE] }, verdict: close }, \
       { name: early, match: { login: before, command: [FEAT, SITE] }, verdict: refuse }] }",
    "{ servers: [192.0.2.0/24] }",
    "{ profile: upload_only, rules: [{ name: home, match: { user: [dan*], path: [/pub/**] }, verdict: allow }] }",
    "{ fxp: same_net, rules: [{ name: late, match: { tls: [clear], command: [USER, PASS] }, verdict: refuse }] }",
];

static COMPILED: LazyLock<Vec<Policy>> = LazyLock::new(|| {
    let compile = |policy: &&str| {
        let listener = "listeners: [{ server: \"10.0.0.5:21\" }]";
        let text = format!("{listener}\npolicies:\n  default: {policy}\n");
        let config = config::parse("policy.yaml", &text);
        let config = config.unwrap_or_else(|problems| panic!("{problems}"));
        config.policies["default"].compile(&config.listeners[0].name)
    };
    POLICIES.iter().map(compile).collect()
});

/// One of the policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules(usize);

/// The verbs that change what the server keeps.
const WRITING: &[&str] = &[
    "DELE", "STOR", "STOU", "APPE", "MKD", "XMKD", "RMD", "XRMD", "RNFR", "RNTO", "MFMT", "MFCT",
    "MFF", "SMNT", "MIC", "XYZZY",
];

/// Those that fetch, rename or remove.
const NOT_ADDING: &[&str] =
    &["RETR", "DELE", "RMD", "XRMD", "RNFR", "RNTO", "MFF", "SMNT", "MIC", "XYZZY"];

/// Those that name a file.
const NAMING: &[&str] =
    &["RETR", "STOR", "APPE", "DELE", "RNFR", "RNTO", "MKD", "XMKD", "RMD", "XRMD", "MDTM", "MFMT"];

/// Those that need a data connection.
const MOVING: &[&str] = &["RETR", "STOR", "STOU", "APPE", "LIST", "NLST", "MLSD"];

impl Rules {
    pub(super) fn of(choice: u8) -> Self {
        Self(usize::from(choice) % POLICIES.len())
    }

    pub(super) fn policy(self) -> Policy {
        COMPILED[self.0].clone()
    }

    /// False if the server may hear nothing at all.
    pub(super) fn may_connect(self) -> bool {
        self.0 != 13
    }

    /// True if a client may be met where it listens, and may meet a server that does.
    pub(super) fn may_open(self, client_listens: bool) -> bool {
        match self.0 {
            6 => !client_listens,
            7 => client_listens,
            13 => false,
            _ => true,
        }
    }

    /// True if PORT may name this third host's network.
    pub(super) fn may_name(self, third: [u8; 4]) -> bool {
        match self.0 {
            7 => third[..3] == [198, 51, 100],
            15 => third[..3] == [192, 0, 2],
            _ => false,
        }
    }

    /// True if the client's TLS may end by CCC, of one who is logged in or not if that is known.
    pub(super) fn may_clear(self, logged_in: Option<bool>) -> bool {
        match self.0 {
            9 => false,
            10 => logged_in != Some(false),
            _ => true,
        }
    }

    /// True if the reply to FEAT may have this line.
    pub(super) fn may_offer(self, line: &[u8]) -> bool {
        let offers = |feature: &[u8]| line.starts_with(feature);
        match self.0 {
            0 => !offers(b" MFMT"),
            1 => !offers(b" RANG"),
            2 => !offers(b" MDTM"),
            3 => !offers(b" MDTM") && !offers(b" MFMT"),
            _ => true,
        }
    }

    /// True if the server may be sent this line: at any time, or with `truth` at the moment when it
    /// works the line off. `secured`: TLS with the client ends, or has ended, at the gateway.
    pub(super) fn may_come(self, line: &[u8], truth: Option<&Truth>, secured: bool) -> bool {
        let (verb, argument) = split(line);
        let verb = verb.as_str();
        let word = argument.split(|byte| *byte == b' ').next().unwrap_or_default();
        let word: Vec<u8> = word.iter().filter(|byte| !b"\"\\".contains(byte)).copied().collect();
        let site = |name: &str| verb == "SITE" && word.eq_ignore_ascii_case(name.as_bytes());
        let sets_time = verb == "MDTM" && word.len() >= 8 && word[0].is_ascii_digit();
        let changes = || sets_time || WRITING.contains(&verb) || (verb == "SITE" && !site("HELP"));
        let takes = || NOT_ADDING.contains(&verb) || (verb == "SITE" && !site("HELP"));
        let path = || {
            let named = NAMING.contains(&verb).then_some(truth?)?;
            let timed = verb == "MFMT" || sets_time;
            let name = if timed { &argument[word.len()..] } else { argument };
            Some(resolve(&named.directory, if timed { name.trim_ascii_start() } else { name }))
        };
        let within = |path: &[u8], folder: &[u8]| {
            path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        let is_owner = || truth.is_none_or(|truth| truth.user.starts_with(b"daniel"));
        match self.0 {
            0 => !changes(),
            1 => !takes(),
            2 => {
                let asks = verb == "MDTM" && !sets_time;
                !(asks || ["DELE", "RNTO"].contains(&verb) || site("EXEC"))
            }
            3 => {
                let others = ["STOR", "STOU", "APPE", "DELE", "RNFR", "RNTO", "MDTM", "MFMT"];
                let more = ["SITE", "XMKD", "RMD", "SMNT", "XYZZY", "MIC"];
                !others.contains(&verb) && !more.contains(&verb)
            }
            4 => path().is_none_or(|path| !within(&path, b"/secret") && !path.ends_with(b".exe")),
            5 => path().is_none_or(|path| within(&path, b"/pub") && path.len() > 4),
            6 => !(verb == "USER" && argument.eq_ignore_ascii_case(b"anonymous")),
            8 => (secured || !MOVING.contains(&verb)) && line != b"PROT C\r\n",
            10 => secured || !MOVING.contains(&verb),
            11 => !changes() || is_owner() && truth.is_none_or(|truth| truth.logged_in),
            12 => {
                let early = truth.is_some_and(|truth| !truth.logged_in);
                verb != "DELE" && !(early && ["FEAT", "SITE"].contains(&verb))
            }
            13 => false,
            14 => {
                let home = || path().is_none_or(|path| within(&path, b"/pub") && path.len() > 4);
                !takes() || is_owner() && NAMING.contains(&verb) && home()
            }
            15 => secured || !["USER", "PASS"].contains(&verb),
            _ => true,
        }
    }
}

/// The verb in capitals, and what stands behind its blank: as a server takes them that takes whatever
/// is there for the name.
pub(super) fn split(line: &[u8]) -> (String, &[u8]) {
    let end = line.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
    let line = &line[..end];
    let verb = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let argument = line.get(verb + 1..).unwrap_or_default();
    (String::from_utf8_lossy(&line[..verb]).to_ascii_uppercase(), argument)
}
