//! What a server says when it starts, and the first page of one that runs for development.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use super::development::{dev_key, dev_token};
use crate::config::{Config, StoreSettings};
use crate::http::{App, Phone, Welcome};
use crate::tls::dev::{DevCertificates, shell_quoted};

/// Says where everything is and how to try it. No secret is printed.
pub(super) fn announce(config: &Config, address: SocketAddr, app: &App) {
    let mut text = format!(
        "sealslot {} listening on https://{address}\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<12} {value}");
    };
    row("page", &format!("https://{address}/"));
    row("uploads", &uploads(config).display().to_string());
    for recipient in app.uploads.named_recipients().iter() {
        row("sealed to", &recipient.fingerprint());
        if recipient.is_weak() {
            row(
                "warning",
                "an RSA key under 3072 bits: make a longer one with `sealslot keygen`",
            );
        }
    }
    let dev_key = dev_key(&config.data);
    if app.uploads.identities().is_empty() {
        row(
            "private key",
            "none here: this server seals and cannot open",
        );
    } else if config.identities.is_empty() {
        row(
            "private key",
            &format!("{} (development: loaded)", dev_key.display()),
        );
    }
    if config.development && config.admin_token_file.is_none() {
        row(
            "admin token",
            &dev_token(&config.data).display().to_string(),
        );
    }
    if config.development && config.has_tokens && !config.anonymous {
        row(
            "tokens",
            "there are some, so uploads need one (--allow-anonymous: none)",
        );
    }
    if let Some(ca) = authority(config).filter(|_| config.anonymous) {
        row("try", &upload_line(Some(&ca), address));
    }
    if app.pages.welcome.is_some() {
        row("welcome", &format!("https://{address}/welcome"));
    }
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Where uploads are.
fn uploads(config: &Config) -> PathBuf {
    match &config.store {
        StoreSettings::Folder(_) => config.data.join("uploads"),
        StoreSettings::Bucket(bucket) => bucket.location().to_string().into(),
    }
}

/// The development authority's certificate, where it is there.
fn authority(config: &Config) -> Option<PathBuf> {
    let ca = DevCertificates::paths(&config.certs).ca_pem;
    let used = config.development && config.certificate.is_none();
    (used && ca.exists()).then(|| absolute(&ca))
}

/// The same file from wherever the line is typed.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn quoted(path: &Path) -> String {
    shell_quoted(&path.display().to_string())
}

/// The line that sends something.
fn upload_line(ca: Option<&Path>, address: SocketAddr) -> String {
    let trusting = trusting(ca);
    format!("echo hello | curl{trusting} -T - https://{address}/uploads/hello.txt")
}

/// The flag that names the authority, the same for curl and for Sealslot.
fn trusting(ca: Option<&Path>) -> String {
    ca.map_or(String::new(), |ca| format!(" --cacert {}", quoted(ca)))
}

/// What the first page shows.
pub(super) fn welcome(config: &Config, address: SocketAddr) -> Welcome {
    let program = program();
    let key = absolute(&dev_key(&config.data));
    let token = absolute(&dev_token(&config.data));
    let ca = authority(config);
    let upload = upload_line(ca.as_deref(), address);
    let (uploads, open, age) = match &config.store {
        StoreSettings::Folder(_) => {
            let uploads = absolute(&uploads(config));
            let (key, folder) = (quoted(&key), quoted(&uploads));
            // The newest of them.
            let newest = format!("\"$(ls -t {folder}/*/*/0000.age | head -n 1)\"");
            (
                uploads.display().to_string(),
                format!("{program} open -i {key} -o inbox {folder}/*/*"),
                format!("age -d -i {key} {newest}"),
            )
        }
        StoreSettings::Bucket(bucket) => {
            let trusting = trusting(ca.as_deref());
            let (key, token) = (quoted(&key), quoted(&token));
            let url = format!("https://{address}/");
            let bearer = format!("-H \"Authorization: Bearer $(cat {token})\"");
            (
                bucket.location().to_string(),
                format!(
                    "{program} pull --token-file {token}{trusting} -i {key} --into inbox {url}"
                ),
                format!("curl{trusting} {bearer} {url}uploads/ID/0000.age | age -d -i {key}"),
            )
        }
    };
    Welcome {
        upload,
        open,
        age,
        uploads,
        key: key.display().to_string(),
        token: token.display().to_string(),
        ca: ca.map(|ca| ca.display().to_string()),
        phone: phone(config, address, &program, network_address()),
    }
}

/// Sealslot as this shell finds it again.
fn program() -> String {
    let called = std::env::args_os().next().map(PathBuf::from);
    match called {
        // Found on the search path.
        Some(called) if called.components().count() == 1 => quoted(&called),
        Some(called) => quoted(&absolute(&called)),
        None => "sealslot".to_owned(),
    }
}

/// How a phone reaches the server: on the network's address, under a certificate for that. The one that this server uses stays
/// as it is, in a folder of its own.
fn phone(config: &Config, address: SocketAddr, program: &str, network: Option<IpAddr>) -> Phone {
    let Some(ip) = network else {
        return Phone {
            url: format!("https://{address}/"),
            network: None,
        };
    };
    let reachable = SocketAddr::new(ip, address.port());
    // Without a slash at its end.
    let certs: PathBuf = absolute(&config.certs).components().collect();
    let mut certs = certs.into_os_string();
    certs.push("-lan");
    let certs = PathBuf::from(certs);
    let key = dev_key(&absolute(&config.data)).with_extension("pem.pub");
    let (folder, data, key) = (
        quoted(&certs),
        quoted(&absolute(&config.data)),
        quoted(&key),
    );
    // How the engine is reached is in the environment, or stands in the settings file.
    let store = match &config.store {
        StoreSettings::Folder(_) => format!("--data {data}"),
        StoreSettings::Bucket(bucket) => format!("--store {}", bucket.location()),
    };
    let lines = format!(
        "{program} certs --dir {folder} --host {ip} --force\n\
         {program} serve --listen {reachable} --certs {folder} {store} --recipient {key} --allow-anonymous"
    );
    let ca = DevCertificates::paths(&certs).ca_pem;
    Phone {
        url: format!("https://{reachable}/"),
        network: Some((lines, ca.display().to_string())),
    }
}

/// The address that this machine has in its network: the one it would send from. A UDP socket that is connected has sent nothing
/// yet, and 192.0.2.1 is nobody (RFC 5737).
pub(super) fn network_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}
