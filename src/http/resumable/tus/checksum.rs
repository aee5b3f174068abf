//! The checksum of one request's body (tus, "Checksum"), before the body or in a trailer.

use data_encoding::BASE64;
use http::header::TRAILER;
use http::{HeaderMap, HeaderValue};

use crate::http::body::RequestBody;
use crate::http::problem::Problem;
use crate::upload::{Algorithm, ExpectedDigest, RunningDigest};

const UPLOAD_CHECKSUM: &str = "upload-checksum";
/// What `Tus-Checksum-Algorithm` says.
pub(super) const ALGORITHMS: &str = "sha1,sha256,crc32c";
const KNOWN: [(&str, Algorithm, usize); 3] = [
    ("sha1", Algorithm::Sha1, 20),
    ("sha256", Algorithm::Sha256, 32),
    ("crc32c", Algorithm::Crc32c, 4),
];

/// What a body will be held to.
pub(super) enum Checksum {
    None,
    Known(ExpectedDigest),
    /// It comes behind the body, by an algorithm that is told then.
    Trailer,
}

impl Checksum {
    /// What the headers say.
    pub(super) fn announced(headers: &HeaderMap) -> Result<Self, Problem> {
        if let Some(value) = headers.get(UPLOAD_CHECKSUM) {
            return parse(value).map(Self::Known);
        }
        let lists = headers
            .get_all(TRAILER)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut names = lists.flat_map(|list| list.split(','));
        Ok(
            if names.any(|name| name.trim().eq_ignore_ascii_case(UPLOAD_CHECKSUM)) {
                Self::Trailer
            } else {
                Self::None
            },
        )
    }

    /// The algorithms that have to run along.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        match self {
            Self::None => Vec::new(),
            Self::Known(expected) => vec![expected.algorithm],
            Self::Trailer => KNOWN.map(|(_, algorithm, _)| algorithm).to_vec(),
        }
    }

    /// What the body must have, once it has ended.
    pub(super) fn expected(self, body: &RequestBody) -> Result<Vec<ExpectedDigest>, Problem> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Known(expected) => Ok(vec![expected]),
            Self::Trailer => {
                let value = body
                    .trailers()
                    .and_then(|trailers| trailers.get(UPLOAD_CHECKSUM));
                let value = value.ok_or_else(|| {
                    Problem::malformed_tus(
                        "The Upload-Checksum that was announced as a trailer did not come.",
                    )
                })?;
                Ok(vec![parse(value)?])
            }
        }
    }

    /// Holds a body without content to it.
    pub(super) fn check_nothing(self, body: &RequestBody) -> Result<(), Problem> {
        let wrong = self.expected(body)?.into_iter().find(|expected| {
            let nothing = RunningDigest::new(expected.algorithm).finish();
            !expected.is(&nothing)
        });
        match wrong {
            Some(_) => Err(Problem::checksum_mismatch()),
            None => Ok(()),
        }
    }
}

fn parse(value: &HeaderValue) -> Result<ExpectedDigest, Problem> {
    let malformed = || {
        Problem::malformed_tus(
            "Upload-Checksum is one of sha1, sha256 and crc32c, a space, and the checksum in base64.",
        )
    };
    let text = value.to_str().map_err(|_| malformed())?;
    let (name, encoded) = text.split_once(' ').ok_or_else(malformed)?;
    let known = KNOWN.iter().find(|(known, ..)| *known == name);
    let &(_, algorithm, size) = known.ok_or_else(malformed)?;
    let value = BASE64
        .decode(encoded.trim().as_bytes())
        .map_err(|_| malformed())?;
    if value.len() != size {
        return Err(malformed());
    }
    Ok(ExpectedDigest { algorithm, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(name: &'static str, value: &str) -> Result<Checksum, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        Checksum::announced(&headers)
    }

    #[test]
    fn checksums_are_read_before_and_announced_behind_the_body() {
        let known = announced(UPLOAD_CHECKSUM, "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=")
            .ok()
            .unwrap();
        assert_eq!(known.algorithms(), [Algorithm::Sha1]);
        let trailer = announced("trailer", "Expires, Upload-Checksum")
            .ok()
            .unwrap();
        assert_eq!(trailer.algorithms().len(), 3);
        assert!(
            announced("trailer", "Expires")
                .ok()
                .unwrap()
                .algorithms()
                .is_empty()
        );
    }

    #[test]
    fn unclear_checksums_are_refused() {
        for value in [
            "",
            "sha1",
            "sha1 ",
            "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "md5 XUFAKrxLKna5cZ2REBfFkg==",
            "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu",
            "sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "sha1 *",
        ] {
            assert!(announced(UPLOAD_CHECKSUM, value).is_err(), "{value}");
        }
    }
}
