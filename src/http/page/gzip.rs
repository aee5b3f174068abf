//! Pages and their script in a third of their bytes, where the reader takes gzip (RFC 9110, section 8.4.1.3).
//!
//! Nothing here is secret and chosen by others side by side, which is what makes compression tell what it should not.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use crate::http::weight::weighted;

/// Whether the client says that it takes gzip. What has a weight of nothing is refused, and `*` is taken for no promise.
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let mut codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        weighted(coding)
            .is_some_and(|(name, weight)| name.eq_ignore_ascii_case("gzip") && weight > 0)
    })
}

/// The bytes in gzip.
pub(super) fn compressed(bytes: &[u8], level: Compression) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), level);
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("memory takes all that is written")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn accepted(value: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
        is_accepted(&headers)
    }

    #[test]
    fn only_who_takes_gzip_gets_it() {
        for value in [
            "gzip",
            "br, GZIP;q=0.5",
            "gzip ; Q=0.001",
            "gzip, deflate, br, zstd",
            "identity;q=0, gzip;q=1",
        ] {
            assert!(accepted(value), "{value}");
        }
        for value in [
            "",
            "identity",
            "*",
            "gzip;q=0",
            "gzip; q=0.0",
            "gzip;Q=0",
            "gzip;q=0.000",
            "gzip;q=-1",
            "x-gzipped",
            "br;q=1, zstd",
        ] {
            assert!(!accepted(value), "{value}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }
}
