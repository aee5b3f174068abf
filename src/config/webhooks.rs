//! Who is told of finished uploads.

use std::path::PathBuf;

use super::together::alone;
use super::{ConfigError, ServeArgs};
use crate::webhook::Endpoint;

/// URLs that are told of finished uploads.
pub(super) const MAX_WEBHOOKS: usize = 16;

/// Who is told of finished uploads, and how.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// Where to. At least one.
    pub endpoints: Vec<Endpoint>,
    /// The file of the secret that messages are signed with.
    pub secret_file: PathBuf,
    /// The file of the certificate authorities that are trusted; `None`: those of the system.
    pub cacert: Option<PathBuf>,
}

impl ServeArgs {
    pub(super) fn webhooks(&self) -> Result<Option<WebhookSettings>, ConfigError> {
        let none = self.webhook.is_empty();
        let needs_webhook = [
            ("webhook-secret-file", self.webhook_secret_file.is_some()),
            ("webhook-cacert", self.webhook_cacert.is_some()),
        ];
        alone(none, &needs_webhook, "webhook")?;
        let secret_file = self.webhook_secret_file.clone();
        alone(
            secret_file.is_none(),
            &[("webhook", !none)],
            "webhook-secret-file",
        )?;
        let Some(secret_file) = secret_file else {
            return Ok(None);
        };
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for url in &self.webhook {
            let endpoint = url.as_str().parse()?;
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        if endpoints.len() > MAX_WEBHOOKS {
            return Err(ConfigError::TooManyWebhooks);
        }
        Ok(Some(WebhookSettings {
            endpoints,
            secret_file,
            cacert: self.webhook_cacert.clone(),
        }))
    }
}
