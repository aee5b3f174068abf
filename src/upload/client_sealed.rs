//! Uploads that the sender sealed already: checked as far as that goes without a key.

use crate::seal::{ArmorDecoder, Header, HeaderError, Recipient, looks_armored};

/// The longest start of a client-sealed upload that is looked at, in bytes.
const MAX_START: usize = 256 * 1024;

/// Why a body that calls itself an age file is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientSealedError {
    /// It does not begin with a well-formed age header.
    #[error("the body is sent as application/age but does not begin with a valid age header")]
    NotAge,
    /// No stanza is for a key of this server's.
    #[error("the age file is not sealed to this server's recipients: take them from /recipients")]
    NotForUs,
}

/// Looks at the first bytes of a body, until it has seen the age header whole.
pub struct ClientSealedCheck<'a> {
    recipients: &'a [Recipient],
    start: Vec<u8>,
    passed: bool,
}

impl<'a> ClientSealedCheck<'a> {
    /// A check against the keys that the file should be sealed to.
    pub fn new(recipients: &'a [Recipient]) -> Self {
        Self {
            recipients,
            start: Vec::new(),
            passed: false,
        }
    }

    /// Looks at the next bytes of the body.
    pub fn update(&mut self, data: &[u8]) -> Result<(), ClientSealedError> {
        if self.passed {
            return Ok(());
        }
        // What was seen is parsed anew only when it has doubled: a body in single bytes costs no more than its length.
        let before = self.start.len();
        self.start
            .extend_from_slice(&data[..data.len().min(MAX_START - before)]);
        if before > 0 && self.start.len() < before.next_power_of_two() {
            return Ok(());
        }
        self.parse(self.start.len() == MAX_START)
    }

    /// The body has ended: its header must have been there.
    pub fn finish(mut self) -> Result<(), ClientSealedError> {
        if self.passed {
            Ok(())
        } else {
            self.parse(true)
        }
    }

    fn parse(&mut self, at_end: bool) -> Result<(), ClientSealedError> {
        match parse_start(&self.start) {
            Ok(Some(header)) => {
                if !self
                    .recipients
                    .iter()
                    .any(|recipient| is_for(&header, recipient))
                {
                    return Err(ClientSealedError::NotForUs);
                }
                self.passed = true;
                self.start = Vec::new();
                Ok(())
            }
            Ok(None) if !at_end => Ok(()),
            _ => Err(ClientSealedError::NotAge),
        }
    }
}

fn parse_start(start: &[u8]) -> Result<Option<Header>, HeaderError> {
    if !looks_armored(start) {
        return Ok(Header::parse(start)?.map(|(header, _)| header));
    }
    let mut bytes = Vec::new();
    ArmorDecoder::new()
        .push(start, &mut bytes)
        .map_err(|_| HeaderError::NotAge)?;
    Ok(Header::parse(&bytes)?.map(|(header, _)| header))
}

/// An X25519 stanza does not say whose it is; that there is one must do.
fn is_for(header: &Header, recipient: &Recipient) -> bool {
    header.stanzas().iter().any(|stanza| match recipient {
        Recipient::SshRsa(key) => key.is_named_by(stanza),
        Recipient::X25519(_) => stanza.args[0] == "X25519",
    })
}
