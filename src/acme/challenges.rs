//! Answers to an authority that looks whether a name leads here.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use instant_acme::KeyAuthorization;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, SanType};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::AcmeError;
use crate::tls::{AlpnChallenges, HostName};

/// What validations under way over plain HTTP (http-01) are answered with, by their token. Clones share it.
#[derive(Clone, Default)]
pub struct HttpChallenges(Arc<RwLock<HashMap<String, String>>>);

impl HttpChallenges {
    /// The answer to `/.well-known/acme-challenge/{token}`, while it is expected.
    pub fn answer(&self, token: &str) -> Option<String> {
        let answers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        answers.get(token).cloned()
    }

    fn insert(&self, token: &str, answer: &str) {
        let mut answers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        answers.insert(token.to_owned(), answer.to_owned());
    }

    fn remove(&self, token: &str) {
        let mut answers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        answers.remove(token);
    }
}

impl fmt::Debug for HttpChallenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpChallenges").finish_non_exhaustive()
    }
}

/// The answers that one order needs. They are gone when this is.
pub(super) struct Proofs {
    alpn: AlpnChallenges,
    http: HttpChallenges,
    given: Vec<Proof>,
}

/// An answer that is expected.
struct Proof {
    token: String,
    /// What a handshake asks for; `None`: it is a file.
    asked: Option<String>,
}

impl Proofs {
    pub(super) fn new(alpn: AlpnChallenges, http: HttpChallenges) -> Self {
        Self {
            alpn,
            http,
            given: Vec::new(),
        }
    }

    /// Whether the challenge of this token is answered already.
    pub(super) fn has(&self, token: &str) -> bool {
        self.given.iter().any(|proof| proof.token == token)
    }

    /// Answers requests for this token over plain HTTP (RFC 8555, section 8.3).
    pub(super) fn by_file(&mut self, token: &str, key: &KeyAuthorization) {
        self.http.insert(token, key.as_str());
        self.given.push(Proof {
            token: token.to_owned(),
            asked: None,
        });
    }

    /// Answers handshakes for this name (RFC 8737; of an address RFC 8738, section 6).
    pub(super) fn by_handshake(
        &mut self,
        token: &str,
        name: &HostName,
        key: &KeyAuthorization,
    ) -> Result<(), AcmeError> {
        let certificate = proving_certificate(name, key.digest().as_ref())?;
        let asked = match name {
            HostName::Dns(name) => name.as_ref().to_owned(),
            HostName::Ip(address) => reverse_name(*address),
        };
        self.alpn.insert(&asked, certificate);
        self.given.push(Proof {
            token: token.to_owned(),
            asked: Some(asked),
        });
        Ok(())
    }
}

impl Drop for Proofs {
    fn drop(&mut self) {
        for proof in &self.given {
            match &proof.asked {
                Some(name) => self.alpn.remove(name),
                None => self.http.remove(&proof.token),
            }
        }
    }
}

/// A certificate that nobody vouches for and that says one thing: who presents it knows of the order.
fn proving_certificate(name: &HostName, digest: &[u8]) -> Result<CertifiedKey, AcmeError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![subject_name(name)?];
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(AcmeError::Proof)?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

/// A name as certificates and requests for them hold it.
pub(super) fn subject_name(name: &HostName) -> Result<SanType, AcmeError> {
    Ok(match name {
        HostName::Dns(name) => SanType::DnsName(name.as_ref().try_into()?),
        HostName::Ip(address) => SanType::IpAddress(*address),
    })
}

/// What a handshake that validates an address asks for, since addresses cannot be asked for.
fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let octets = address.octets();
            let digits = octets
                .iter()
                .rev()
                .flat_map(|octet| [octet & 15, octet >> 4]);
            let labels: Vec<String> = digits.map(|digit| format!("{digit:x}")).collect();
            labels.join(".") + ".ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use x509_cert::Certificate;
    use x509_cert::der::{Decode, Encode};

    use super::*;
    use crate::tls::dev::CertificateFacts;

    #[test]
    fn addresses_are_asked_for_by_their_reverse_names() {
        let name = |text: &str| reverse_name(text.parse().unwrap());
        assert_eq!(name("192.0.2.7"), "7.2.0.192.in-addr.arpa");
        // The example of RFC 8738, section 6.
        assert_eq!(
            name("2001:db8::1"),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }

    #[test]
    fn a_proving_certificate_says_of_which_order_its_owner_knows() {
        for name in ["files.example.org", "192.0.2.7", "2001:db8::1"] {
            let certified = proving_certificate(&name.parse().unwrap(), &[7; 32]).unwrap();
            let der = &certified.cert[0];
            assert_eq!(CertificateFacts::of(der).unwrap().names, [name]);
            // rustls reads none with a critical extension that it does not know.
            let certificate = Certificate::from_der(der).unwrap();
            let certificate = certificate.tbs_certificate();
            let key = certificate.subject_public_key_info().to_der().unwrap();
            assert_eq!(certified.key.public_key().unwrap().as_ref(), key);
            let mut extensions = certificate.extensions().unwrap().iter();
            let proof = extensions.find(|one| one.extn_id.to_string() == "1.3.6.1.5.5.7.1.31");
            let proof = proof.unwrap();
            // An OCTET STRING of 32 bytes (RFC 8737, section 3).
            let digest = [&[4, 32][..], &[7; 32]].concat();
            assert!(proof.critical);
            assert_eq!(proof.extn_value.as_bytes(), digest);
        }
    }

    #[test]
    fn an_answer_is_there_while_it_is_expected() {
        let challenges = HttpChallenges::default();
        challenges.insert("token", "token.thumbprint");
        let other = challenges.clone();
        assert_eq!(other.answer("token").as_deref(), Some("token.thumbprint"));
        assert_eq!(other.answer("other"), None);
        other.remove("token");
        assert_eq!(challenges.answer("token"), None);
    }
}
