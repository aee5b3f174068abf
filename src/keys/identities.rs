//! Private keys: what `--identity` takes.

use super::numbers::{self, PrivateNumbers};
use super::text::{KeyLine, PemBlock, classify, key_lines, pem_block};
use super::{KeyError, MAX_FILE, Place, sealed};
use crate::seal::{Identity, plugin_name, ssh_rsa};
use rsa::pkcs1::{self, RsaPrivateKeyRef, Version};
use rsa::pkcs8::der::Decode;
use rsa::pkcs8::pkcs5::{self, pbes2};
use rsa::pkcs8::{
    EncryptedPrivateKeyInfoRef, Error as Pkcs8Error, PrivateKeyInfoRef, SecretDocument,
};
use rustix::fs::OFlags;
use ssh_key::{Cipher, Kdf};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// The accepted forms, for messages.
const EXPECTED: &str =
    "an RSA private key (PKCS#1, PKCS#8 or OpenSSH) or lines of `AGE-SECRET-KEY-...`";

/// The most bcrypt rounds that are run for an OpenSSH key: half a minute or so. `ssh-keygen` makes 24.
const MAX_BCRYPT_ROUNDS: u32 = 4096;

/// The most PBKDF2 iterations that are run for a PKCS#8 key: some seconds. `openssl` makes 2048 by default.
const MAX_PBKDF2_ITERATIONS: u32 = 10_000_000;

/// The most that scrypt may work through for a PKCS#8 key, in bytes (RFC 7914: 128 N r p), which bounds its memory too.
const MAX_SCRYPT_BYTES: u64 = 1 << 30;

/// Asks for the passphrase of the private key in a file.
type AskPassphrase<'a> = &'a mut dyn FnMut(&Path) -> Result<Zeroizing<String>, KeyError>;

/// Wraps an identity for an age plugin, for whoever can run it.
type WithPlugin<'a> = &'a mut dyn FnMut(PluginIdentity) -> Identity;

/// An identity for an age plugin: what the plugin of that name finds its key with.
pub struct PluginIdentity {
    /// The plugin's name: letters, digits and `+._-`.
    pub name: String,
    /// The line, `AGE-PLUGIN-NAME-1...`. It may well be secret.
    pub line: Zeroizing<String>,
}

/// Reads the private keys in the file at `path`: one RSA key, or any number of age ones, never none. Identities for
/// plugins are refused.
///
/// The file must be a regular one of at most 1 MiB that neither its group nor others can reach; that is checked on the
/// file as opened. `passphrase` is asked only where a key or the whole file is encrypted. RSA keys are validated.
pub fn read_identities(
    path: &Path,
    passphrase: AskPassphrase<'_>,
) -> Result<Vec<Identity>, KeyError> {
    read(path, passphrase, None)
}

/// Reads private keys as [`read_identities`] does, and identities for plugins too, which `plugin` makes usable.
pub fn read_identities_and_plugins(
    path: &Path,
    passphrase: AskPassphrase<'_>,
    plugin: &mut dyn FnMut(PluginIdentity) -> Identity,
) -> Result<Vec<Identity>, KeyError> {
    read(path, passphrase, Some(plugin))
}

fn read(
    path: &Path,
    passphrase: AskPassphrase<'_>,
    plugin: Option<WithPlugin<'_>>,
) -> Result<Vec<Identity>, KeyError> {
    let place = Place::file(path);
    let mut passphrase = || passphrase(path);
    let mut bytes = read_private(path, &place)?;
    if sealed::is_sealed(&bytes) {
        bytes = sealed::open(&bytes, &place, EXPECTED, &mut passphrase)?;
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyError::NotText {
        place: place.clone(),
    })?;
    parse(text, &place, &mut passphrase, plugin)
}

fn parse(
    text: &str,
    place: &Place,
    passphrase: &mut dyn FnMut() -> Result<Zeroizing<String>, KeyError>,
    mut plugin: Option<WithPlugin<'_>>,
) -> Result<Vec<Identity>, KeyError> {
    if let Some(block) = pem_block(text, place)? {
        let key = from_pem(&block, place, passphrase)?;
        let identity = ssh_rsa::Identity::new(&key).map_err(|source| KeyError::Unusable {
            place: place.clone(),
            source,
        })?;
        return Ok(vec![Identity::SshRsa(identity)]);
    }
    let mut identities = Vec::new();
    for (line, place) in key_lines(text, place) {
        identities.push(from_line(line, place, &mut plugin)?);
    }
    if identities.is_empty() {
        return Err(KeyError::Empty {
            place: place.clone(),
            expected: EXPECTED,
        });
    }
    Ok(identities)
}

/// Reads the whole file into a buffer that is zeroized and, being of the right size at once, never moved.
fn read_private(path: &Path, place: &Place) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let read = |source| KeyError::Read {
        place: place.clone(),
        source,
    };
    let mut file = open_without_waiting(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    if !metadata.is_file() {
        return Err(KeyError::NotRegularFile {
            place: place.clone(),
        });
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(KeyError::Exposed {
            path: path.to_owned(),
            mode: metadata.mode() & 0o7777,
        });
    }
    if metadata.len() > MAX_FILE {
        return Err(KeyError::FileTooLarge {
            place: place.clone(),
            limit: MAX_FILE,
        });
    }
    let length = usize::try_from(metadata.len()).map_err(|error| read(io::Error::other(error)))?;
    let mut bytes = Zeroizing::new(vec![0; length]);
    file.read_exact(&mut bytes).map_err(read)?;
    Ok(bytes)
}

/// Opens a file for reading; a named pipe without a writer does not block.
fn open_without_waiting(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn from_line(
    line: &str,
    place: Place,
    plugin: &mut Option<WithPlugin<'_>>,
) -> Result<Identity, KeyError> {
    match classify(line) {
        // The parser's own error is left out: it could say which character of the secret it stumbled over.
        KeyLine::AgeIdentity(key) => match key.parse() {
            Ok(key) => Ok(Identity::X25519(key)),
            Err(_) => Err(malformed(&place, "an age identity")),
        },
        KeyLine::HybridIdentity(key) => match key.parse() {
            Ok(key) => Ok(Identity::MlKem768X25519(key)),
            Err(_) => Err(malformed(&place, "a post-quantum age identity")),
        },
        KeyLine::PluginIdentity(line) => {
            let Some(plugin) = plugin else {
                return Err(KeyError::PluginUnattended { place });
            };
            let name = plugin_name(line)
                .map_err(|_| malformed(&place, "an identity for an age plugin"))?;
            let line = Zeroizing::new(line.to_owned());
            Ok(plugin(PluginIdentity { name, line }))
        }
        KeyLine::SshRsa(_) | KeyLine::AgeRecipient(_) | KeyLine::HybridRecipient(_) => {
            Err(KeyError::PublicKeyGiven { place })
        }
        KeyLine::Foreign { found, .. } => Err(unsupported(&place, found)),
        KeyLine::Unknown => Err(KeyError::Unrecognized {
            place,
            expected: EXPECTED,
        }),
    }
}

fn from_pem(
    block: &PemBlock<'_>,
    place: &Place,
    passphrase: &mut dyn FnMut() -> Result<Zeroizing<String>, KeyError>,
) -> Result<rsa::PrivateKey, KeyError> {
    const PKCS8: &str = "a PKCS#8 private key";
    if block.text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(KeyError::LegacyEncryption {
            place: place.clone(),
        });
    }
    let document = |form| {
        let document = SecretDocument::from_pem(block.text);
        document
            .map(|(_, document)| document)
            .map_err(|_| malformed(place, form))
    };
    match block.label {
        "RSA PRIVATE KEY" => from_pkcs1(document("a PKCS#1 private key")?.as_bytes(), place),
        "PRIVATE KEY" => {
            let document = document(PKCS8)?;
            let info = PrivateKeyInfoRef::from_der(document.as_bytes());
            from_pkcs8(&info.map_err(|_| malformed(place, PKCS8))?, place)
        }
        "ENCRYPTED PRIVATE KEY" => from_encrypted_pkcs8(
            document("an encrypted PKCS#8 private key")?.as_bytes(),
            place,
            passphrase,
        ),
        "OPENSSH PRIVATE KEY" => from_openssh(block.text, place, passphrase),
        label if label.ends_with("PUBLIC KEY") => Err(KeyError::PublicKeyGiven {
            place: place.clone(),
        }),
        _ => Err(unsupported(place, block.description())),
    }
}

/// `RSAPrivateKey` of RFC 8017, appendix A.1.2.
fn from_pkcs1(der: &[u8], place: &Place) -> Result<rsa::PrivateKey, KeyError> {
    let key =
        RsaPrivateKeyRef::from_der(der).map_err(|_| malformed(place, "a PKCS#1 private key"))?;
    if key.version() != Version::TwoPrime {
        return Err(unsupported(
            place,
            "an RSA key of more than two primes".to_owned(),
        ));
    }
    let numbers = PrivateNumbers {
        n: key.modulus.as_bytes(),
        e: key.public_exponent.as_bytes(),
        d: key.private_exponent.as_bytes(),
        p: key.prime1.as_bytes(),
        q: key.prime2.as_bytes(),
    };
    numbers::private_key(&numbers, place)
}

/// `PrivateKeyInfo` of RFC 5958.
fn from_pkcs8(info: &PrivateKeyInfoRef<'_>, place: &Place) -> Result<rsa::PrivateKey, KeyError> {
    if info.algorithm.oid != pkcs1::ALGORITHM_OID {
        return Err(unsupported(
            place,
            "a private key that is not for RSA encryption".to_owned(),
        ));
    }
    from_pkcs1(info.private_key.as_bytes(), place)
}

/// `EncryptedPrivateKeyInfo` of RFC 5958, by PBES2 of RFC 8018.
fn from_encrypted_pkcs8(
    der: &[u8],
    place: &Place,
    passphrase: &mut dyn FnMut() -> Result<Zeroizing<String>, KeyError>,
) -> Result<rsa::PrivateKey, KeyError> {
    let unsupported = |found| KeyError::UnsupportedEncryption {
        place: place.clone(),
        found,
    };
    let wrong = || KeyError::WrongPassphrase {
        place: place.clone(),
    };
    let info = EncryptedPrivateKeyInfoRef::from_der(der)
        .map_err(|_| unsupported("not PBES2 with AES, or damaged"))?;
    let parameters = info
        .encryption_algorithm
        .pbes2()
        .ok_or_else(|| unsupported("PBES1"))?;
    if !is_affordable(&parameters.kdf) {
        return Err(unsupported("a key derivation of too high a cost"));
    }
    let passphrase = passphrase()?;
    let document = match info.decrypt(passphrase.as_bytes()) {
        Ok(document) => document,
        Err(Pkcs8Error::EncryptedPrivateKey(
            pkcs5::Error::UnsupportedAlgorithm { .. }
            | pkcs5::Error::AlgorithmParametersInvalid { .. },
        )) => return Err(unsupported("not PBES2 with AES")),
        Err(_) => return Err(wrong()),
    };
    // CBC padding comes out right once in 256 times under a wrong key; what it covers is then not a key.
    let info = PrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|_| wrong())?;
    from_pkcs8(&info, place)
}

/// Whether the key derivation that a file asks for is worth running: it would otherwise take hours, or all memory.
fn is_affordable(kdf: &pbes2::Kdf) -> bool {
    match kdf {
        pbes2::Kdf::Pbkdf2(parameters) => {
            (1..=MAX_PBKDF2_ITERATIONS).contains(&parameters.iteration_count)
        }
        pbes2::Kdf::Scrypt(parameters) => {
            let factors = [parameters.block_size, parameters.parallelization].map(u64::from);
            let bytes = factors
                .iter()
                .fold(128_u64, |product, &factor| product.saturating_mul(factor));
            let bytes = bytes.saturating_mul(parameters.cost_parameter);
            (1..=MAX_SCRYPT_BYTES).contains(&bytes)
        }
        _ => false,
    }
}

/// The format of OpenSSH's PROTOCOL.key.
fn from_openssh(
    pem: &str,
    place: &Place,
    passphrase: &mut dyn FnMut() -> Result<Zeroizing<String>, KeyError>,
) -> Result<rsa::PrivateKey, KeyError> {
    const FORM: &str = "an OpenSSH private key";
    let mut key = ssh_key::PrivateKey::from_openssh(pem).map_err(|error| match error {
        // It tells RSA and Ed25519 keys apart, and knows no other.
        ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
            unsupported(place, "an OpenSSH key that is not RSA".to_owned())
        }
        _ => malformed(place, FORM),
    })?;
    if !key.algorithm().is_rsa() {
        return Err(unsupported(
            place,
            format!("a key of the type {}", key.algorithm().as_str()),
        ));
    }
    if key.is_encrypted() {
        let unsupported = |found| KeyError::UnsupportedEncryption {
            place: place.clone(),
            found,
        };
        if key.cipher() == Cipher::TdesCbc {
            return Err(unsupported("3DES"));
        }
        match key.kdf() {
            Kdf::Bcrypt { rounds, .. } if (1..=MAX_BCRYPT_ROUNDS).contains(rounds) => {}
            _ => return Err(unsupported("a key derivation of too high a cost")),
        }
        let passphrase = passphrase()?;
        key = key
            .decrypt(passphrase.as_bytes())
            .map_err(|error| match error {
                ssh_key::Error::Crypto => KeyError::WrongPassphrase {
                    place: place.clone(),
                },
                _ => malformed(place, FORM),
            })?;
    }
    let pair = key.key_data().rsa().ok_or_else(|| malformed(place, FORM))?;
    let positive =
        |mpint| ssh_key::Mpint::as_positive_bytes(mpint).ok_or_else(|| malformed(place, FORM));
    let numbers = PrivateNumbers {
        n: positive(pair.public().n())?,
        e: positive(pair.public().e())?,
        d: positive(pair.private().d())?,
        p: positive(pair.private().p())?,
        q: positive(pair.private().q())?,
    };
    numbers::private_key(&numbers, place)
}

/// No `source` beside it, on purpose: a parser's error may repeat a byte of the secret.
fn malformed(place: &Place, form: &'static str) -> KeyError {
    KeyError::Malformed {
        place: place.clone(),
        form,
        source: None,
    }
}

fn unsupported(place: &Place, found: String) -> KeyError {
    KeyError::Unsupported {
        place: place.clone(),
        found,
        expected: EXPECTED,
    }
}
