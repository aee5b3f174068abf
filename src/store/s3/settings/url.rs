//! The address of a store in a bucket.

use std::fmt;
use std::str::FromStr;

/// A bucket and the prefix of everything in it that is the store's: `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Url {
    bucket: String,
    prefix: String,
}

/// A text that is no place in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum S3UrlError {
    /// Not `s3://…`.
    #[error("not an S3 address: expected s3://bucket or s3://bucket/prefix")]
    Scheme,
    /// No bucket can have this name.
    #[error(
        "no bucket can have this name: expected 3 to 63 characters of a-z, 0-9, - and ., with a letter or digit at both ends"
    )]
    Bucket,
    /// A prefix that is not written the one way that it can be.
    #[error(
        "not a prefix: expected at most 200 characters, names of A-Z, a-z, 0-9, -, _ and ., not . or .., with one / between them and none at the end"
    )]
    Prefix,
}

impl S3Url {
    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What all keys of the store begin with, without a `/` at the end; empty where the whole bucket is the store's.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl fmt::Display for S3Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() {
            return Ok(());
        }
        write!(f, "/{}", self.prefix)
    }
}

impl FromStr for S3Url {
    type Err = S3UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("s3://").ok_or(S3UrlError::Scheme)?;
        let (bucket, prefix) = match rest.split_once('/') {
            Some((bucket, prefix)) => (bucket, Some(prefix)),
            None => (rest, None),
        };
        if !is_bucket(bucket) {
            return Err(S3UrlError::Bucket);
        }
        if !prefix.is_none_or(is_prefix) {
            return Err(S3UrlError::Prefix);
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.unwrap_or_default().to_owned(),
        })
    }
}

fn is_bucket(name: &str) -> bool {
    let outer = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|&byte| outer(byte) || byte == b'-' || byte == b'.')
        && outer(bytes[0])
        && outer(bytes[bytes.len() - 1])
        && !name.contains("..")
}

fn is_prefix(prefix: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    prefix.len() <= 200
        && prefix
            .split('/')
            .all(|name| !name.is_empty() && name != "." && name != ".." && name.bytes().all(fits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bucket_and_a_prefix_are_told_apart() {
        for (text, bucket, prefix) in [
            ("s3://uploads", "uploads", ""),
            ("s3://a-b.c0/x", "a-b.c0", "x"),
            (
                "s3://uploads/sealslot/Prod_1.b",
                "uploads",
                "sealslot/Prod_1.b",
            ),
        ] {
            let url: S3Url = text.parse().unwrap();
            assert_eq!((url.bucket(), url.prefix()), (bucket, prefix));
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn what_could_be_written_in_two_ways_is_no_address() {
        for (text, error) in [
            ("", S3UrlError::Scheme),
            ("uploads/x", S3UrlError::Scheme),
            ("S3://uploads", S3UrlError::Scheme),
            ("https://uploads", S3UrlError::Scheme),
            ("s3://", S3UrlError::Bucket),
            ("s3://ab", S3UrlError::Bucket),
            ("s3://Uploads", S3UrlError::Bucket),
            ("s3://up..loads", S3UrlError::Bucket),
            ("s3://-uploads", S3UrlError::Bucket),
            ("s3://uploads.", S3UrlError::Bucket),
            ("s3://user@uploads", S3UrlError::Bucket),
            ("s3://uploads:9000", S3UrlError::Bucket),
            ("s3://uploads?x", S3UrlError::Bucket),
            ("s3://uploads/", S3UrlError::Prefix),
            ("s3://uploads/x/", S3UrlError::Prefix),
            ("s3://uploads//x", S3UrlError::Prefix),
            ("s3://uploads/../x", S3UrlError::Prefix),
            ("s3://uploads/x/.", S3UrlError::Prefix),
            ("s3://uploads/a b", S3UrlError::Prefix),
            ("s3://uploads/%2e", S3UrlError::Prefix),
            ("s3://uploads/\u{e9}", S3UrlError::Prefix),
        ] {
            assert_eq!(text.parse::<S3Url>(), Err(error), "{text:?}");
        }
        assert_eq!(
            format!("s3://{}", "a".repeat(64)).parse::<S3Url>(),
            Err(S3UrlError::Bucket)
        );
        assert_eq!(
            format!("s3://abc/{}", "a".repeat(201)).parse::<S3Url>(),
            Err(S3UrlError::Prefix)
        );
    }

    proptest! {
        #[test]
        fn what_is_an_address_is_written_the_same_again(text in "s3://[a-z.-]{2,8}[/a-zA-Z.%_ -]{0,12}") {
            if let Ok(url) = text.parse::<S3Url>() {
                prop_assert_eq!(url.to_string(), text);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = text.parse::<S3Url>();
        }
    }
}
