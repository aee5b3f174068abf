//! Sealed uploads in a bucket of an S3-compatible store, which several nodes may share.

mod bucket;
mod settings;

pub use bucket::{Checksum, Engine, RequestCounts};
pub use settings::{AwsEnvironment, S3Options, S3Settings, S3SettingsError, S3Url, S3UrlError};
