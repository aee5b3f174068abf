//! Uploads that the sender sealed already: checked as far as that goes without a key.

use std::sync::Arc;

use crate::seal::{
    ArmorDecoder, Header, HeaderError, Recipient, looks_armored, may_become_armored, mlkem768x25519,
};

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
pub struct ClientSealedCheck {
    recipients: Arc<[Recipient]>,
    start: Vec<u8>,
    passed: bool,
}

impl ClientSealedCheck {
    /// A check against the keys that the file should be sealed to.
    pub fn new(recipients: Arc<[Recipient]>) -> Self {
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
    if may_become_armored(start) {
        return Ok(None);
    }
    if !looks_armored(start) {
        return Ok(Header::parse(start)?.map(|(header, _)| header));
    }
    let mut bytes = Vec::new();
    ArmorDecoder::new()
        .push(start, &mut bytes)
        .map_err(|_| HeaderError::NotAge)?;
    Ok(Header::parse(&bytes)?.map(|(header, _)| header))
}

/// An X25519 stanza does not say whose it is, nor does a post-quantum one; that there is one must do.
fn is_for(header: &Header, recipient: &Recipient) -> bool {
    header.stanzas().iter().any(|stanza| match recipient {
        Recipient::SshRsa(key) => key.is_named_by(stanza),
        Recipient::X25519(_) => stanza.args[0] == "X25519",
        Recipient::MlKem768X25519(_) => mlkem768x25519::is_type_of(stanza),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{ArmorEncoder, Identity, Stanza, seal};

    fn recipient() -> Recipient {
        const KEY: &str =
            "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
        Identity::X25519(KEY.parse().unwrap())
            .to_recipient()
            .unwrap()
    }

    fn check(body: &[u8], step: usize) -> Result<(), ClientSealedError> {
        let mut check = ClientSealedCheck::new(Arc::new([recipient()]));
        for piece in body.chunks(step) {
            check.update(piece)?;
        }
        check.finish()
    }

    #[test]
    fn it_does_not_matter_how_the_start_is_cut() {
        let extra = Stanza {
            args: vec!["example.com/long".to_owned()],
            body: vec![7; 5000],
        };
        let binary = seal(&[recipient()], &[extra], b"hello").unwrap();
        let mut armored = b" \r\n".to_vec();
        let mut encoder = ArmorEncoder::new();
        encoder.push(&binary, &mut armored);
        encoder.finish(&mut armored);
        for body in [binary, armored] {
            for step in 1..70 {
                assert_eq!(check(&body, step), Ok(()), "in steps of {step}");
            }
        }
    }

    #[test]
    fn a_post_quantum_stanza_is_for_a_post_quantum_key_alone() {
        let hybrid = mlkem768x25519::Identity::generate().unwrap();
        let hybrid = Recipient::MlKem768X25519(hybrid.to_recipient());
        let passes = |key: &Recipient, sealed_to: &Recipient| {
            let body = seal(std::slice::from_ref(sealed_to), &[], b"").unwrap();
            let mut check = ClientSealedCheck::new(Arc::new([key.clone()]));
            check.update(&body).and_then(|()| check.finish())
        };
        assert_eq!(passes(&hybrid, &hybrid), Ok(()));
        for (key, sealed_to) in [(&hybrid, &recipient()), (&recipient(), &hybrid)] {
            assert_eq!(passes(key, sealed_to), Err(ClientSealedError::NotForUs));
        }
    }

    #[test]
    fn what_never_becomes_an_age_header_is_refused() {
        for body in [
            &b""[..],
            b"-",
            b"  ",
            b"----",
            b"-----",
            b"age-encryption.org/v1\n",
            b"x",
        ] {
            for step in 1..10 {
                assert_eq!(
                    check(body, step),
                    Err(ClientSealedError::NotAge),
                    "{body:?}"
                );
            }
        }
        let endless = vec![b' '; MAX_START + 1];
        assert_eq!(check(&endless, 4096), Err(ClientSealedError::NotAge));
    }
}
