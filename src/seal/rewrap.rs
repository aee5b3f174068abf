//! Wrapping a file key anew, for other recipients, while the payload stays.

use super::{FileKey, Header, Recipient, SealError, header, mixes_post_quantum};

/// Writes what an age file starts with (header and nonce) for other `recipients`. The file key and the nonce stay, and so
/// the payload opens behind the new start as it did behind the old one.
///
/// `old` must have been [verified](Header::verify) with `file_key`: a header made with another key opens nothing. Stanzas of `old`
/// are dropped, all of them. It seals nothing, so no nonce is used twice.
pub fn rewrap(
    old: &Header,
    file_key: &FileKey,
    recipients: &[Recipient],
) -> Result<Vec<u8>, SealError> {
    if recipients.is_empty() {
        return Err(SealError::NoRecipients);
    }
    if mixes_post_quantum(recipients) {
        return Err(SealError::PostQuantumMixed);
    }
    let stanzas = recipients.iter().map(|recipient| recipient.wrap(file_key));
    let stanzas = stanzas.collect::<Result<Vec<_>, _>>()?;
    let mut start = header::encode(&stanzas, file_key)?;
    start.extend_from_slice(old.nonce());
    Ok(start)
}
