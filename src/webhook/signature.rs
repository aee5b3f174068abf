//! What proves to a receiver that a message is from here, and is not an old one (Standard Webhooks).

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The shortest secret, in bytes.
pub const MIN_SECRET: usize = 24;
/// What stands before a secret that is written in base64.
const PREFIX: &str = "whsec_";

/// Why a text is no secret. Never repeats it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SecretError {
    /// Behind the prefix is something else than base64.
    #[error("a secret that begins with {PREFIX} goes on in base64")]
    Encoding,
    /// It could be guessed.
    #[error(
        "a secret has at least {MIN_SECRET} bytes: make one with `echo {PREFIX}$(openssl rand -base64 32)`"
    )]
    TooShort,
}

/// The secrets that receivers know: more than one while they are being exchanged. Without `Debug`.
pub struct SigningKeys(Vec<Zeroizing<Vec<u8>>>);

impl SigningKeys {
    /// Reads secrets as they are written: `whsec_` and base64, or any text.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Result<Self, SecretError> {
        let key = |secret: &str| {
            let key = Zeroizing::new(match secret.strip_prefix(PREFIX) {
                Some(encoded) => BASE64
                    .decode(encoded.as_bytes())
                    .map_err(|_| SecretError::Encoding)?,
                None => secret.as_bytes().to_vec(),
            });
            if key.len() < MIN_SECRET {
                return Err(SecretError::TooShort);
            }
            Ok(key)
        };
        let keys: Vec<_> = secrets.into_iter().map(key).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(SecretError::TooShort);
        }
        Ok(Self(keys))
    }

    /// The value of `webhook-signature`: one signature for each secret.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let signature = |key: &Zeroizing<Vec<u8>>| {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
        };
        self.0.iter().map(signature).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_signs_as_standard_webhooks_does() {
        // The example of the specification's own libraries.
        let keys = SigningKeys::new(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]).unwrap();
        let signature = keys.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            b"{\"test\": 2432232314}",
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_secret_signs_and_weak_ones_are_refused() {
        let text = "a plain secret of some length";
        let encoded = format!("whsec_{}", BASE64.encode(text.as_bytes()));
        let keys = SigningKeys::new([text, &encoded]).unwrap();
        let signatures = keys.sign("a", 1, b"b");
        let (one, other) = signatures.split_once(' ').unwrap();
        assert_eq!(one, other);
        for (secret, error) in [
            ("short", SecretError::TooShort),
            ("whsec_c2hvcnQ=", SecretError::TooShort),
            ("whsec_!", SecretError::Encoding),
        ] {
            assert_eq!(SigningKeys::new([secret]).err(), Some(error), "{secret}");
        }
        assert!(SigningKeys::new([]).is_err());
    }
}
