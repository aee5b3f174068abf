//! Sealed uploads in a bucket of an S3-compatible store, which several nodes may share.

mod bucket;
mod expiry;
mod limits;
mod logs;
mod quota;
mod records;
mod sessions;
mod settings;
mod store;

pub use bucket::{Checksum, Engine, RequestCounts};
pub use limits::S3Limits;
pub use settings::{AwsEnvironment, S3Options, S3Settings, S3SettingsError, S3Url, S3UrlError};
pub use store::S3Store;
