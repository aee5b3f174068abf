//! A bucket in place of the data folder: which one, how it is reached, and what the environment says of it.

use std::env;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use zeroize::Zeroizing;

use super::together::alone;
use super::{ConfigError, ServeArgs, Size};
use crate::store::{
    AwsEnvironment, S3Limits, S3Options, S3Settings, S3Store, S3Url, Shelf, StoreError, StoreLimits,
};

/// Where uploads are kept, within which bounds.
#[derive(Debug, Clone)]
pub enum StoreSettings {
    /// In the data folder.
    Folder(StoreLimits),
    /// In a bucket, which other servers may use too.
    Bucket(Box<BucketSettings>),
}

/// A bucket, and how it is used.
#[derive(Clone)]
pub struct BucketSettings {
    settings: S3Settings,
    limits: S3Limits,
}

impl BucketSettings {
    /// The bucket and the prefix.
    pub fn location(&self) -> &S3Url {
        self.settings.location()
    }

    /// Connects, and finds out what the engine does. Blocks.
    pub fn open(&self) -> Result<S3Store, StoreError> {
        S3Store::open(&self.settings, self.limits.clone())
    }

    /// Opens it to be read only. Blocks.
    pub fn open_to_read(&self) -> Result<Box<dyn Shelf>, StoreError> {
        S3Store::open_to_read(&self.settings, self.limits.clone())
    }

    /// The same for a command that may run beside servers. Blocks.
    pub fn open_beside(&self) -> Result<S3Store, StoreError> {
        S3Store::open_beside(&self.settings, self.limits.clone())
    }
}

impl fmt::Debug for BucketSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BucketSettings({})", self.location())
    }
}

/// How a bucket is reached, for the commands that work on one.
#[derive(clap::Args, Debug, Default, Clone)]
#[expect(
    clippy::struct_field_names,
    reason = "they are the names of the flags, beside those of a command"
)]
pub struct BucketArgs {
    /// Where the engine of --store is, like <https://s3.example.org:8333> [default: `AWS_ENDPOINT_URL`, else Amazon's of the region]
    #[arg(
        long,
        env = "SEALSLOT_STORE_ENDPOINT",
        value_name = "URL",
        hide_short_help = true
    )]
    store_endpoint: Option<String>,

    /// The region of --store [default: `AWS_REGION`, else us-east-1]
    #[arg(
        long,
        env = "SEALSLOT_STORE_REGION",
        value_name = "REGION",
        hide_short_help = true
    )]
    store_region: Option<String>,

    /// Trust the certificate authorities in FILE (PEM) for the engine of --store instead of the system's
    #[arg(
        long,
        env = "SEALSLOT_STORE_CACERT",
        value_name = "FILE",
        hide_short_help = true
    )]
    store_cacert: Option<PathBuf>,

    /// Name the bucket of --store in the host and not in the path
    #[arg(long, env = "SEALSLOT_STORE_VIRTUAL_HOST", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", hide_short_help = true)]
    store_virtual_host: Option<bool>,

    /// Let requests to --store go over plain HTTP to other machines: whoever listens on the way sees what the engine sees
    #[arg(long, env = "SEALSLOT_STORE_ALLOW_HTTP", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", hide_short_help = true)]
    store_allow_http: Option<bool>,

    /// Bytes that are sent to --store at a time of a large file, 8MiB to 64MiB [default: 8MiB]
    #[arg(
        long,
        env = "SEALSLOT_STORE_PART_SIZE",
        value_name = "SIZE",
        hide_short_help = true
    )]
    store_part_size: Option<Size>,
}

impl BucketArgs {
    /// The bucket at `location`, reached so, with the credentials of the environment.
    pub fn to(&self, location: S3Url) -> Result<BucketSettings, ConfigError> {
        let options = S3Options {
            endpoint: self.store_endpoint.clone(),
            region: self.store_region.clone(),
            virtual_host: self.store_virtual_host.unwrap_or(false),
            cacert: self.store_cacert.clone(),
            allow_http: self.store_allow_http.unwrap_or(false),
        };
        let mut limits = S3Limits::default();
        if let Some(size) = self.store_part_size {
            limits.part_size = within("store-part-size", size, PART_SIZES)?;
        }
        Ok(BucketSettings {
            settings: S3Settings::new(location, options, &aws_environment())?,
            limits,
        })
    }

    /// The same, with what was not given filled in from the settings of a server.
    pub(super) fn or(self, of: &ServeArgs) -> Self {
        let of = of.bucket_args();
        Self {
            store_endpoint: self.store_endpoint.or(of.store_endpoint),
            store_region: self.store_region.or(of.store_region),
            store_cacert: self.store_cacert.or(of.store_cacert),
            store_virtual_host: self.store_virtual_host.or(of.store_virtual_host),
            store_allow_http: self.store_allow_http.or(of.store_allow_http),
            store_part_size: self.store_part_size.or(of.store_part_size),
        }
    }
}

/// Memory that uploads to a bucket may hold in parts that are being filled, unless more of them are asked for.
const PARTS_IN_MEMORY: u64 = 1 << 30;
const PART_SIZES: RangeInclusive<u64> = S3Limits::MIN_PART_SIZE..=S3Limits::MAX_PART_SIZE;
/// Of the largest one, sealed, an engine still makes a copy in one request: 5 GiB are the most for that.
const SEGMENT_SIZES: RangeInclusive<u64> = S3Limits::MIN_PART_SIZE..=(4 << 30);

impl ServeArgs {
    /// Where uploads are to be kept.
    pub(super) fn store_settings(&self) -> Result<StoreSettings, ConfigError> {
        let limits = self.store_limits()?;
        let Some(location) = self.store.clone() else {
            let needing = [
                ("store-endpoint", self.store_endpoint.is_some()),
                ("store-region", self.store_region.is_some()),
                ("store-cacert", self.store_cacert.is_some()),
                ("store-virtual-host", self.store_virtual_host == Some(true)),
                ("store-allow-http", self.store_allow_http == Some(true)),
                ("store-part-size", self.store_part_size.is_some()),
                ("store-segment-size", self.store_segment_size.is_some()),
                ("store-memory", self.store_memory.is_some()),
            ];
            alone(true, &needing, "store")?;
            return Ok(StoreSettings::Folder(limits));
        };
        if self.min_free.is_some() {
            return Err(ConfigError::Conflict {
                setting: "min-free",
                other: "store",
            });
        }
        let segment_size = self.store_segment_size;
        let segment_size =
            segment_size.map(|size| within("store-segment-size", size, SEGMENT_SIZES));
        let segment_size = segment_size.transpose()?;
        let mut bucket = self.bucket_args().to(location)?;
        bucket.limits.quota = limits.quota;
        if let Some(bytes) = segment_size {
            bucket.limits.segment_limit = bytes;
        }
        if let Some(Size(bytes)) = self.store_memory {
            bucket.limits.memory = bytes;
        }
        Ok(StoreSettings::Bucket(Box::new(bucket)))
    }

    fn bucket_args(&self) -> BucketArgs {
        BucketArgs {
            store_endpoint: self.store_endpoint.clone(),
            store_region: self.store_region.clone(),
            store_cacert: self.store_cacert.clone(),
            store_virtual_host: self.store_virtual_host,
            store_allow_http: self.store_allow_http,
            store_part_size: self.store_part_size,
        }
    }

    /// How many uploads are taken at the same time where nobody says: each to a bucket holds a part in memory.
    pub(super) fn usual_uploads(&self) -> usize {
        let usual = 1000;
        if self.store.is_none() {
            return usual;
        }
        let part = self
            .store_part_size
            .map_or(S3Limits::MIN_PART_SIZE, |Size(bytes)| bytes.max(1));
        usize::try_from(PARTS_IN_MEMORY / part).map_or(usual, |number| number.clamp(1, usual))
    }
}

fn within(
    setting: &'static str,
    Size(bytes): Size,
    sizes: RangeInclusive<u64>,
) -> Result<u64, ConfigError> {
    if sizes.contains(&bytes) {
        return Ok(bytes);
    }
    let mebibytes = |bytes: &u64| bytes >> 20;
    Err(ConfigError::NotWithin {
        setting,
        least: mebibytes(sizes.start()),
        most: mebibytes(sizes.end()),
    })
}

/// What the environment says of S3, under the names that every tool for it knows. What is empty is as if it were not there.
pub fn aws_environment() -> AwsEnvironment {
    let text = |name: &str| env::var(name).ok().filter(|text| !text.is_empty());
    let secret = |name: &str| text(name).map(Zeroizing::new);
    let path = |name: &str| env::var_os(name).filter(|path| !path.is_empty());
    let path = |name: &str| path(name).map(PathBuf::from);
    AwsEnvironment {
        access_key_id: text("AWS_ACCESS_KEY_ID"),
        secret_access_key: secret("AWS_SECRET_ACCESS_KEY"),
        session_token: secret("AWS_SESSION_TOKEN"),
        profile: text("AWS_PROFILE"),
        shared_credentials_file: path("AWS_SHARED_CREDENTIALS_FILE"),
        config_file: path("AWS_CONFIG_FILE"),
        web_identity_token_file: path("AWS_WEB_IDENTITY_TOKEN_FILE"),
        role_arn: text("AWS_ROLE_ARN"),
        role_session_name: text("AWS_ROLE_SESSION_NAME"),
        sts_endpoint: text("AWS_ENDPOINT_URL_STS"),
        container_credentials_relative_uri: text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        container_credentials_full_uri: text("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        container_authorization_token_file: path("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        region: text("AWS_REGION").or_else(|| text("AWS_DEFAULT_REGION")),
        endpoint: text("AWS_ENDPOINT_URL_S3").or_else(|| text("AWS_ENDPOINT_URL")),
        ca_bundle: path("AWS_CA_BUNDLE"),
        home: path("HOME"),
    }
}

/// Reads a value of the settings file that is written as it is on the command line.
pub(super) fn from_text<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(de::Error::custom)
}
