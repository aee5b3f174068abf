//! What clients may do by the certificates that they show.

use std::str::FromStr;

use crate::grant::{ScopeError, Scopes};
use crate::http::ClientIdentity;
use crate::tls::{CertificateName, CertificateNameError, ClientCertificate};

/// What a certificate with a name lets do: `scanner.example.org=upload`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientScope {
    /// What the certificate is known by.
    pub name: CertificateName,
    /// What it lets do.
    pub scopes: Scopes,
}

/// A text that is no [`ClientScope`].
#[derive(Debug, thiserror::Error)]
pub enum ClientScopeError {
    /// Nothing separates name and scopes.
    #[error("write it like scanner.example.org=upload")]
    Form,
    /// No certificate has such a name.
    #[error(transparent)]
    Name(#[from] CertificateNameError),
    /// There is no such scope.
    #[error(transparent)]
    Scope(#[from] ScopeError),
}

impl FromStr for ClientScope {
    type Err = ClientScopeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A URI may have a sign of equality itself.
        let (name, scopes) = text.rsplit_once('=').ok_or(ClientScopeError::Form)?;
        Ok(Self {
            name: name.parse()?,
            scopes: scopes.parse()?,
        })
    }
}

impl<'de> serde::Deserialize<'de> for ClientScope {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Who shows this certificate, with all that its names let do. It is called by the first name that lets do anything by itself.
pub(super) fn identify(certificate: &ClientCertificate, given: &[ClientScope]) -> ClientIdentity {
    let matching = || given.iter().filter(|scope| certificate.has(&scope.name));
    let own = matching().find(|scope| scope.name != CertificateName::Any);
    let name = own.map_or_else(|| certificate.name(), |scope| scope.name.clone());
    ClientIdentity {
        name: name.to_string(),
        scopes: matching().fold(Scopes::NONE, |all, scope| all.union(scope.scopes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_a_sign_of_equality_and_a_scope_has_none() {
        let scope: ClientScope = "https://example.org/?a=b=read,upload".parse().unwrap();
        assert_eq!(scope.name, "https://example.org/?a=b".parse().unwrap());
        assert_eq!(scope.scopes, "upload,read".parse().unwrap());
        let all: ClientScope = "*=upload".parse().unwrap();
        assert_eq!(all.name, CertificateName::Any);
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        for (text, form) in [
            ("scanner.example.org", true),
            ("", true),
            ("=upload", false),
        ] {
            let refused = text.parse::<ClientScope>().unwrap_err();
            assert_eq!(matches!(refused, ClientScopeError::Form), form, "{text}");
        }
        for text in [
            "a.example=",
            "a.example=write",
            "a.example=upload,",
            "a.example=Upload",
        ] {
            let refused = text.parse::<ClientScope>().unwrap_err();
            assert!(matches!(refused, ClientScopeError::Scope(_)), "{text}");
        }
    }
}
