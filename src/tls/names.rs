//! The names that a server answers to, and what of them a handshake is checked against.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::host::HostName;
use super::presented::Presented;
use super::watched::WatchedCertificate;

/// The names beside those of the certificate.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerNames {
    pub(super) named: Vec<HostName>,
    /// Whether this machine's own names for itself belong to them.
    pub(super) loopback: bool,
}

impl ServerNames {
    /// Whether `host` (without port or brackets) is one of them, or of the certificate.
    pub(super) fn cover(&self, host: &str, presented: Option<&Presented>) -> bool {
        let Ok(host) = host.parse::<HostName>() else {
            return false;
        };
        let own = self.loopback && is_loopback(&host);
        own || self.named.contains(&host)
            || presented.is_some_and(|presented| presented.covers(&server_name(&host)))
    }
}

fn is_loopback(host: &HostName) -> bool {
    match host {
        HostName::Dns(name) => name.as_ref() == "localhost",
        HostName::Ip(address) => address.is_loopback(),
    }
}

fn server_name(host: &HostName) -> ServerName<'static> {
    match host {
        HostName::Dns(name) => ServerName::DnsName(name.clone()),
        HostName::Ip(address) => ServerName::from(*address),
    }
}

/// What a handshake presents: the certificate of this moment.
pub(super) struct Presenter {
    pub(super) certificate: Arc<WatchedCertificate>,
    /// The names that clients may ask for. None: any.
    pub(super) names: Option<ServerNames>,
}

impl Presenter {
    /// Whether a client may ask for this name.
    pub(super) fn answers_to(&self, name: Option<&str>) -> bool {
        let presented = self.certificate.presented();
        match (&self.names, name) {
            (Some(names), Some(name)) => names.cover(name, presented.as_deref()),
            // Clients that know an address alone send no name (RFC 6066, section 3).
            _ => true,
        }
    }
}

impl ResolvesServerCert for Presenter {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // What cannot be used is told of by the watch.
        let _ = self.certificate.refresh();
        if !self.answers_to(hello.server_name()) {
            return None;
        }
        let presented = self.certificate.presented()?;
        Some(Arc::clone(&presented.certified))
    }
}

impl fmt::Debug for Presenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presenter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::super::{CertificateFiles, ServerTls, TlsSettings};
    use std::fs;

    #[test]
    fn a_server_has_the_names_of_its_certificate_and_those_it_was_given() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            certificate: folder.path().join("both.pem"),
            key: folder.path().join("both.pem"),
        };
        let key = KeyPair::generate().unwrap();
        let names = [
            "files.example.org",
            "*.drop.example.org",
            "192.0.2.7",
            "2001:db8::7",
        ];
        let params = CertificateParams::new(names.map(str::to_owned)).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        fs::write(&files.key, certificate + &key.serialize_pem()).unwrap();
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
        let load = |loopback| {
            let settings = TlsSettings {
                names: vec!["proxy.example".parse().unwrap()],
                loopback,
                ..TlsSettings::default()
            };
            ServerTls::load(files.clone(), settings).unwrap()
        };
        let server = load(false);
        assert_eq!(server.status().names, names);
        for host in [
            "files.example.org",
            "FILES.example.ORG",
            "files.example.org.",
            "a.drop.example.org",
            "192.0.2.7",
            "::ffff:192.0.2.7",
            "2001:db8:0::7",
            "proxy.example",
        ] {
            assert!(server.covers(host), "{host}");
        }
        let local = ["localhost", "127.0.0.1", "127.0.0.2", "::1"];
        for host in [
            "",
            "example.org",
            "xfiles.example.org",
            "a.files.example.org",
            "drop.example.org",
            "a.b.drop.example.org",
            "*.drop.example.org",
            "192.0.2.8",
            "a.proxy.example",
        ]
        .iter()
        .chain(&local)
        {
            assert!(!server.covers(host), "{host}");
        }
        for host in local {
            assert!(load(true).covers(host), "{host}");
        }
    }
}
