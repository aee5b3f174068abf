//! Digest fields (RFC 9530): what a client says of what it sends, and what it wants to be told.

use data_encoding::BASE64;
use http::{HeaderMap, HeaderValue};
use sfv::{Dictionary, ListEntry, Parser};

use crate::upload::{Algorithm, ExpectedDigest};

/// Of the content of one message.
pub const CONTENT_DIGEST: &str = "content-digest";
/// Of the whole that it belongs to.
pub const REPR_DIGEST: &str = "repr-digest";
const WANT_REPR_DIGEST: &str = "want-repr-digest";

/// The algorithms that are neither insecure nor unknown (RFC 9530, section 7.2), with the size of their digests in bytes.
const ALGORITHMS: [(&str, Algorithm, usize); 2] = [
    ("sha-256", Algorithm::Sha256, 32),
    ("sha-512", Algorithm::Sha512, 64),
];

/// A field that cannot be read, or a digest that its algorithm does not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a digest field is a dictionary of digests in base64 between colons, like sha-256=:...:, each of its algorithm's size"
)]
pub struct DigestFieldError;

/// The digests in `Content-Digest` or `Repr-Digest`. Those of other algorithms are ignored (RFC 9530, section 2).
pub fn digests(headers: &HeaderMap, field: &str) -> Result<Vec<ExpectedDigest>, DigestFieldError> {
    let Some(dictionary) = dictionary(headers, field)? else {
        return Ok(Vec::new());
    };
    let mut digests = Vec::new();
    for (key, entry) in &dictionary {
        let Some(&(_, algorithm, size)) =
            ALGORITHMS.iter().find(|(name, ..)| key.as_str() == *name)
        else {
            continue;
        };
        let value = match entry {
            ListEntry::Item(item) => item.bare_item.as_byte_sequence(),
            ListEntry::InnerList(_) => None,
        };
        let value = value.filter(|value| value.len() == size);
        digests.push(ExpectedDigest {
            algorithm,
            value: value.ok_or(DigestFieldError)?.to_vec(),
        });
    }
    Ok(digests)
}

/// The digest that the client wants of the whole: of those that there are, the one it prefers (RFC 9530, section 4).
pub fn wanted(headers: &HeaderMap) -> Result<Option<Algorithm>, DigestFieldError> {
    let Some(dictionary) = dictionary(headers, WANT_REPR_DIGEST)? else {
        return Ok(None);
    };
    let weight = |name: &str| {
        let entry = dictionary.iter().find(|(key, _)| key.as_str() == name)?.1;
        match entry {
            ListEntry::Item(item) => item.bare_item.as_integer().map(i64::from),
            ListEntry::InnerList(_) => None,
        }
    };
    let wanted = ALGORITHMS
        .iter()
        .filter_map(|&(name, algorithm, _)| Some((weight(name)?, algorithm)))
        .filter(|(weight, _)| *weight > 0)
        // At equal weight the first one: it costs nothing.
        .rev()
        .max_by_key(|(weight, _)| *weight);
    Ok(wanted.map(|(_, algorithm)| algorithm))
}

/// A digest as `Repr-Digest` says it.
pub fn field_value((algorithm, digest): (Algorithm, &[u8])) -> Option<HeaderValue> {
    let (name, ..) = ALGORITHMS
        .iter()
        .find(|(_, known, _)| *known == algorithm)?;
    HeaderValue::try_from(format!("{name}=:{}:", BASE64.encode(digest))).ok()
}

fn dictionary(headers: &HeaderMap, field: &str) -> Result<Option<Dictionary>, DigestFieldError> {
    let mut lines = headers.get_all(field).iter().map(HeaderValue::as_bytes);
    let Some(first) = lines.next() else {
        return Ok(None);
    };
    // Several lines are one list (RFC 9110, section 5.3).
    let joined = lines.fold(first.to_vec(), |joined, line| {
        [&joined, &b", "[..], line].concat()
    });
    let parsed = Parser::new(&joined).parse::<Dictionary>();
    parsed.map(Some).map_err(|_| DigestFieldError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(field: &'static str, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(field, line.parse().unwrap());
        }
        headers
    }

    const SHA256: &str = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";

    #[test]
    fn digests_of_known_algorithms_are_read() {
        for lines in [&[SHA256][..], &["md5=:AA==:, unixsum=:AA==:", SHA256]] {
            let digests = digests(&with(CONTENT_DIGEST, lines), CONTENT_DIGEST)
                .ok()
                .unwrap();
            assert_eq!(digests.len(), 1);
            assert_eq!(digests[0].algorithm, Algorithm::Sha256);
            assert_eq!(digests[0].value[..2], [0x5f, 0x8f]);
        }
        assert!(
            digests(&HeaderMap::new(), REPR_DIGEST)
                .ok()
                .unwrap()
                .is_empty()
        );
        for line in [
            "sha-256=:AA==:",
            "sha-256",
            "sha-256=7",
            "sha-256=(:AA==:)",
            "=",
            "sha-256=:%:",
        ] {
            assert!(
                digests(&with(REPR_DIGEST, &[line]), REPR_DIGEST).is_err(),
                "{line}"
            );
        }
    }

    #[test]
    fn the_preferred_digest_is_wanted() {
        for (line, expected) in [
            ("sha-256=1", Some(Algorithm::Sha256)),
            ("sha-512=3, sha-256=10, unixsum=0", Some(Algorithm::Sha256)),
            ("sha-512=10, sha-256=9", Some(Algorithm::Sha512)),
            ("sha-512=5, sha-256=5", Some(Algorithm::Sha256)),
            ("sha-512=0", None),
            ("md5=10", None),
        ] {
            let wanted = wanted(&with(WANT_REPR_DIGEST, &[line])).ok().unwrap();
            assert_eq!(wanted, expected, "{line}");
        }
    }

    #[test]
    fn a_digest_is_written_as_it_is_read() {
        let value = field_value((Algorithm::Sha512, &[7; 64])).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(REPR_DIGEST, value);
        assert_eq!(
            digests(&headers, REPR_DIGEST).ok().unwrap()[0].value,
            [7; 64]
        );
        assert!(field_value((Algorithm::Sha1, &[7; 20])).is_none());
    }
}
