use super::*;

const KEY: &str = "listeners[0].proxy_protocol";

#[test]
fn the_section_is_read() {
    let text = "    proxy_protocol: { accept_from: [192.0.2.7, '2001:db8::/64'], send: v2, send_data: true }\n";
    let config = parse("x", &listener(text)).unwrap();
    let expected = ProxyProtocol {
        accept_from: vec![
            Network::new("192.0.2.7".parse().unwrap(), 32).unwrap(),
            Network::new("2001:db8::".parse().unwrap(), 64).unwrap(),
        ],
        send: SendHeader::V2,
        send_data: true,
    };
    assert_eq!(config.listeners[0].proxy_protocol, expected);
    let config = parse("x", &listener("    proxy_protocol: { send: v1 }\n")).unwrap();
    let expected = ProxyProtocol { send: SendHeader::V1, ..ProxyProtocol::default() };
    assert_eq!(config.listeners[0].proxy_protocol, expected);
}

#[rstest]
#[case("accept_from: 192.0.2.7", "accept_from", "needs a list of addresses and networks")]
#[case("accept_from: [lb.example]", "accept_from", "`lb.example` is no address and no network")]
#[case("accept_from: ['*']", "accept_from", "`*` is no address")]
#[case("accept_from: [192.0.2.7/33]", "accept_from", "no prefix from 0 to 32")]
#[case("accept_from: [192.0.2.7/24]", "accept_from", "write 192.0.2.0/24, or 192.0.2.7/32")]
#[case("accept_from: [192.0.2.7, 192.0.2.7/32]", "accept_from", "twice")]
#[case("accept_from: ['::ffff:192.0.2.7']", "accept_from", "write it as IPv4, as 192.0.2.7")]
#[case("send: v3", "send", "write none, v1 or v2")]
#[case("send: true", "send", "write none, v1 or v2")]
#[case("send: v2, send_data: 1", "send_data", "needs true or false")]
#[case("send_data: true", "send_data", "there is no header to send: write send: v1 or v2")]
fn values(#[case] words: &str, #[case] key: &str, #[case] complaint: &str) {
    let text = listener(&format!("    proxy_protocol: {{ {words} }}\n"));
    only(&text, 3, &format!("{KEY}.{key}"), complaint);
}

#[rstest]
#[case("redirect")]
#[case("tproxy")]
fn only_clients_that_dial_the_gateway_can_be_introduced(#[case] capture: &str) {
    let more =
        format!("    capture: {capture}\n    proxy_protocol: {{ accept_from: [10.0.0.0/8] }}\n");
    let words = format!("clients of a `{capture}` listener dial the server");
    only(&listener(&more), 4, &format!("{KEY}.accept_from"), &words);
    // What is sent does not depend on it.
    let more = format!("    capture: {capture}\n    proxy_protocol: {{ send: v1 }}\n");
    assert!(parse("x", &listener(&more)).is_ok());
}

#[rstest]
#[case("accept_from: ['::1']", "accept_from", "the kernel cannot take off")]
#[case("send: v1, send_data: true", "send_data", "the kernel cannot send a header")]
fn the_kernel_knows_no_headers(#[case] words: &str, #[case] key: &str, #[case] complaint: &str) {
    let more = format!("    proxy_protocol: {{ {words} }}\ndata: {{ path: kernel }}\n");
    only(&listener(&more), 3, &format!("{KEY}.{key}"), complaint);
    for path in ["auto", "relay"] {
        assert!(parse("x", &listener(&more.replace("kernel", path))).is_ok(), "{path}");
    }
    // The control connection alone leaves the kernel its data.
    let control = "    proxy_protocol: { send: v1 }\ndata: { path: kernel }\n";
    assert!(parse("x", &listener(control)).is_ok());
}
