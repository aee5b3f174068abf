//! Making keys, and writing them where nobody else can read them and nothing is overwritten.

use super::{KeyError, MAX_BITS, MIN_BITS, NamedRecipient, sealed};
use crate::seal::{Recipient, mlkem768x25519, ssh_rsa};
use getrandom::SysRng;
use rsa::pkcs1::{EncodeRsaPrivateKey, LineEnding};
use rsa::rand_core::TryRng;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use ssh_key::private::{KeypairData, RsaKeypair, RsaPrivateKey};
use ssh_key::public::RsaPublicKey;
use ssh_key::{Cipher, Kdf, Mpint};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// The bcrypt rounds for a new passphrase, as many as today's `ssh-keygen` makes.
const BCRYPT_ROUNDS: u32 = 24;

/// Where [`write_keypair`] or [`write_identity`] put the two halves of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeypairFiles {
    /// The private key, mode 0600.
    pub private: PathBuf,
    /// The public key, mode 0644: the private key's path and `.pub`.
    pub public: PathBuf,
}

/// Makes an RSA key of `bits` bits ([`DEFAULT_BITS`](super::DEFAULT_BITS) unless there is a reason) with the exponent
/// 65537, from the system's random numbers. It takes a second or so, and with 8192 bits a minute.
pub fn generate(bits: usize) -> Result<rsa::PrivateKey, KeyError> {
    check_bits(bits)?;
    rsa::PrivateKey::new(&mut SysRng, bits).map_err(make_error)
}

/// Writes `key` to `path`, and its public half as an `ssh-rsa` line with `comment` to `path` and `.pub`.
///
/// Without a passphrase the private key is PKCS#1 PEM, with one it is an encrypted OpenSSH key: the forms that age,
/// rage and ssh-keygen all read. Neither file is overwritten. Each appears complete, the private one first, and both
/// are durable (fsync of file and folder) on return. On an error neither is left behind.
pub fn write_keypair(
    path: &Path,
    key: &rsa::PrivateKey,
    passphrase: Option<&str>,
    comment: &str,
) -> Result<KeypairFiles, KeyError> {
    check_bits(usize::try_from(key.n().bit_width_vartime()).unwrap_or(usize::MAX))?;
    let files = files(path)?;
    let recipient = ssh_rsa::Recipient::new(rsa::PublicKey::from(key)).map_err(make_error)?;
    let recipient = NamedRecipient::new(Recipient::SshRsa(recipient), comment);
    let private_text = match passphrase {
        None => key.to_pkcs1_pem(LineEnding::LF).map_err(make_error)?,
        Some("") => return Err(KeyError::EmptyPassphrase),
        Some(passphrase) => {
            encrypted_openssh(key, passphrase, recipient.comment().unwrap_or_default())?
        }
    };
    write(&files, private_text.as_bytes(), &recipient)?;
    Ok(files)
}

/// Writes a post-quantum key to `path` as `age-keygen -pq` does, with the time of its creation and its public half in
/// comments, and its public half to `path` and `.pub`.
///
/// With a passphrase the private key's file is sealed with it, as age and rage read it. All else is as with
/// [`write_keypair`].
pub fn write_identity(
    path: &Path,
    identity: &mlkem768x25519::Identity,
    passphrase: Option<&str>,
    created: SystemTime,
) -> Result<KeypairFiles, KeyError> {
    let files = files(path)?;
    let recipient = Recipient::MlKem768X25519(identity.to_recipient());
    let recipient = NamedRecipient::new(recipient, "");
    let line = identity.to_line();
    let created = format!("# created: {}", humantime::format_rfc3339_seconds(created));
    let public = recipient.to_line();
    // Of its final size at once, so that no copy is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(line.len() + public.len() + 100));
    for part in [&created, "\n# public key: ", &public, "\n", &line, "\n"] {
        text.push_str(part);
    }
    match passphrase {
        None => write(&files, text.as_bytes(), &recipient)?,
        Some("") => return Err(KeyError::EmptyPassphrase),
        Some(passphrase) => {
            let text = sealed::seal(&text, passphrase).map_err(make_error)?;
            write(&files, &text, &recipient)?;
        }
    }
    Ok(files)
}

/// Where the two halves go: nowhere where there is something already.
fn files(path: &Path) -> Result<KeypairFiles, KeyError> {
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    let files = KeypairFiles {
        private: path.to_owned(),
        public: public.into(),
    };
    for path in [&files.private, &files.public] {
        // A dangling link counts: whoever made it meant something by it.
        if path.symlink_metadata().is_ok() {
            return Err(KeyError::Exists { path: path.clone() });
        }
    }
    Ok(files)
}

fn write(files: &KeypairFiles, private: &[u8], recipient: &NamedRecipient) -> Result<(), KeyError> {
    let private = prepare(&files.private, private, 0o600)?;
    let line = format!("{}\n", recipient.to_line());
    let public = prepare(&files.public, line.as_bytes(), 0o644)?;
    // The private key is durable before the public one can be seen: the other way round, a crash could leave a public
    // key for people to seal to that nobody can open.
    publish(private, &files.private)?;
    publish(public, &files.public).inspect_err(|_| {
        // Just made by this call, and of no use to anyone yet. A failure here leaves a whole, private key.
        let _ = std::fs::remove_file(&files.private);
    })
}

fn check_bits(bits: usize) -> Result<(), KeyError> {
    let accepted = u32::try_from(bits).is_ok_and(|bits| (MIN_BITS..=MAX_BITS).contains(&bits));
    if accepted {
        Ok(())
    } else {
        Err(KeyError::Bits { bits })
    }
}

/// The key as an OpenSSH private key, encrypted with aes256-ctr under a key that bcrypt makes of the passphrase.
fn encrypted_openssh(
    key: &rsa::PrivateKey,
    passphrase: &str,
    comment: &str,
) -> Result<Zeroizing<String>, KeyError> {
    let iqmp = key
        .crt_coefficient()
        .ok_or_else(|| make_error(rsa::Error::InvalidCoefficient))?;
    let secret =
        |number: &rsa::BoxedUint| Mpint::from_positive_bytes(&Zeroizing::new(number.to_be_bytes()));
    let public = RsaPublicKey::new(
        Mpint::from_positive_bytes(&key.e_bytes()),
        Mpint::from_positive_bytes(&key.n_bytes()),
    );
    let (p, q) = (&key.primes()[0], &key.primes()[1]);
    let private = RsaPrivateKey::new(
        secret(key.d()),
        secret(&Zeroizing::new(iqmp)),
        secret(p),
        secret(q),
    );
    let pair = RsaKeypair::new(public.map_err(make_error)?, private.map_err(make_error)?);
    let pair = KeypairData::Rsa(pair.map_err(make_error)?);

    let mut salt = vec![0; 16];
    SysRng.try_fill_bytes(&mut salt).map_err(make_error)?;
    let kdf = Kdf::Bcrypt {
        salt,
        rounds: BCRYPT_ROUNDS,
    };
    let checkint = SysRng.try_next_u32().map_err(make_error)?;
    ssh_key::PrivateKey::new(pair, comment)
        .and_then(|key| key.encrypt_with(Cipher::Aes256Ctr, kdf, checkint, passphrase))
        .and_then(|key| key.to_openssh(LineEnding::LF))
        .map_err(make_error)
}

/// Writes `contents` to a new file beside `path`, of that mode from its creation or, for a wider one, from its end.
fn prepare(path: &Path, contents: &[u8], mode: u32) -> Result<NamedTempFile, KeyError> {
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix(".sealslot-key-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder(path))?;
        file.write_all(contents)?;
        // The umask took its share of the mode at creation.
        file.as_file()
            .set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().map_err(|source| write_error(path, source))
}

/// Gives the file its name, if that is free, and makes the name durable.
fn publish(file: NamedTempFile, path: &Path) -> Result<(), KeyError> {
    let named = file.persist_noclobber(path).map_err(|error| error.error);
    named.map_err(|source| write_error(path, source))?;
    File::open(folder(path))
        .and_then(|folder| folder.sync_all())
        .inspect_err(|_| {
            let _ = std::fs::remove_file(path);
        })
        .map_err(|source| write_error(path, source))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn write_error(path: &Path, source: io::Error) -> KeyError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists { path },
        _ => KeyError::Write { path, source },
    }
}

fn make_error(source: impl std::error::Error + Send + Sync + 'static) -> KeyError {
    KeyError::Make {
        source: Box::new(source),
    }
}
