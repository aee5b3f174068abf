//! What the server offers in a handshake, and reading the certificate that it presents.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::process::geteuid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::TlsError;
use super::settings::{CertificateFiles, TlsVersion};
use super::tickets;

/// The application protocols offered by ALPN (RFC 7301), most preferred first.
const ALPN_PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The most that is read of a certificate or key file, in bytes: a long chain of large certificates is 30 KiB.
const MAX_PEM_LEN: u64 = 1 << 20;

/// The permission bits that let anyone but the owner use a file, and the one that lets its group read it.
const GROUP_AND_OTHERS: u32 = 0o077;
const GROUP_READS: u32 = 0o040;

/// The configuration for every connection; `certificate` chooses what is presented in each handshake.
///
/// TLS 1.3 and, where `min_version` has it, 1.2 with forward-secret AEAD suites only, no early data (0-RTT data can be replayed, and an upload must not
/// be), no key log. Clients are asked for a certificate where there is a verifier. Of cipher suites the provider's order counts:
/// AES-GCM comes before ChaCha20-Poly1305. Of key exchange groups rustls takes the client's first one that it has, and asks for its
/// share where that is missing: whoever knows X25519MLKEM768 puts it first.
pub(super) fn server_config(
    provider: Arc<CryptoProvider>,
    min_version: TlsVersion,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    certificate: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, TlsError> {
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(min_version.and_later())
        .map_err(TlsError::Setup)?;
    let config = match clients {
        Some(verifier) => config.with_client_cert_verifier(verifier),
        None => config.with_no_client_auth(),
    };
    let mut config = config.with_cert_resolver(certificate);
    config.alpn_protocols = ALPN_PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // A client that would have ChaCha20-Poly1305 first costs the server 0.4 CPU seconds per GiB more.
    config.ignore_client_order = true;
    config.max_early_data_size = 0;
    // Resumption by tickets alone, whose keys rotate: nothing is kept for each client. One ticket is enough for a
    // client that comes back, and every further one costs a short upload bytes and time.
    config.ticketer = tickets::rotating().map_err(TlsError::Setup)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// Reads a certificate chain and its private key, and checks that the one belongs to the other.
pub(super) fn read_certified_key(
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let CertificateFiles { certificate, key } = files;
    let chain = read_chain(certificate)?;
    let signing_key = provider
        .key_provider
        .load_private_key(read_private_key(key)?)
        .map_err(|source| TlsError::Key {
            path: key.clone(),
            source,
        })?;
    let certified = CertifiedKey::new(chain, signing_key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(TlsError::KeyMismatch {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        Err(source) => Err(TlsError::Certificate {
            path: certificate.clone(),
            source,
        }),
    }
}

/// The SHA-256 fingerprint of the first certificate in a PEM file, as `openssl x509 -fingerprint -sha256` prints it:
/// 32 pairs of upper-case hexadecimal digits with colons between them.
pub fn fingerprint(certificate: &Path) -> Result<String, TlsError> {
    let chain = read_chain(certificate)?;
    Ok(fingerprint_of(&chain[0]))
}

/// The same of a certificate in DER.
pub(super) fn fingerprint_of(certificate: &[u8]) -> String {
    let digest = Sha256::digest(certificate);
    let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// The certificates in a PEM file, in their order: at least one.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let contents = read_bounded(open(path)?, path, MAX_PEM_LEN)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&contents)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem {
            path: path.to_owned(),
            source,
        })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(chain)
}

/// Whether a private key is that of a certificate, as far as both can be read.
pub(super) fn fit(files: &CertificateFiles) -> bool {
    read_certified_key(files, &aws_lc_rs::default_provider()).is_ok()
}

/// Whether a key with this mode and owner is open to more users than a server's key should be.
///
/// A file of root's that we read by our group is how keys are handed to servers that are not root: a secret in Kubernetes (`fsGroup`), or
/// the group `ssl-cert` in Debian. We could not make it ours alone. Our own files we could.
fn exposes(mode: u32, owner: u32, ourselves: u32) -> bool {
    let handed = owner == 0 && ourselves != 0;
    let tolerated = if handed { GROUP_READS } else { 0 };
    mode & GROUP_AND_OTHERS & !tolerated != 0
}

/// What is in a file that others cannot use.
pub(super) fn read_private_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let file = open(path)?;
    // The opened file's own mode, so that no other file can take its place between the check and the reading.
    let metadata = file.metadata().map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o7777;
    if exposes(mode, metadata.uid(), geteuid().as_raw()) {
        return Err(TlsError::ExposedKey {
            path: path.to_owned(),
            mode,
        });
    }
    read_bounded(file, path, MAX_PEM_LEN)
}

/// The first private key in a PEM file that others cannot use.
fn read_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let contents = read_private_file(path)?;
    PrivateKeyDer::from_pem_slice(&contents).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::NoKey {
            path: path.to_owned(),
        },
        source => TlsError::Pem {
            path: path.to_owned(),
            source,
        },
    })
}

/// Opens a regular file. Others are not waited for, as a pipe without a writer would have it.
pub(super) fn open(path: &Path) -> Result<File, TlsError> {
    let failed = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(TlsError::NoFile {
            path: path.to_owned(),
        });
    }
    Ok(file)
}

/// Reads a whole file of at most `limit` bytes.
pub(super) fn read_bounded(
    file: File,
    path: &Path,
    limit: u64,
) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let len = file.metadata().map_err(failed)?.len();
    // Room for all of it at once: a buffer that grew would leave copies of a key behind.
    let capacity = usize::try_from(len.min(limit)).unwrap_or_default() + 1;
    let mut contents = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(limit + 1)
        .read_to_end(&mut contents)
        .map_err(failed)?;
    if contents.len() as u64 > limit {
        return Err(TlsError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_may_read_only_what_root_has_handed_over() {
        const ROOT: u32 = 0;
        const SERVER: u32 = 1000;
        for (mode, owner, exposed) in [
            (0o600, SERVER, false),
            (0o400, SERVER, false),
            (0o640, SERVER, true),
            (0o440, ROOT, false),
            (0o640, ROOT, false),
            (0o660, ROOT, true),
            (0o450, ROOT, true),
            (0o644, ROOT, true),
            (0o444, ROOT, true),
            (0o440, 1001, true),
        ] {
            assert_eq!(exposes(mode, owner, SERVER), exposed, "{mode:o}, {owner}");
        }
        assert!(exposes(0o440, ROOT, ROOT), "root needs no group");
    }
}
