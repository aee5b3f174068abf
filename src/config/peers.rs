//! Who is at the other end of a connection.

use super::ConfigError;
use super::settings::ServeArgs;
use super::together::alone;
use crate::server::{Peers, Proxies};
use crate::tls::{ClientAuth, ClientCertificates};

impl ServeArgs {
    /// Whom connections are believed to come from. How proxies speak means nothing without saying which.
    pub(super) fn peers(&self) -> Result<Peers, ConfigError> {
        let protocol = self.proxy_protocol.unwrap_or(false);
        let untrusted = self.trusted_proxy.is_empty();
        let needs_proxy = [
            ("proxy-protocol", protocol),
            ("forwarded", self.forwarded.is_some()),
        ];
        alone(untrusted, &needs_proxy, "trusted-proxy")?;
        Ok(Peers {
            proxies: Proxies {
                trusted: self.trusted_proxy.clone(),
                protocol,
                forwarded: self.forwarded,
            },
            client_scopes: self.client_scope.clone(),
        })
    }

    /// How clients are asked for certificates. Without an authority they are not.
    pub(super) fn client_auth(&self) -> Result<Option<ClientAuth>, ConfigError> {
        let needs_authority = [
            ("client-scope", !self.client_scope.is_empty()),
            ("client-crl", !self.client_crl.is_empty()),
            ("client-certificates", self.client_certificates.is_some()),
        ];
        alone(self.client_ca.is_none(), &needs_authority, "client-ca")?;
        Ok(self.client_ca.clone().map(|ca| ClientAuth {
            ca,
            crls: self.client_crl.clone(),
            certificates: self
                .client_certificates
                .unwrap_or(ClientCertificates::Optional),
        }))
    }
}
