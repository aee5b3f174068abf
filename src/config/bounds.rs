//! How much of everything: what was given, or the default.

use std::time::Duration;

use super::{ConfigError, ServeArgs, Size, Span};
use crate::http::Limits;
use crate::http::keep::MAX_KEEP;
use crate::server::ConnectionLimits;
use crate::store::StoreLimits;
use crate::upload::SessionLimits;

impl ServeArgs {
    pub(super) fn limits(&self) -> Result<Limits, ConfigError> {
        let max_uploads = positive(
            "max-uploads",
            permits(self.max_uploads),
            self.usual_uploads(),
        )?;
        let half = max_uploads.div_ceil(2);
        Ok(Limits {
            max_size: positive("max-size", self.max_size.map(|size| size.0), 100 << 30)?,
            max_parts: positive("max-parts", self.max_parts, 1000)?,
            max_part_headers: positive(
                "max-part-headers",
                in_memory(self.max_part_headers),
                64 << 10,
            )?,
            max_name: positive("max-name", in_memory(self.max_name), 32 << 10)?,
            max_fields: positive("max-fields", in_memory(self.max_fields), 1 << 20)?,
            max_data: positive("max-data", in_memory(self.max_data), 1 << 20)?,
            max_uploads,
            max_uploads_per_address: positive(
                "max-uploads-per-address",
                self.max_uploads_per_address,
                half,
            )?,
            max_uploads_per_token: positive(
                "max-uploads-per-token",
                self.max_uploads_per_token,
                half,
            )?,
            address_rate: self.address_rate,
            token_rate: self.token_rate,
            keep: lifetime("keep", self.keep)?,
            withdraw_for: lifetime("withdraw-for", self.withdraw_for)?,
            body_timeout: span("body-timeout", self.body_timeout, 60)?,
            min_speed: self.min_speed.map_or(1 << 10, |size| size.0),
            request_timeout: span("request-timeout", self.request_timeout, 24 * 60 * 60)?,
            failure_delay: self
                .failure_delay
                .map_or(Duration::from_millis(50), |span| bounded(span.0)),
        })
    }

    pub(super) fn session_limits(&self) -> Result<SessionLimits, ConfigError> {
        let usual = SessionLimits::default();
        let lifetime = self.upload_lifetime.map(|span| bounded(span.0));
        let checkpoint = self.checkpoint.map(|size| size.0);
        Ok(SessionLimits {
            upload_lifetime: positive("upload-lifetime", lifetime, usual.upload_lifetime)?,
            checkpoint: positive("checkpoint", checkpoint, usual.checkpoint)?,
        })
    }

    pub(super) fn store_limits(&self) -> Result<StoreLimits, ConfigError> {
        let quota = self.quota.map(|size| positive("quota", Some(size.0), 0));
        Ok(StoreLimits {
            quota: quota.transpose()?,
            min_free: self.min_free.map_or(16 << 20, |size| size.0),
        })
    }

    pub(super) fn connection_limits(&self) -> Result<ConnectionLimits, ConfigError> {
        let max_connections = positive("max-connections", permits(self.max_connections), 4000)?;
        // Where there are few, handshakes are short beside all that they do.
        let quarter = (max_connections / 4).max(64);
        Ok(ConnectionLimits {
            max_connections,
            max_handshakes: positive("max-handshakes", self.max_handshakes, quarter)?,
            handshake_timeout: span("handshake-timeout", self.handshake_timeout, 10)?,
            header_timeout: span("header-timeout", self.header_timeout, 60)?,
            write_timeout: span("write-timeout", self.write_timeout, 60)?,
            grace: self
                .grace
                .map_or(Duration::from_secs(30), |span| bounded(span.0)),
        })
    }
}

fn positive<T: Default + PartialEq>(
    name: &'static str,
    given: Option<T>,
    default: T,
) -> Result<T, ConfigError> {
    match given {
        Some(value) if value == T::default() => Err(ConfigError::Zero(name)),
        value => Ok(value.unwrap_or(default)),
    }
}

fn span(name: &'static str, given: Option<Span>, default: u64) -> Result<Duration, ConfigError> {
    let given = given.map(|span| bounded(span.0));
    positive(name, given, Duration::from_secs(default))
}

fn lifetime(name: &'static str, given: Option<Span>) -> Result<Option<Duration>, ConfigError> {
    let given = given.map(|span| bounded(span.0));
    given
        .map(|time| positive(name, Some(time), time))
        .transpose()
}

/// Ten years are as good as for ever, and can be added to any time.
fn bounded(time: Duration) -> Duration {
    time.min(Duration::from_secs(MAX_KEEP))
}

fn in_memory(size: Option<Size>) -> Option<usize> {
    // What is held in memory is not counted in more than 1 GiB.
    size.map(|size| usize::try_from(size.0.min(1 << 30)).unwrap_or(1 << 30))
}

fn permits(number: Option<usize>) -> Option<usize> {
    number.map(|number| number.min(tokio::sync::Semaphore::MAX_PERMITS))
}
