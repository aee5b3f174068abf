//! The certificate that a server presents, and what requests are told and held to of it.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::super::exit::Failure;
use super::renewal::Renewal;
use crate::acme::{Acme, AcmeFailure};
use crate::config::Config;
use crate::http::{App, CertificateHealth};
use crate::tls::{CertificateState, ServerTls, dev};

/// The folder of the certificate, where that comes neither from ACME nor from files that were named one by one.
pub(super) fn folder(config: &Config) -> Option<&Path> {
    let elsewhere = config.acme.is_some() || config.certificate.is_some();
    (!elsewhere).then_some(&*config.certs)
}

/// The certificate; on loopback one is made where there is none.
pub(super) fn load(config: &Config, renewal: &mut Renewal) -> Result<ServerTls, Failure> {
    if config.acme.is_some() {
        let files = Acme::certificate_files(&config.certs);
        return Ok(ServerTls::load(files, config.tls.clone())?);
    }
    if let Some(files) = &config.certificate {
        return Ok(ServerTls::load(files.clone(), config.tls.clone())?);
    }
    if config.development && !dev::exist(&config.certs)? {
        let mut hosts: Vec<_> = dev::DEFAULT_HOSTS
            .iter()
            .filter_map(|host| host.parse().ok())
            .collect();
        // Loopback has more addresses than the usual ones.
        hosts.extend(
            config
                .listen
                .ip()
                .to_string()
                .parse()
                .ok()
                .filter(|own| !hosts.contains(own)),
        );
        dev::make(&config.certs, &hosts, dev::DEFAULT_DAYS, false)?;
    }
    let files = dev::DevCertificates::paths(&config.certs);
    // Before it is read: it may have expired while no server ran.
    renewal.look(SystemTime::now());
    Ok(ServerTls::load(files.server(), config.tls.clone())?)
}

/// Lets requests see how the certificate is, and whom it names.
pub(super) fn attach(tls: &Arc<ServerTls>, acme: Option<Arc<Acme>>, app: &mut App) {
    let status = Arc::clone(tls);
    app.certificate = Some(Arc::new(move || {
        let status = status.status();
        let present = status.state != CertificateState::Missing;
        let ordering = acme.as_ref().and_then(|acme| acme.status().last_failure);
        CertificateHealth {
            valid: status.state == CertificateState::Valid,
            not_after: present.then_some(status.not_after),
            failing: status.failure.or(ordering.map(AcmeFailure::as_str)),
            replacements: status.replacements,
        }
    }));
    let names = Arc::clone(tls);
    app.is_own_name = Some(Arc::new(move |host| names.covers(host)));
}
