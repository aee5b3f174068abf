//! Lists of addresses that proxies write: whatever a client put in front, what the last proxy added counts.
#![no_main]

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use sealslot::server::Proxies;
use sealslot::server::client_address::{ForwardedHeader, client_address};

const PROXY: &str = "10.0.0.1";

fn found(field: ForwardedHeader, lines: &[&[u8]]) -> IpAddr {
    let name = match field {
        ForwardedHeader::Forwarded => "forwarded",
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let proxies = Proxies {
        trusted: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        protocol: false,
        forwarded: Some(field),
    };
    client_address(&headers, PROXY.parse().unwrap(), &proxies)
}

// A header field on each line.
fuzz_target!(|bytes: &[u8]| {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let added = [
        (ForwardedHeader::XForwardedFor, "2001:db8::7"),
        (
            ForwardedHeader::Forwarded,
            "for=\"[2001:db8::7]:4711\";proto=https",
        ),
    ];
    for (field, added) in added {
        found(field, &lines);
        let client: IpAddr = "2001:db8::7".parse().unwrap();
        let own_line = [&lines[..], &[added.as_bytes()]].concat();
        assert_eq!(found(field, &own_line), client);
        if HeaderValue::from_bytes(lines[0]).is_ok() {
            let joined = [lines[0], b", ", added.as_bytes()].concat();
            assert_eq!(found(field, &[&joined]), client);
        }
    }
});
