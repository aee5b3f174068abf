//! Sealed uploads in a bucket of an S3-compatible store, which several nodes may share.

mod bucket;
mod budget;
mod buffer;
mod chores;
mod delete;
mod expiry;
mod folder;
mod keys;
mod limits;
mod list;
mod logs;
mod notes;
mod publish;
mod published;
mod quota;
mod reader;
mod recent;
mod records;
mod removal;
mod rewrap;
mod sessions;
mod settings;
mod side_by_side;
mod staging;
mod store;
mod sweep;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod unfinished;
mod walk;
mod writer;

pub use bucket::{Checksum, EndpointError, Engine, RequestCounts};
pub use limits::S3Limits;
pub use settings::{
    AwsEnvironment, AwsProfile, ProfileError, ProfileFile, S3Options, S3Settings, S3SettingsError,
    S3Url, S3UrlError,
};
pub use store::S3Store;
#[cfg(test)]
pub(crate) use testing::SmallEngine;
