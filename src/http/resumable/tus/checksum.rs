//! The checksum of one request's body (tus, "Checksum"), before the body or in a trailer.

use http::header::TRAILER;
use http::{HeaderMap, HeaderName};

use super::text;
use crate::http::body::RequestBody;
use crate::http::problem::Problem;
use crate::http::tus_fields::{checksum_algorithms, upload_checksum};
use crate::upload::{Algorithm, ExpectedDigest, RunningDigest};

const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");

/// What a body will be held to.
pub(super) enum Checksum {
    None,
    Known(ExpectedDigest),
    /// It comes behind the body, by an algorithm that is told then.
    Trailer,
}

impl Checksum {
    pub(super) fn announced(headers: &HeaderMap) -> Result<Self, Problem> {
        if let Some(text) = text(headers, &UPLOAD_CHECKSUM)? {
            return Ok(Self::Known(upload_checksum(text)?));
        }
        let lists = headers.get_all(TRAILER).iter();
        let mut names = lists
            .filter_map(|list| list.to_str().ok())
            .flat_map(|list| list.split(','));
        let announced =
            names.any(|name| name.trim().eq_ignore_ascii_case(UPLOAD_CHECKSUM.as_str()));
        Ok(if announced { Self::Trailer } else { Self::None })
    }

    /// The algorithms that have to run along.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        match self {
            Self::None => Vec::new(),
            Self::Known(expected) => vec![expected.algorithm],
            Self::Trailer => checksum_algorithms(),
        }
    }

    /// What the body must have, once it has ended.
    pub(super) fn expected(self, body: &RequestBody) -> Result<Vec<ExpectedDigest>, Problem> {
        let trailers = match self {
            Self::None => return Ok(Vec::new()),
            Self::Known(expected) => return Ok(vec![expected]),
            Self::Trailer => body.trailers(),
        };
        let missing = || {
            Problem::malformed_tus(
                "The Upload-Checksum that was announced as a trailer did not come.",
            )
        };
        let trailers = trailers.ok_or_else(missing)?;
        let text = text(trailers, &UPLOAD_CHECKSUM)?.ok_or_else(missing)?;
        Ok(vec![upload_checksum(text)?])
    }

    /// Holds a body without content to it.
    pub(super) fn check_nothing(self, body: &RequestBody) -> Result<(), Problem> {
        for expected in self.expected(body)? {
            if !expected.is(&RunningDigest::new(expected.algorithm).finish()) {
                return Err(Problem::checksum_mismatch());
            }
        }
        Ok(())
    }
}
