//! age v1: the format that everything is stored in.
//!
//! This module follows the specification at <https://c2sp.org/age> and uses its nouns: a *file key* is wrapped for
//! *recipients* into *stanzas* of a *header*; the *payload* is sealed in *chunks* under a *payload key*. It is pure:
//! bytes in, bytes out, no I/O. Callers read and write.
//!
//! To seal: [`begin`] makes a fresh file key, wraps it, and gives the bytes to write first (header and nonce) with a
//! [`PayloadSealer`] for the chunks. No function takes a file key and a plaintext to seal with it, so no file key seals two
//! files; [`reseal_as_last`] ends a file that was cut off, with the plaintext that is in it.
//!
//! To open: [`Header::parse`], [`Header::unwrap_file_key`] with identities (or a file key that is known already and
//! [`Header::verify`]), then a [`StreamOpener`] from start to end or a [`PayloadOpener`] for any chunk.

mod armor;
#[cfg(feature = "audit-seals")]
mod audit;
mod file_key;
mod header;
mod key_text;
pub mod mlkem768x25519;
mod rewrap;
pub mod scrypt;
pub mod ssh_rsa;
mod stream;
#[cfg(test)]
mod vectors;
pub mod x25519;

pub use armor::{
    ArmorError, Decoder as ArmorDecoder, Encoder as ArmorEncoder, looks_armored, may_become_armored,
};
pub use file_key::{FILE_KEY_SIZE, FileKey, FileKeyLength};
pub use header::{Header, HeaderError, MAX_HEADER_SIZE, Stanza};
pub use key_text::{EncodingError, plugin_name};
pub use rewrap::rewrap;
pub use stream::{
    CHUNK_SIZE, ChunkBuffer, NONCE_SIZE, OpenedRun, PayloadError, PayloadLayout, PayloadOpener,
    PayloadSealer, RunOrder, SEALED_CHUNK_SIZE, SealTicket, StreamOpener, TAG_SIZE, reseal_as_last,
};

/// A public key that files are sealed to.
#[derive(Clone)]
pub enum Recipient {
    /// An RSA key, as age's `ssh-rsa` recipient type.
    SshRsa(ssh_rsa::Recipient),
    /// A native age key (`age1...`).
    X25519(x25519::Recipient),
    /// A post-quantum hybrid age key (`age1pq1...`).
    MlKem768X25519(mlkem768x25519::Recipient),
}

impl Recipient {
    fn wrap(&self, file_key: &FileKey) -> Result<Stanza, SealError> {
        match self {
            Self::SshRsa(recipient) => recipient.wrap(file_key),
            Self::X25519(recipient) => recipient.wrap(file_key),
            Self::MlKem768X25519(recipient) => recipient.wrap(file_key),
        }
    }

    /// Whether what is sealed to it stays sealed when there are quantum computers for it.
    pub fn is_post_quantum(&self) -> bool {
        matches!(self, Self::MlKem768X25519(_))
    }
}

/// Whether post-quantum recipients stand beside others (specification, "The MLKEM768-X25519 ... recipient type"). Whoever
/// can break one of the others would open all of it.
pub fn mixes_post_quantum<'a>(recipients: impl IntoIterator<Item = &'a Recipient>) -> bool {
    let mut kinds = recipients.into_iter().map(Recipient::is_post_quantum);
    kinds
        .next()
        .is_some_and(|first| kinds.any(|other| other != first))
}

/// A private key that opens what was sealed to its recipient.
pub enum Identity {
    /// An RSA private key.
    SshRsa(ssh_rsa::Identity),
    /// A native age identity (`AGE-SECRET-KEY-1...`).
    X25519(x25519::Identity),
    /// A post-quantum hybrid age identity (`AGE-SECRET-KEY-PQ-1...`).
    MlKem768X25519(mlkem768x25519::Identity),
    /// Something else that unwraps file keys: a passphrase, an age plugin.
    External(Box<dyn Unwrap>),
}

/// What finds a file key where this module holds no private key for it.
pub trait Unwrap: Send + Sync {
    /// Tries all stanzas of one header. `None`: none is for it. Where it could not be used at all, it gives
    /// [`OpenError::External`].
    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, OpenError>;
}

impl Identity {
    /// The recipient that belongs to this identity; `None` where only somebody else knows it.
    pub fn to_recipient(&self) -> Option<Recipient> {
        match self {
            Self::SshRsa(identity) => Some(Recipient::SshRsa(identity.to_recipient())),
            Self::X25519(identity) => Some(Recipient::X25519(identity.to_recipient())),
            Self::MlKem768X25519(identity) => {
                Some(Recipient::MlKem768X25519(identity.to_recipient()))
            }
            Self::External(_) => None,
        }
    }

    /// Tries every stanza. `None`: no stanza is for this identity, or none opens with it.
    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, OpenError> {
        match self {
            Self::SshRsa(identity) => Ok(identity.unwrap(stanzas)?),
            Self::X25519(identity) => Ok(identity.unwrap(stanzas)?),
            Self::MlKem768X25519(identity) => Ok(identity.unwrap(stanzas)?),
            Self::External(identity) => identity.unwrap(stanzas),
        }
    }
}

/// Why sealing could not begin or go on. None of these depends on the plaintext.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A file that nobody can open would be a loss, not a seal.
    #[error("no recipient to seal to: name at least one public key")]
    NoRecipients,
    /// Post-quantum recipients stand beside others.
    #[error(
        "post-quantum recipients (age1pq1...) stand beside others, whose keys a quantum computer would break: seal to \
         one kind alone"
    )]
    PostQuantumMixed,
    /// So many recipients make a header that is longer than [`MAX_HEADER_SIZE`], which nobody would open.
    #[error(
        "the age header would be longer than 4 MiB, and nobody would open it: name fewer recipients"
    )]
    HeaderTooLong,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no randomness")]
    Randomness(#[source] getrandom::Error),
    /// RSA-OAEP refused the key.
    #[error("the file key could not be wrapped for an RSA recipient: check the public key")]
    Rsa(#[source] aws_lc_rs::error::Unspecified),
    /// HPKE refused the key.
    #[error("the file key could not be wrapped for a post-quantum recipient: check the public key")]
    Hpke(#[source] hpke::HpkeError),
    /// The recipient's point gives an all-zero shared secret: a key that seals nothing.
    #[error("an X25519 recipient is a low-order point: it protects nothing, use another key")]
    LowOrderRecipient,
    /// A stanza's argument holds something other than visible ASCII.
    #[error("a stanza argument is empty or holds a character outside visible ASCII")]
    StanzaArgument,
    /// What was sealed does not open: nothing but a broken machine does that.
    #[error("what was sealed does not open again: look after this machine's memory")]
    Unsound,
    /// More chunks than a counter can number.
    #[error("the payload has more chunks than can be numbered")]
    TooLong,
}

/// Why a file did not open. Which one it was is for the holder of the file; an online caller is told only that it
/// did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The armor around the file is not strict PEM.
    #[error("the ASCII armor is damaged")]
    Armor(#[from] ArmorError),
    /// The header breaks the format.
    #[error("the age header is damaged or not an age header")]
    Header(#[from] HeaderError),
    /// No identity opens any stanza.
    #[error("no identity matches: the file was sealed to other keys")]
    NoMatch,
    /// An identity that is not a key at hand, like an age plugin, could not be used.
    #[error("an identity could not be used")]
    External(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The header was changed after it was made.
    #[error("the age header was altered: its MAC does not fit")]
    Mac,
    /// A chunk was changed, moved, cut off or added.
    #[error("the payload is damaged")]
    Payload(#[from] PayloadError),
}

/// A file whose sealing has begun.
pub struct Begun {
    /// What the file starts with: the header and the payload nonce.
    pub prefix: Vec<u8>,
    /// Seals the chunks that follow.
    pub sealer: PayloadSealer,
    /// The file key, for whoever has to open this very file by key. It seals nothing any more.
    pub file_key: FileKey,
}

/// Begins an age file for `recipients`, under a fresh file key and a fresh nonce.
///
/// `extra` stanzas stand behind those of the recipients. The header MAC covers them; every age implementation ignores
/// types that it does not know.
pub fn begin(recipients: &[Recipient], extra: &[Stanza]) -> Result<Begun, SealError> {
    if recipients.is_empty() {
        return Err(SealError::NoRecipients);
    }
    if mixes_post_quantum(recipients) {
        return Err(SealError::PostQuantumMixed);
    }
    begin_with(|file_key| {
        let mut stanzas = Vec::with_capacity(recipients.len() + extra.len());
        for recipient in recipients {
            stanzas.push(recipient.wrap(file_key)?);
        }
        stanzas.extend_from_slice(extra);
        Ok(stanzas)
    })
}

fn begin_with(
    wrap: impl FnOnce(&FileKey) -> Result<Vec<Stanza>, SealError>,
) -> Result<Begun, SealError> {
    let file_key = FileKey::generate()?;
    let mut prefix = header::encode(&wrap(&file_key)?, &file_key)?;
    let mut nonce = [0; NONCE_SIZE];
    getrandom::fill(&mut nonce).map_err(SealError::Randomness)?;
    prefix.extend_from_slice(&nonce);
    let sealer = PayloadSealer::new(&file_key, &nonce);
    Ok(Begun {
        prefix,
        sealer,
        file_key,
    })
}

/// Seals a plaintext that is in memory as one binary age file.
pub fn seal(
    recipients: &[Recipient],
    extra: &[Stanza],
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    seal_all(begin(recipients, extra)?, plaintext)
}

/// Seals a plaintext that is in memory as one binary age file, which opens with a passphrase (a second of work).
pub fn seal_with_passphrase(passphrase: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    let begun = begin_with(|file_key| Ok(vec![scrypt::wrap(passphrase, file_key)?]))?;
    seal_all(begun, plaintext)
}

fn seal_all(begun: Begun, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    let Begun {
        mut prefix,
        mut sealer,
        ..
    } = begun;
    prefix.reserve(plaintext.len() + (plaintext.len() / CHUNK_SIZE + 1) * TAG_SIZE);
    let mut rest = plaintext;
    let mut buffer = ChunkBuffer::new(1);
    loop {
        buffer.fill(&mut rest);
        if rest.is_empty() {
            prefix.extend_from_slice(buffer.seal_last(sealer)?);
            return Ok(prefix);
        }
        prefix.extend_from_slice(buffer.seal(&mut sealer)?);
    }
}

/// The same for what takes the place of a file that is lost then: what was sealed is opened again with its file key, and
/// compared. That the recipients' private keys unwrap this one only they can tell.
pub fn seal_checked(
    recipients: &[Recipient],
    extra: &[Stanza],
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let begun = begin(recipients, extra)?;
    let file_key = begun.file_key.duplicate();
    let file = seal_all(begun, plaintext)?;
    let opened = match Header::parse(&file) {
        Ok(Some((header, size))) => header
            .verify(&file_key)
            .and_then(|()| open_payload(&file[size..], &header, &file_key)),
        _ => Err(HeaderError::Truncated.into()),
    };
    match opened {
        Ok(opened) if opened.as_slice() == plaintext => Ok(file),
        _ => Err(SealError::Unsound),
    }
}

/// Opens a binary age file that is in memory. The plaintext comes back only when all of it is genuine.
pub fn open(
    file: &[u8],
    identities: &[Identity],
) -> Result<zeroize::Zeroizing<Vec<u8>>, OpenError> {
    let (header, prefix_size) = Header::parse(file)?.ok_or(HeaderError::Truncated)?;
    let file_key = header.unwrap_file_key(identities)?;
    open_payload(&file[prefix_size..], &header, &file_key)
}

/// Opens the payload of a file in memory: what follows the header and nonce that `header` was parsed from.
pub fn open_payload(
    payload: &[u8],
    header: &Header,
    file_key: &FileKey,
) -> Result<zeroize::Zeroizing<Vec<u8>>, OpenError> {
    let mut opener = StreamOpener::new(file_key, header.nonce());
    let mut plaintext = zeroize::Zeroizing::new(Vec::with_capacity(payload.len()));
    let mut chunk = zeroize::Zeroizing::new(Vec::with_capacity(SEALED_CHUNK_SIZE));
    let mut rest = payload;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(SEALED_CHUNK_SIZE));
        chunk.clear();
        chunk.extend_from_slice(now);
        plaintext.extend_from_slice(opener.open_next(&mut chunk, later.is_empty())?);
        rest = later;
    }
    opener.finish()?;
    Ok(plaintext)
}

#[cfg(test)]
mod tests;
