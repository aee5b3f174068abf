//! Certificates by ACME, and plain HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cannot_listen;
use crate::acme::{Acme, AcmeError};
use crate::cli::exit::{Exit, Failure};
use crate::config::Config;
use crate::server::{self, Plain};
use crate::tls::ServerTls;
use crate::tls::dev::DevCertificates;

/// Makes ready what orders certificates, where the settings ask for it.
pub(super) fn open(config: &Config) -> Result<Option<Arc<Acme>>, Failure> {
    let Some(settings) = config.acme.clone() else {
        return Ok(None);
    };
    let unused = DevCertificates::paths(&config.certs).server_pem;
    if unused.exists() {
        tracing::warn!(
            certificate = %unused.display(),
            "this certificate is not used: --acme-domain says that one comes from an authority"
        );
    }
    Ok(Some(Arc::new(Acme::open(settings, &config.certs)?)))
}

/// Binds an address for plain HTTP. Gives the listener with the address that it got.
pub(super) async fn bind_plain(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound
        .await
        .map_err(|error| cannot_listen(address, "--http-listen", &error))
}

/// Answers plain HTTP until the server is told to stop.
pub(super) fn answer_plain(
    (listener, address): (TcpListener, SocketAddr),
    config: &Config,
    port: u16,
    acme: Option<&Acme>,
    tls: Arc<ServerTls>,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let ordered = config.acme.iter().flat_map(|acme| &acme.names);
    let ordered: Vec<_> = ordered.map(ToString::to_string).collect();
    let presented = tls.status().names;
    let mut names = ordered.iter().chain(&presented);
    let name = names.find(|name| !name.starts_with('*')).cloned();
    let challenges = acme.map(|acme| acme.http_challenges().clone());
    tracing::info!(%address, "sending plain HTTP on to HTTPS");
    let plain = Plain {
        port,
        name,
        // A name may be redirected to before its certificate has come.
        covers: Arc::new(move |host| ordered.iter().any(|name| name == host) || tls.covers(host)),
        challenges: challenges.unwrap_or_default(),
    };
    tokio::spawn(server::serve_plain(listener, plain, stop.clone()))
}

impl From<AcmeError> for Failure {
    fn from(error: AcmeError) -> Self {
        Self::from_error(Exit::Other, &error)
    }
}
