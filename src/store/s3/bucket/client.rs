//! What signs requests and reads answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider, Checksum,
    S3ConditionalPut,
};
use object_store::{BackoffConfig, CredentialProvider, RetryConfig};
use zeroize::Zeroize;

use super::connector::{Connector, Deadlines};
use super::error::BucketError;
use crate::store::s3::settings::{Credentials, S3Settings};

const RETRIES: usize = 8;

/// How requests are made.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct Manner {
    /// Whether a CRC-64/NVME of the body is announced.
    pub(super) announced: bool,
    /// Whether the body's SHA-256 is signed with the rest.
    pub(super) signed: bool,
    /// Whether a request that failed is sent again.
    pub(super) again: bool,
    /// Whether deletions are put together in one request.
    pub(super) bulk: bool,
}

/// A client of the bucket. `credentials` of another client, so that temporary ones are fetched once.
pub(super) fn client(
    settings: &S3Settings,
    connector: &Connector,
    deadlines: Deadlines,
    manner: Manner,
    credentials: Option<AwsCredentialProvider>,
) -> Result<AmazonS3, BucketError> {
    let bucket = settings.location().bucket();
    let url = match &settings.endpoint {
        Some(endpoint) => endpoint.bucket_url(bucket, settings.virtual_host),
        None if settings.virtual_host => {
            format!("https://{bucket}.s3.{}.amazonaws.com", settings.region)
        }
        None => format!("https://s3.{}.amazonaws.com/{bucket}", settings.region),
    };
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(3),
            base: 2.0,
        },
        max_retries: if manner.again { RETRIES } else { 0 },
        retry_timeout: deadlines.retry,
    };
    let mut builder = AmazonS3Builder::new()
        .with_http_connector(connector.clone())
        .with_bucket_name(bucket)
        .with_region(&settings.region)
        // The address has the bucket in it already.
        .with_endpoint(url)
        .with_virtual_hosted_style_request(true)
        .with_allow_http(true)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_disable_tagging(true)
        .with_disable_bulk_delete(!manner.bulk)
        .with_retry(retry);
    if manner.announced {
        builder = builder.with_checksum_algorithm(Checksum::CRC64NVME);
    }
    if !manner.signed {
        builder = builder.with_unsigned_payload(true);
    }
    builder = match credentials {
        Some(credentials) => builder.with_credentials(credentials),
        None => with_credentials(builder, &settings.credentials),
    };
    builder
        .build()
        .map_err(|error| BucketError::Setup(error.into()))
}

fn with_credentials(builder: AmazonS3Builder, credentials: &Credentials) -> AmazonS3Builder {
    match credentials {
        Credentials::Key { id, secret, token } => {
            builder.with_credentials(Arc::new(Key(Arc::new(AwsCredential {
                key_id: id.clone(),
                secret_key: secret.as_str().to_owned(),
                token: token.as_ref().map(|token| token.as_str().to_owned()),
            }))))
        }
        Credentials::WebIdentity {
            token_file,
            role_arn,
            session_name,
            sts_endpoint,
        } => {
            let mut builder = builder
                .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token_file)
                .with_config(AmazonS3ConfigKey::RoleArn, role_arn);
            if let Some(name) = session_name {
                builder = builder.with_config(AmazonS3ConfigKey::RoleSessionName, name);
            }
            match sts_endpoint {
                Some(endpoint) => {
                    builder.with_config(AmazonS3ConfigKey::StsEndpoint, endpoint.to_string())
                }
                None => builder,
            }
        }
        Credentials::ContainerPath(path) => {
            builder.with_config(AmazonS3ConfigKey::ContainerCredentialsRelativeUri, path)
        }
        Credentials::ContainerService { url, token_file } => builder
            .with_config(AmazonS3ConfigKey::ContainerCredentialsFullUri, url)
            .with_config(
                AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
                token_file,
            ),
    }
}

/// A key that does not change. Overwritten when the last client is gone.
struct Key(Arc<AwsCredential>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for Key {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        Ok(Arc::clone(&self.0))
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // A request that is still under way has it, too, and only that.
        if let Some(key) = Arc::get_mut(&mut self.0) {
            key.secret_key.zeroize();
            key.token.zeroize();
        }
    }
}
