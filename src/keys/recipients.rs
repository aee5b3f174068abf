//! Public keys: what `--recipient` takes.

use super::text::{KeyLine, PemBlock, classify, key_lines, pem_block};
use super::{DEFAULT_BITS, KeyError, MAX_FILE, Place, numbers};
use crate::seal::{Recipient, mixes_post_quantum, ssh_rsa};
use data_encoding::{BASE64, BASE64_NOPAD};
use rsa::pkcs1::{self, RsaPublicKeyRef};
use rsa::pkcs8::Document;
use rsa::pkcs8::der::Decode;
use rsa::pkcs8::spki::SubjectPublicKeyInfoRef;
use rsa::traits::PublicKeyParts;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The accepted forms, for messages.
const EXPECTED: &str = "an `ssh-rsa`, `age1...` or `age1pq1...` line, or an RSA public key in PEM";

/// A recipient, and the name that its owner gave it.
#[derive(Clone)]
pub struct NamedRecipient {
    /// Whom to seal to.
    pub recipient: Recipient,
    comment: Option<String>,
}

impl NamedRecipient {
    /// Names `recipient`. Control characters in `comment` become spaces, so that it stays on its line and cannot talk
    /// to a terminal; a comment of nothing but white space is none.
    pub fn new(recipient: Recipient, comment: &str) -> Self {
        let comment = comment.replace(char::is_control, " ");
        let comment = comment.trim();
        let comment = (!comment.is_empty()).then(|| comment.to_owned());
        Self { recipient, comment }
    }

    /// The comment of an `ssh-rsa` line, mostly `user@host`. Anyone may have written it.
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// The length of the RSA modulus in bits; `None` for the other types, whose keys are all of one size.
    pub fn bits(&self) -> Option<u32> {
        match &self.recipient {
            Recipient::SshRsa(key) => Some(key.public_key().n().bit_width_vartime()),
            Recipient::X25519(_) | Recipient::MlKem768X25519(_) => None,
        }
    }

    /// Whether this is an RSA key below [`DEFAULT_BITS`], good for a warning.
    pub fn is_weak(&self) -> bool {
        self.bits().is_some_and(|bits| bits < DEFAULT_BITS)
    }

    /// What names this key to people: for RSA what `ssh-keygen -l` prints, `SHA256:` and the unpadded base64 of SHA-256
    /// over the SSH wire encoding; for X25519 the `age1...` string; for a post-quantum key, whose string has 2 KB, the
    /// same of SHA-256 over its 1216 bytes.
    pub fn fingerprint(&self) -> String {
        let digest = |bytes: &[u8]| BASE64_NOPAD.encode(&Sha256::digest(bytes));
        match &self.recipient {
            Recipient::SshRsa(key) => format!("SHA256:{}", digest(key.wire())),
            Recipient::X25519(key) => key.to_string(),
            Recipient::MlKem768X25519(key) => format!("SHA256:{}", digest(&key.to_bytes())),
        }
    }

    /// The line for a recipients file, without line end: `ssh-rsa AAAA... comment` (RFC 4253, section 6.6), `age1...` or
    /// `age1pq1...`. [`parse_recipients`] and `age -R` read it.
    pub fn to_line(&self) -> String {
        match &self.recipient {
            Recipient::SshRsa(key) => {
                let key = BASE64.encode(key.wire());
                match &self.comment {
                    Some(comment) => format!("ssh-rsa {key} {comment}"),
                    None => format!("ssh-rsa {key}"),
                }
            }
            Recipient::X25519(key) => key.to_string(),
            Recipient::MlKem768X25519(key) => key.to_string(),
        }
    }
}

/// The most recipients of one file: with the largest record, headers stay below
/// [`MAX_HEADER_SIZE`](crate::seal::MAX_HEADER_SIZE) for keys of any kind.
const MAX_RECIPIENTS: usize = 1000;

/// Refuses what no file is sealed to: more than 1000 recipients, and post-quantum ones beside others, since what is sealed to
/// both is no safer than the weaker ones.
pub fn check_together(recipients: &[NamedRecipient]) -> Result<(), KeyError> {
    if recipients.len() > MAX_RECIPIENTS {
        return Err(KeyError::TooManyRecipients {
            found: recipients.len(),
            limit: MAX_RECIPIENTS,
        });
    }
    if mixes_post_quantum(recipients.iter().map(|named| &named.recipient)) {
        return Err(KeyError::PostQuantumMixed);
    }
    Ok(())
}

impl fmt::Debug for NamedRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamedRecipient")
            .field(&self.to_line())
            .finish()
    }
}

/// Reads what `--recipient` was given: a key itself, or the path of a file of public keys, or of a folder of such files.
///
/// An argument is a key where it begins like one; everything else is a path (`./age1` for a file of such a name). A
/// file may be a pipe, and at most 1 MiB. Of a folder it is every `*.pub` file, in the order of their names, and each must
/// hold keys. The result is never empty.
pub fn read_recipients(argument: &str) -> Result<Vec<NamedRecipient>, KeyError> {
    if is_key(argument) {
        return parse_recipients(argument);
    }
    let path = Path::new(argument);
    if path.is_dir() {
        return read_folder(path);
    }
    read_file(path)
}

/// The files of public keys in a folder: `*.pub`, those that are hidden aside, in the order of their names.
pub fn recipient_files(folder: &Path) -> Result<Vec<PathBuf>, KeyError> {
    let read = |source| KeyError::Read {
        place: Place::file(folder),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.ends_with(b".pub") && !name.starts_with(b".") && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn read_folder(folder: &Path) -> Result<Vec<NamedRecipient>, KeyError> {
    let mut recipients = Vec::new();
    for path in recipient_files(folder)? {
        // A pipe would keep whoever reads it waiting, and gives its keys once.
        let metadata = std::fs::metadata(&path).map_err(|source| KeyError::Read {
            place: Place::file(&path),
            source,
        })?;
        if !metadata.is_file() {
            let place = Place::file(&path);
            return Err(KeyError::NoRecipientFile { place });
        }
        recipients.extend(read_file(&path)?);
    }
    if recipients.is_empty() {
        return Err(KeyError::Empty {
            place: Place::file(folder),
            expected: "files of public keys, called *.pub",
        });
    }
    Ok(recipients)
}

fn read_file(path: &Path) -> Result<Vec<NamedRecipient>, KeyError> {
    let place = Place::file(path);
    let read = |source| KeyError::Read {
        place: place.clone(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(read)?;
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(KeyError::FileTooLarge {
            place,
            limit: MAX_FILE,
        });
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyError::NotText {
        place: place.clone(),
    })?;
    parse(text, &place)
}

/// Reads the text of a recipients file: one PEM block, or lines of `ssh-rsa`, `age1...` and `age1pq1...` keys with
/// blank lines and `#` comments between them. Any line that is none of these is an error, so that no recipient is left out unseen. The
/// result is never empty.
pub fn parse_recipients(text: &str) -> Result<Vec<NamedRecipient>, KeyError> {
    parse(text, &Place::given())
}

/// Whether a `--recipient` argument is a key and not a path. Private keys count, so that no message repeats one as if
/// it were a file's name.
fn is_key(argument: &str) -> bool {
    let argument = argument.trim();
    if argument.contains("-----BEGIN ") {
        return true;
    }
    argument.lines().any(|line| match classify(line.trim()) {
        KeyLine::SshRsa(rest) => !rest.is_empty(),
        KeyLine::Foreign { private, .. } => {
            private || line.trim().contains(char::is_whitespace) || line.starts_with("age1")
        }
        KeyLine::AgeRecipient(key) | KeyLine::HybridRecipient(key) => !key.contains(['.', '/']),
        KeyLine::AgeIdentity(_) | KeyLine::HybridIdentity(_) | KeyLine::PluginIdentity(_) => true,
        KeyLine::Unknown => false,
    })
}

fn parse(text: &str, place: &Place) -> Result<Vec<NamedRecipient>, KeyError> {
    if let Some(block) = pem_block(text, place)? {
        return Ok(vec![from_pem(&block, place)?]);
    }
    let recipients = key_lines(text, place)
        .map(|(line, place)| from_line(line, &place))
        .collect::<Result<Vec<_>, _>>()?;
    if recipients.is_empty() {
        return Err(KeyError::Empty {
            place: place.clone(),
            expected: EXPECTED,
        });
    }
    Ok(recipients)
}

fn from_line(line: &str, place: &Place) -> Result<NamedRecipient, KeyError> {
    let place = place.clone();
    match classify(line) {
        KeyLine::SshRsa(rest) => from_ssh(rest, &place),
        KeyLine::AgeRecipient(key) => match key.parse() {
            Ok(key) => Ok(NamedRecipient::new(Recipient::X25519(key), "")),
            Err(source) => Err(malformed(&place, "an age recipient", source)),
        },
        KeyLine::HybridRecipient(key) => match key.parse() {
            Ok(key) => Ok(NamedRecipient::new(Recipient::MlKem768X25519(key), "")),
            Err(source) => Err(malformed(&place, "a post-quantum age recipient", source)),
        },
        KeyLine::AgeIdentity(_)
        | KeyLine::HybridIdentity(_)
        | KeyLine::PluginIdentity(_)
        | KeyLine::Foreign { private: true, .. } => Err(KeyError::PrivateKeyGiven { place }),
        KeyLine::Foreign { found, .. } => Err(KeyError::Unsupported {
            place,
            found,
            expected: EXPECTED,
        }),
        KeyLine::Unknown => Err(KeyError::Unrecognized {
            place,
            expected: EXPECTED,
        }),
    }
}

/// `rest` is what follows `ssh-rsa`: the wire encoding in base64, then perhaps a comment.
fn from_ssh(rest: &str, place: &Place) -> Result<NamedRecipient, KeyError> {
    const FORM: &str = "an ssh-rsa public key";
    let rest = rest.trim_start();
    let (key, comment) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let wire = BASE64
        .decode(key.as_bytes())
        .map_err(|source| malformed(place, FORM, source))?;
    let key =
        ssh_key::PublicKey::from_bytes(&wire).map_err(|source| malformed(place, FORM, source))?;
    let numbers = key
        .key_data()
        .rsa()
        .and_then(|key| Some((key.n().as_positive_bytes()?, key.e().as_positive_bytes()?)));
    let Some((n, e)) = numbers else {
        return Err(KeyError::Malformed {
            place: place.clone(),
            form: FORM,
            source: None,
        });
    };
    rsa_recipient(numbers::public_key(n, e, place)?, comment, place)
}

fn from_pem(block: &PemBlock<'_>, place: &Place) -> Result<NamedRecipient, KeyError> {
    const SPKI: &str = "a PEM public key";
    const PKCS1: &str = "a PKCS#1 public key";
    let (form, is_spki) = match block.label {
        "PUBLIC KEY" => (SPKI, true),
        "RSA PUBLIC KEY" => (PKCS1, false),
        label if label.ends_with("PRIVATE KEY") => {
            return Err(KeyError::PrivateKeyGiven {
                place: place.clone(),
            });
        }
        _ => return Err(unsupported(place, block.description())),
    };
    let bad = |source| malformed(place, form, source);
    let (_, document) = Document::from_pem(block.text).map_err(bad)?;
    let mut pkcs1_der = document.as_bytes();
    if is_spki {
        let info = SubjectPublicKeyInfoRef::from_der(pkcs1_der)
            .map_err(|source| malformed(place, form, source))?;
        if info.algorithm.oid != pkcs1::ALGORITHM_OID {
            let found = "a public key that is not for RSA encryption".to_owned();
            return Err(unsupported(place, found));
        }
        pkcs1_der = info.subject_public_key.as_bytes().unwrap_or_default();
    }
    let key = RsaPublicKeyRef::from_der(pkcs1_der).map_err(bad)?;
    let (n, e) = (key.modulus.as_bytes(), key.public_exponent.as_bytes());
    rsa_recipient(numbers::public_key(n, e, place)?, "", place)
}

fn rsa_recipient(
    key: rsa::PublicKey,
    comment: &str,
    place: &Place,
) -> Result<NamedRecipient, KeyError> {
    let key = ssh_rsa::Recipient::new(key)
        .map_err(|ssh_rsa::UnusablePublicKey| numbers::unusable(place))?;
    Ok(NamedRecipient::new(Recipient::SshRsa(key), comment))
}

fn malformed(
    place: &Place,
    form: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> KeyError {
    KeyError::Malformed {
        place: place.clone(),
        form,
        source: Some(Box::new(source)),
    }
}

fn unsupported(place: &Place, found: String) -> KeyError {
    KeyError::Unsupported {
        place: place.clone(),
        found,
        expected: EXPECTED,
    }
}
