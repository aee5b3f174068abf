//! What can be wrong with a key, and what to do about it.

use crate::seal::OpenError;
use crate::seal::ssh_rsa::UnusableKey;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Where a key stood: a file or the command line, and the line where there are several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    file: Option<PathBuf>,
    line: Option<usize>,
}

impl Place {
    /// The text that the user gave in place of a file.
    pub(super) fn given() -> Self {
        Self {
            file: None,
            line: None,
        }
    }

    /// A file.
    pub(crate) fn file(path: &Path) -> Self {
        Self {
            file: Some(path.to_owned()),
            line: None,
        }
    }

    /// The line of that number in this place, counted from 1.
    pub(super) fn line(&self, number: usize) -> Self {
        Self {
            file: self.file.clone(),
            line: Some(number),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(path) => write!(f, "{}", path.display())?,
            None => f.write_str("the given key")?,
        }
        match self.line {
            Some(line) => write!(f, ", line {line}"),
            None => Ok(()),
        }
    }
}

/// Why a key could not be read, made or written.
///
/// The messages name the file and the next step. They never hold any part of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file could not be opened or read.
    #[error("cannot read {place}")]
    Read {
        /// The file.
        place: Place,
        /// What the system said.
        source: io::Error,
    },

    /// A private key was looked for in a folder, a pipe or a device, whose permissions say nothing.
    #[error("{place} is not a regular file: give the path of a private key file")]
    NotRegularFile {
        /// The path.
        place: Place,
    },

    /// A public key was looked for in a pipe or a device, which cannot be read again when keys change.
    #[error("{place} is not a regular file: move it away, or put a file of public keys there")]
    NoRecipientFile {
        /// The path.
        place: Place,
    },

    /// The file is far larger than any key.
    #[error("{place} is larger than {limit} bytes: that is not a key file")]
    FileTooLarge {
        /// The file.
        place: Place,
        /// The limit, in bytes.
        limit: u64,
    },

    /// The file's mode lets its group or others at a private key.
    #[error("{} holds a private key that others can reach (mode {mode:04o}): run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },

    /// The file is not UTF-8 text.
    #[error(
        "{place} is not text: keys are read as PEM or as lines, so convert a DER file with `openssl`"
    )]
    NotText {
        /// The file.
        place: Place,
    },

    /// There is no key in the text.
    #[error("{place} holds no key: expected {expected}")]
    Empty {
        /// The file.
        place: Place,
        /// The accepted forms.
        expected: &'static str,
    },

    /// The text is nothing that is known as a key.
    #[error("{place} is not a key: expected {expected}")]
    Unrecognized {
        /// The file and line.
        place: Place,
        /// The accepted forms.
        expected: &'static str,
    },

    /// The key is of a kind that cannot be used here.
    #[error("{place} is {found}, which cannot be used here: expected {expected}")]
    Unsupported {
        /// The file and line.
        place: Place,
        /// What it is.
        found: String,
        /// The accepted forms.
        expected: &'static str,
    },

    /// A PEM block stands beside further keys. Choosing one of them could leave a recipient out.
    #[error("{place} holds a PEM block and further keys: keep a PEM key in a file of its own")]
    Mixed {
        /// The file.
        place: Place,
    },

    /// A private key was given where a public one belongs.
    #[error("{place} is a private key, and a recipient is a public one: give its `.pub` file")]
    PrivateKeyGiven {
        /// The file and line.
        place: Place,
    },

    /// A public key was given where a private one belongs.
    #[error(
        "{place} is a public key, and an identity is a private one: give the file without `.pub`"
    )]
    PublicKeyGiven {
        /// The file and line.
        place: Place,
    },

    /// The form was recognized, and what is in it is damaged.
    #[error("{place} is damaged: it does not read as {form}; take it from its source again")]
    Malformed {
        /// The file and line.
        place: Place,
        /// The form that it claims to be.
        form: &'static str,
        /// The parser's word, where that cannot tell anything of a secret.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    /// The RSA modulus is shorter than [`MIN_BITS`](super::MIN_BITS).
    #[error(
        "{place} is an RSA key of {bits} bits, and {} is the least: make one with `sealslot keygen`",
        super::MIN_BITS
    )]
    TooShort {
        /// The file and line.
        place: Place,
        /// Its size.
        bits: u32,
    },

    /// The RSA modulus is longer than [`MAX_BITS`](super::MAX_BITS).
    #[error(
        "{place} is an RSA key of {bits} bits, and {} is the most: make one with `sealslot keygen`",
        super::MAX_BITS
    )]
    TooLong {
        /// The file and line.
        place: Place,
        /// Its size.
        bits: u32,
    },

    /// The RSA public exponent is even, 1, or too large.
    #[error(
        "{place} has a public exponent that is not an odd number from 3 to 2^33 - 1: make one with `sealslot keygen`"
    )]
    Exponent {
        /// The file and line.
        place: Place,
    },

    /// The numbers do not make up an RSA key.
    #[error(
        "{place} is not a valid RSA key: its numbers do not fit together; take it from its source again"
    )]
    InvalidRsa {
        /// The file and line.
        place: Place,
        /// The check that failed.
        source: rsa::Error,
    },

    /// The RSA private key keeps the limits, and the code that would decrypt with it still does not take it.
    #[error("{place} cannot be used to open files: make a new key with `sealslot keygen`")]
    Unusable {
        /// The file.
        place: Place,
        /// What it lacks.
        source: UnusableKey,
    },

    /// The private key is encrypted in the manner of old PEM files (`Proc-Type: 4,ENCRYPTED`, MD5).
    #[error(
        "{place} is encrypted in an outdated way that is not read: convert a copy of it with \
         `ssh-keygen -p -f FILE` or `openssl pkcs8 -topk8 -in FILE -out NEW`"
    )]
    LegacyEncryption {
        /// The file.
        place: Place,
    },

    /// The private key is encrypted with an algorithm, or at a cost, that is not accepted.
    #[error(
        "{place} is encrypted in a way that is not accepted ({found}): encrypt a copy of it anew with `ssh-keygen -p -f FILE`"
    )]
    UnsupportedEncryption {
        /// The file.
        place: Place,
        /// What about it.
        found: &'static str,
    },

    /// The private key did not open with the passphrase.
    #[error("the passphrase does not open {place}")]
    WrongPassphrase {
        /// The file.
        place: Place,
    },

    /// An identity file that is sealed with age, and does not open for another reason than its passphrase.
    #[error("{place} is sealed with age and does not open")]
    Sealed {
        /// The file.
        place: Place,
        /// Why.
        source: OpenError,
    },

    /// A plugin's identity, where nobody is there whom the plugin could ask.
    #[error(
        "{place} is for an age plugin, which may ask for a PIN or a touch: it opens on your own machine, as with \
         `sealslot open`, and not on a server"
    )]
    PluginUnattended {
        /// The file and line.
        place: Place,
    },

    /// Post-quantum recipients stand beside others.
    #[error(
        "post-quantum recipients (age1pq1...) stand beside others, whose keys a quantum computer would break: name one \
         kind alone"
    )]
    PostQuantumMixed,

    /// Each key costs a place in the header of every file, and headers that are too long open nowhere.
    #[error("there are {found} recipients, more than {limit}: name fewer")]
    TooManyRecipients {
        /// How many there are.
        found: usize,
        /// The limit.
        limit: usize,
    },

    /// The private key needs a passphrase, and there was no way to get it. For callers of
    /// [`read_identities`](super::read_identities) to answer with.
    #[error("{} is protected by a passphrase, which could not be asked for", path.display())]
    PassphraseUnavailable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// An empty passphrase was given for a new key.
    #[error("an empty passphrase protects nothing: give one, or leave it out")]
    EmptyPassphrase,

    /// A key of that size is not made.
    #[error(
        "an RSA key of {bits} bits is not made: choose {} to {}",
        super::MIN_BITS,
        super::MAX_BITS
    )]
    Bits {
        /// The size that was asked for.
        bits: usize,
    },

    /// Making or encoding a new key failed; in practice, the system gave no random numbers.
    #[error("cannot make a key")]
    Make {
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// There is already a file where a new key would go.
    #[error("{} exists already, and a key is never overwritten: choose another name, or move it away", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },

    /// A new key could not be written.
    #[error("cannot write {}: see that its folder exists and can be written to", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
