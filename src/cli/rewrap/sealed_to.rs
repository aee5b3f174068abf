//! Whether a header is for some keys already, and for no others.

use crate::seal::{Header, Identity, Recipient, Stanza};
use crate::upload::RECORD_STANZA;

/// Whether `header` is for exactly the keys `to`, as far as that can be told for certain. `private`: private keys of some of them.
///
/// An `ssh-rsa` stanza names its key. Of all others only their private keys tell which stanza is theirs: where one of these is
/// not at hand, the answer is no.
pub(super) fn is_sealed_to(header: &Header, to: &[(Recipient, Option<&Identity>)]) -> bool {
    let stanzas = || {
        header
            .stanzas()
            .iter()
            .filter(|stanza| stanza.args[0] != RECORD_STANZA)
    };
    if stanzas().count() != to.len() {
        return false;
    }
    let mut named: Vec<&Stanza> = Vec::new();
    to.iter().all(|(recipient, private)| match recipient {
        Recipient::SshRsa(key) => {
            // Two keys may share the four bytes that name them: each needs a stanza of its own.
            let own = stanzas().find(|stanza| {
                key.is_named_by(stanza) && !named.iter().any(|other| std::ptr::eq(*other, *stanza))
            });
            named.extend(own);
            own.is_some()
        }
        Recipient::X25519(_) | Recipient::MlKem768X25519(_) => private.is_some_and(|private| {
            header
                .unwrap_file_key(std::slice::from_ref(private))
                .is_ok()
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{generate, parse_recipients};
    use crate::seal;

    const X25519: &str =
        "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
    const OTHER: &str =
        "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

    fn x25519(text: &str) -> Identity {
        Identity::X25519(text.parse().unwrap())
    }

    fn rsa() -> Recipient {
        let key = generate(2048).unwrap();
        let line = crate::keys::NamedRecipient::new(
            Recipient::SshRsa(seal::ssh_rsa::Recipient::new(key.to_public_key()).unwrap()),
            "",
        )
        .to_line();
        parse_recipients(&line).unwrap().remove(0).recipient
    }

    fn header(to: &[Recipient]) -> Header {
        let record = Stanza {
            args: vec![RECORD_STANZA.to_owned()],
            body: b"{}".to_vec(),
        };
        let file = seal::seal(to, &[record], b"").unwrap();
        Header::parse(&file).unwrap().unwrap().0
    }

    #[test]
    fn rsa_keys_are_told_from_outside() {
        let (a, b) = (rsa(), rsa());
        let of = |keys: &[&Recipient]| -> Vec<_> {
            keys.iter().map(|key| ((*key).clone(), None)).collect()
        };
        let only_a = header(std::slice::from_ref(&a));
        let both = header(&[a.clone(), b.clone()]);
        assert!(is_sealed_to(&only_a, &of(&[&a])));
        assert!(is_sealed_to(&both, &of(&[&b, &a])));
        for (header, keys) in [
            (&only_a, of(&[&b])),
            (&only_a, of(&[&a, &b])),
            (&both, of(&[&a])),
            (&both, of(&[&a, &a])),
            (&both, of(&[])),
        ] {
            assert!(!is_sealed_to(header, &keys));
        }
    }

    #[test]
    fn other_keys_are_told_by_their_private_half_alone() {
        let (one, other) = (x25519(X25519), x25519(OTHER));
        let (a, b) = (one.to_recipient().unwrap(), other.to_recipient().unwrap());
        let header = header(&[a.clone(), b.clone()]);
        assert!(is_sealed_to(
            &header,
            &[(b.clone(), Some(&other)), (a.clone(), Some(&one))]
        ));
        // It may as well be for somebody else.
        assert!(!is_sealed_to(
            &header,
            &[(a.clone(), Some(&one)), (b, None)]
        ));
        assert!(!is_sealed_to(&header, &[(a, Some(&one))]));
    }
}
