//! Lists of addresses, some of them forged.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const PROXY: &str = "10.0.0.1";

fn proxies(forwarded: Option<ForwardedHeader>) -> Proxies {
    Proxies {
        trusted: ["10.0.0.0/8", "fd00::/8"]
            .map(|network| network.parse().unwrap())
            .to_vec(),
        protocol: false,
        forwarded,
    }
}

/// Whom a request comes from that arrived from the proxy with these lines.
fn client(field: ForwardedHeader, lines: &[&str]) -> String {
    let mut headers = HeaderMap::new();
    for line in lines {
        let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
        headers.append(field.name(), value);
    }
    client_address(&headers, PROXY.parse().unwrap(), &proxies(Some(field))).to_string()
}

#[test]
fn the_last_address_that_is_no_proxy_counts() {
    for (lines, expected) in [
        (&["192.0.2.7"][..], "192.0.2.7"),
        (&["198.51.100.9, 192.0.2.7"], "192.0.2.7"),
        (&["198.51.100.9,192.0.2.7 , 10.0.0.2,10.0.0.3"], "192.0.2.7"),
        (&["198.51.100.9", "192.0.2.7", "10.0.0.2"], "192.0.2.7"),
        (&["192.0.2.7, 10.0.0.2", "fd00::1"], "192.0.2.7"),
        (&["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        (&["2001:db8::7"], "2001:db8::7"),
        (&["[2001:db8::7]"], "2001:db8::7"),
        (&["[2001:db8::7]:4711"], "2001:db8::7"),
        (&["192.0.2.7:4711"], "192.0.2.7"),
        (&["::ffff:192.0.2.7, ::ffff:10.0.0.2"], "192.0.2.7"),
        (&["192.0.2.7,, ,"], "192.0.2.7"),
        // What cannot be read ends the search, at the last proxy that is known.
        (&["192.0.2.7, unknown"], PROXY),
        (&["192.0.2.7, nonsense, 10.0.0.2"], "10.0.0.2"),
        (&["192.0.2.7, 192.0.2.300"], PROXY),
        (&["fe80::1%eth0"], PROXY),
        (&[""], PROXY),
        (&[], PROXY),
        // What a client sends in front of it changes nothing.
        (&["\", 192.0.2.7"], "192.0.2.7"),
        (&["\u{fc}\u{80}, 192.0.2.7"], "192.0.2.7"),
    ] {
        let found = client(ForwardedHeader::XForwardedFor, lines);
        assert_eq!(found, expected, "{lines:?}");
    }
}

#[test]
fn forwarded_is_read_as_its_rfc_has_it() {
    for (lines, expected) in [
        (&["for=192.0.2.7"][..], "192.0.2.7"),
        (&["For=\"192.0.2.7:4711\""], "192.0.2.7"),
        (&["For=\"[2001:DB8:cafe::17]:4711\""], "2001:db8:cafe::17"),
        (&["for=\"[2001:db8:cafe::17]\""], "2001:db8:cafe::17"),
        (&["for=192.0.2.7;proto=https;by=203.0.113.43"], "192.0.2.7"),
        (
            &["proto=https; host=\"a, for=\\\"1.1.1.1\\\"\" ;for=192.0.2.7;"],
            "192.0.2.7",
        ),
        (
            &["for=198.51.100.9, for=192.0.2.7, for=10.0.0.2"],
            "192.0.2.7",
        ),
        (&["for=192.0.2.7", "for=\"[fd00::2]\""], "192.0.2.7"),
        (&["for=\"192.0.2.7:_port\""], "192.0.2.7"),
        // A proxy that does not say.
        (&["for=192.0.2.7, for=unknown"], PROXY),
        (&["for=192.0.2.7, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
        (&["for=192.0.2.7, proto=https"], PROXY),
        (&["for=192.0.2.7, for=\"unknown:_x\""], PROXY),
        // What is malformed.
        (&["192.0.2.7"], PROXY),
        (&["for=192.0.2.7 for=192.0.2.8"], PROXY),
        (&["for=192.0.2.7;for=192.0.2.8"], PROXY),
        (&["for=\"192.0.2.7"], PROXY),
        (&["for=\"192.0.2.7\"x"], PROXY),
        (&["for=2001:db8::7"], PROXY),
        (&["for=\"[192.0.2.7]\""], PROXY),
        (&["for=\"192.0.2.7:\""], PROXY),
        (&["for=\"192.0.2.7:123456\""], PROXY),
        (&["for=\"[2001:db8::7]4711\""], PROXY),
        // Quotes that a client left open reach no further than what it sent.
        (&["for=\", for=192.0.2.7"], "192.0.2.7"),
        (&["for=\"\\\", for=192.0.2.7"], "192.0.2.7"),
        (&["for=\"", "for=192.0.2.7"], "192.0.2.7"),
    ] {
        let found = client(ForwardedHeader::Forwarded, lines);
        assert_eq!(found, expected, "{lines:?}");
    }
}

#[test]
fn nobody_else_is_believed() {
    let field = ForwardedHeader::XForwardedFor;
    let mut headers = HeaderMap::new();
    headers.insert(field.name(), HeaderValue::from_static("192.0.2.7"));
    headers.insert(FORWARDED, HeaderValue::from_static("for=192.0.2.8"));
    let stranger = "198.51.100.9".parse().unwrap();
    let proxy = PROXY.parse().unwrap();
    let found = |from, field| client_address(&headers, from, &proxies(field));
    assert_eq!(found(stranger, Some(field)), stranger);
    assert_eq!(found(proxy, None), proxy);
    assert_eq!(found(proxy, Some(field)).to_string(), "192.0.2.7");
    let forwarded = Some(ForwardedHeader::Forwarded);
    assert_eq!(found(proxy, forwarded).to_string(), "192.0.2.8");
}

#[test]
fn a_row_of_proxies_ends() {
    let line = vec!["10.0.0.2"; MAX_PROXIES + 1].join(",");
    let line = format!("192.0.2.7,{line}");
    let found = client(ForwardedHeader::XForwardedFor, &[&line]);
    assert_eq!(found, "10.0.0.2");
}

proptest! {
    /// Whatever a client sends, in the same line or in its own: what the proxy adds counts.
    #[test]
    fn a_client_cannot_change_its_address(sent in "[ -~\u{80}-\u{ff}]{0,60}", own_line: bool, v6: bool) {
        let address = if v6 { "2001:db8::7" } else { "192.0.2.7" };
        let added = [
            (ForwardedHeader::XForwardedFor, address.to_owned()),
            (ForwardedHeader::Forwarded, if v6 { format!("for=\"[{address}]:1\";proto=https") } else { format!("for={address}") }),
        ];
        for (field, added) in added {
            let line = format!("{sent}, {added}");
            let found = if own_line { client(field, &[&sent, &added]) } else { client(field, &[&line]) };
            prop_assert_eq!(found, address);
        }
    }

    /// No more than the list says, and never a panic.
    #[test]
    fn the_address_is_in_the_list_or_the_proxys(line in "[0-9a-fF:.,;=\"\\[\\] _or\\\\]{0,80}") {
        for field in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
            let found: IpAddr = client(field, &[&line]).parse().unwrap();
            let known = found.to_string() == PROXY
                || line.split(|c| ",;=\"[] ".contains(c)).any(|word| {
                    let without_port = word.rsplit_once(':').map_or("", |(address, _)| address);
                    [word, without_port].iter().any(|text| text.parse().is_ok_and(|a: IpAddr| a.to_canonical() == found))
                });
            prop_assert!(known, "{} in {}", found, line);
        }
    }
}
