//! What an authority is limited to (RFC 5280, section 4.2.1.10). Told by the kinds of names and never by how they look: a DNS name
//! in a certificate can be any text, also one like a network's.

use std::fmt;
use std::net::IpAddr;

use x509_cert::ext::pkix::NameConstraints;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName;

use super::HostName;
use crate::tls::host::address_of_octets;

/// Names that look like those of hosts and are whole zones of private networks (RFC 8375; RFC 6762, appendix G, has single labels).
const PRIVATE_ZONES: [&str; 3] = ["home.arpa", "in-addr.arpa", "ip6.arpa"];

/// What an authority is limited to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraints {
    /// What is permitted, for people: DNS names, networks like `192.0.2.7/32`, other kinds of names as `x509-cert` writes them.
    /// Escaped.
    pub permitted: Vec<String>,
    /// The same, of what is excluded. The empty DNS name is all of them.
    pub excluded: Vec<String>,
    /// The hosts that it leaves, where it leaves no more than single addresses and named hosts.
    hosts: Option<Vec<HostName>>,
}

/// The kinds of names by which clients know servers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dns,
    V4,
    V6,
}

impl Constraints {
    pub(super) fn of(critical: bool, limits: &NameConstraints) -> Self {
        let permitted = limits.permitted_subtrees.as_deref().unwrap_or_default();
        let excluded = limits.excluded_subtrees.as_deref().unwrap_or_default();
        let listed = |trees: &[GeneralSubtree]| trees.iter().map(|tree| base(&tree.base)).collect();
        Self {
            hosts: critical.then(|| hosts(permitted, excluded)).flatten(),
            permitted: listed(permitted),
            excluded: listed(excluded),
        }
    }

    /// The hosts that it leaves, DNS names with every name below them; `None` where it leaves more, or what verifiers may read in
    /// several ways.
    pub fn hosts(&self) -> Option<&[HostName]> {
        self.hosts.as_deref()
    }

    /// Those of its hosts that may be more than a host: a name without a dot can be a top-level domain, or one that a network keeps
    /// for itself (RFC 2606, RFC 6761). `localhost` is none.
    pub fn broad(&self) -> impl Iterator<Item = &HostName> {
        let hosts = self.hosts.iter().flatten();
        hosts.filter(|host| match host {
            HostName::Dns(name) => {
                let name = name.as_ref();
                name != "localhost" && !name.contains('.') || PRIVATE_ZONES.contains(&name)
            }
            HostName::Ip(_) => false,
        })
    }
}

impl fmt::Display for Constraints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Some(hosts) => {
                let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
                f.write_str(&hosts.join(", "))
            }
            None => f.write_str(&self.permitted.join(", ")),
        }
    }
}

fn hosts(permitted: &[GeneralSubtree], excluded: &[GeneralSubtree]) -> Option<Vec<HostName>> {
    // Other values are not used (RFC 5280), and verifiers differ in what they make of them.
    let usual = |tree: &GeneralSubtree| tree.minimum == 0 && tree.maximum.is_none();
    if !permitted.iter().chain(excluded).all(usual) {
        return None;
    }
    let hosts: Vec<_> = permitted
        .iter()
        .map(|tree| single(&tree.base))
        .collect::<Option<_>>()?;
    let shut: Vec<_> = excluded
        .iter()
        .map(|tree| whole(&tree.base))
        .collect::<Option<_>>()?;
    // A kind of name that is not mentioned is not limited at all. Kinds beside these mean nothing to clients of TLS servers.
    let limited = |kind| shut.contains(&kind) || hosts.iter().any(|host| kind_of(host) == kind);
    [Kind::Dns, Kind::V4, Kind::V6]
        .into_iter()
        .all(limited)
        .then_some(hosts)
}

fn kind_of(host: &HostName) -> Kind {
    match host {
        HostName::Dns(_) => Kind::Dns,
        HostName::Ip(IpAddr::V4(_)) => Kind::V4,
        HostName::Ip(IpAddr::V6(_)) => Kind::V6,
    }
}

/// The one host that a subtree is; `None` where it is none, or is not written as [`HostName`] writes it.
fn single(name: &GeneralName) -> Option<HostName> {
    match name {
        GeneralName::DnsName(name) => {
            let host: HostName = name.as_str().parse().ok()?;
            let same = host.to_string().eq_ignore_ascii_case(name.as_str());
            (kind_of(&host) == Kind::Dns && same).then_some(host)
        }
        GeneralName::IpAddress(octets) => {
            let (address, mask) = network(octets.as_bytes())?;
            let host: HostName = address.to_string().parse().ok()?;
            let one = mask.iter().all(|octet| *octet == 0xff);
            (one && host == HostName::Ip(address)).then_some(host)
        }
        _ => None,
    }
}

/// The kind of names that a subtree is the whole of.
fn whole(name: &GeneralName) -> Option<Kind> {
    match name {
        GeneralName::DnsName(name) => name.as_str().is_empty().then_some(Kind::Dns),
        GeneralName::IpAddress(octets) => {
            let (address, mask) = network(octets.as_bytes())?;
            let all = mask.iter().all(|octet| *octet == 0);
            all.then_some(kind_of(&HostName::Ip(address)))
        }
        _ => None,
    }
}

/// A network is an address and a mask of the same length.
fn network(octets: &[u8]) -> Option<(IpAddr, &[u8])> {
    let (address, mask) = octets.split_at(octets.len() / 2);
    let address = address_of_octets(address)?;
    (mask.len() * 2 == octets.len()).then_some((address, mask))
}

/// What a subtree begins at, for people.
fn base(name: &GeneralName) -> String {
    match name {
        GeneralName::DnsName(name) => escaped(name.as_str()),
        GeneralName::IpAddress(octets) => match network(octets.as_bytes()) {
            Some((address, mask)) => {
                let ones: u32 = mask.iter().map(|octet| octet.count_ones()).sum();
                format!("{address}/{ones}")
            }
            None => format!("{name:?}"),
        },
        other => escaped(&format!("{other:?}")),
    }
}

/// `text` with what is not shown, or changes how other characters are shown, written as Rust escapes it: a name in a certificate must
/// neither talk to the terminal nor turn the direction of writing.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use x509_cert::der::asn1::{Ia5String, OctetString};

    use super::*;

    const LOOPBACK: [&[u8]; 2] = [
        &[127, 0, 0, 1, 255, 255, 255, 255],
        &[
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255,
            255, 255, 255, 255, 255, 255, 255, 255,
        ],
    ];

    fn tree(base: GeneralName) -> GeneralSubtree {
        GeneralSubtree {
            base,
            minimum: 0,
            maximum: None,
        }
    }

    fn dns(name: &str) -> GeneralSubtree {
        tree(GeneralName::DnsName(Ia5String::new(name).unwrap()))
    }

    fn ip(octets: &[u8]) -> GeneralSubtree {
        tree(GeneralName::IpAddress(OctetString::new(octets).unwrap()))
    }

    fn limits(permitted: Vec<GeneralSubtree>, excluded: Vec<GeneralSubtree>) -> Constraints {
        let some = |trees: Vec<_>| (!trees.is_empty()).then_some(trees);
        let limits = NameConstraints {
            permitted_subtrees: some(permitted),
            excluded_subtrees: some(excluded),
        };
        assert!(Constraints::of(false, &limits).hosts().is_none());
        Constraints::of(true, &limits)
    }

    /// Permits these beside both loopback addresses.
    fn beside(more: Vec<GeneralSubtree>) -> Constraints {
        let mut permitted = more;
        permitted.extend(LOOPBACK.map(ip));
        limits(permitted, Vec::new())
    }

    #[test]
    fn single_hosts_are_all_that_is_narrow() {
        let hosts = beside(vec![dns("Files.Example.org"), dns("localhost")]);
        assert_eq!(
            hosts.to_string(),
            "files.example.org, localhost, 127.0.0.1, ::1"
        );
        assert_eq!(hosts.broad().count(), 0);
        let shut = limits(vec![dns("localhost")], vec![ip(&[0; 8]), ip(&[0; 32])]);
        assert_eq!(shut.hosts().unwrap().len(), 1);
        let addresses = limits(LOOPBACK.map(ip).to_vec(), vec![dns("")]);
        assert_eq!(addresses.hosts().unwrap().len(), 2);
    }

    #[test]
    fn dns_names_that_look_like_networks_limit_no_addresses() {
        let crafted = vec![dns("localhost"), dns("x/32"), dns("x:/128")];
        assert!(limits(crafted, Vec::new()).hosts().is_none());
        assert!(
            limits(vec![dns("localhost")], vec![dns("0.0.0.0/0"), dns("::/0")])
                .hosts()
                .is_none()
        );
    }

    #[test]
    fn what_is_no_name_of_a_host_is_not_narrow() {
        for name in [
            "",
            ".",
            ".com",
            "com.",
            "*.org",
            "x/32",
            "192.0.2.7",
            "::1",
            "a b",
            "a\0b",
            "b\u{1b}[2K",
            "\r\u{1b}[K\u{1b}[2Cfor\u{1b}[6Clocalhost",
        ] {
            let limits = beside(vec![dns("localhost"), dns(name)]);
            assert!(limits.hosts().is_none(), "{name:?}");
            assert!(!limits.to_string().contains(char::is_control));
        }
        let mail = Ia5String::new("example.org").unwrap();
        for other in [
            GeneralName::Rfc822Name(mail.clone()),
            GeneralName::UniformResourceIdentifier(mail),
        ] {
            assert!(
                beside(vec![dns("localhost"), tree(other)])
                    .hosts()
                    .is_none()
            );
        }
    }

    #[test]
    fn networks_are_not_narrow() {
        let mapped: Vec<u8> = [&[0; 10][..], &[255, 255, 192, 0, 2, 7], &[255; 16]].concat();
        for octets in [
            &[192, 0, 2, 0, 255, 255, 255, 0][..],
            &[192, 0, 2, 7, 255, 255, 255, 254],
            &[0; 8],
            &[0; 32],
            &[0, 0, 0, 0, 255, 255, 255, 255],
            &[127, 0, 0, 1],
            &[127, 0, 0, 1, 255, 255, 255, 255, 255],
            &mapped,
        ] {
            let limits = beside(vec![dns("localhost"), ip(octets)]);
            assert!(limits.hosts().is_none(), "{octets:?}");
        }
    }

    #[test]
    fn every_kind_of_name_is_limited() {
        let [v4, v6] = LOOPBACK.map(ip);
        for open in [
            vec![v4.clone(), v6.clone()],
            vec![dns("localhost"), v6],
            vec![dns("localhost"), v4],
        ] {
            assert!(limits(open, Vec::new()).hosts().is_none());
        }
        // The excluded half of all addresses is not all of them.
        let half = vec![ip(&[0, 0, 0, 0, 128, 0, 0, 0]), ip(&[0; 32])];
        assert!(limits(vec![dns("localhost")], half).hosts().is_none());
    }

    #[test]
    fn distances_are_refused() {
        let far = |minimum, maximum| GeneralSubtree {
            minimum,
            maximum,
            ..dns("localhost")
        };
        assert!(beside(vec![far(1, None)]).hosts().is_none());
        assert!(beside(vec![far(0, Some(1))]).hosts().is_none());
    }

    #[test]
    fn what_may_be_a_whole_domain_is_broad() {
        for (name, broad) in [
            ("com", true),
            ("ORG", true),
            ("test", true),
            ("internal", true),
            ("build7", true),
            ("home.arpa", true),
            ("localhost", false),
            ("build7.home.arpa", false),
            ("example.org", false),
        ] {
            assert_eq!(
                beside(vec![dns(name)]).broad().count() == 1,
                broad,
                "{name}"
            );
        }
    }

    #[test]
    fn nothing_that_is_escaped_moves_the_cursor_or_turns_the_line() {
        assert_eq!(
            escaped("a\r\u{1b}[2K\u{9b}1m\u{202e}b\u{2066}\u{200b}\u{7f}"),
            r"a\r\u{1b}[2K\u{9b}1m\u{202e}b\u{2066}\u{200b}\u{7f}"
        );
        for plain in [r#"C:\a'b"c"#, "Müller, 日本"] {
            assert_eq!(escaped(plain), plain);
        }
    }
}
