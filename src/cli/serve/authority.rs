//! The development authority for phones: a page with how to install it, on an explicit flag.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::time::SystemTime;

use super::welcome::network_address;
use crate::cli::link::qr;
use crate::cli::{Exit, Failure};
use crate::config::Config;
use crate::http::AuthorityPage;
use crate::tls::dev::{CertificateFacts, DevCertificates, read_facts};

/// What the page shows. Only a limited authority is handed out, and only the one whose certificate this server presents.
pub(super) fn page(config: &Config, address: SocketAddr) -> Result<AuthorityPage, Failure> {
    let Some(folder) = super::certificate::folder(config) else {
        return Err(Failure::usage(
            "--ca-page is for the development CA in --certs: leave it out where the certificate comes from elsewhere",
        ));
    };
    let files = DevCertificates::paths(folder);
    let authority =
        read_facts(&files.ca_pem).map_err(|error| Failure::from(error).about("--ca-page"))?;
    let server =
        read_facts(&files.server_pem).map_err(|error| Failure::from(error).about("--ca-page"))?;
    let refused = |why: String| {
        let path = files.ca_pem.display();
        Failure::new(
            Exit::Other,
            format_args!("--ca-page does not hand out {path}: {why}"),
        )
    };
    authority
        .check_trustworthy(SystemTime::now())
        .map_err(|unfit| refused(unfit.to_string()))?;
    if !server.is_issued_by(&authority) {
        return Err(refused(format!(
            "it did not issue {}",
            files.server_pem.display()
        )));
    }
    let url = format!("https://{}/ca", reachable(address, &server));
    Ok(AuthorityPage {
        name: authority.our_name().unwrap_or_default().to_owned(),
        fingerprint: authority.fingerprint(),
        hosts: authority
            .constraints
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        until: humantime::format_rfc3339_seconds(authority.not_after).to_string()[..10].to_owned(),
        certificate: authority.der.into(),
        url,
    })
}

/// Where a phone finds this server: at a name of its certificate that is not this machine's for itself, where it listens everywhere.
fn reachable(address: SocketAddr, server: &CertificateFacts) -> String {
    if !address.ip().is_unspecified() {
        return address.to_string();
    }
    let others = server.names.iter().find(|name| {
        let loopback = name
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        *name != "localhost" && !loopback && !name.contains('*')
    });
    let port = address.port();
    match others.map(|name| (name.parse().ok(), name)) {
        Some((Some(ip), _)) => SocketAddr::new(ip, port).to_string(),
        Some((None, name)) => format!("{name}:{port}"),
        None => network_address()
            .map_or(address, |ip| SocketAddr::new(ip, port))
            .to_string(),
    }
}

/// Says on the terminal what a phone shows too, so that both can be compared.
pub(super) fn announce(page: &AuthorityPage) {
    let mut stderr = io::stderr();
    if stderr.is_terminal()
        && let Ok(code) = qr::on_terminal(&page.url)
    {
        let _ = writeln!(stderr, "\n{code}");
    }
    let _ = writeln!(
        stderr,
        "  for phones   {}\n  authority    {} for {}\n  SHA-256      {}",
        page.url, page.name, page.hosts, page.fingerprint
    );
}
