//! Who is told of what happens: the audit log and webhooks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::audit::{AuditError, AuditLog};
use crate::cli::exit::{Exit, Failure};
use crate::cli::token_file;
use crate::config::{Config, WebhookSettings};
use crate::http::App;
use crate::store::{NodeId, Store};
use crate::upload::Observer;
use crate::webhook::{SigningKeys, WebhookError, Webhooks};

/// How long deliveries under way are waited for at the end. What is cut then is told after the next start.
const LAST_DELIVERIES: Duration = Duration::from_secs(5);

/// What `--audit-log` names where the log is to be kept in the store that servers share.
const IN_STORE: &str = "store";

/// Those that are configured.
pub(super) struct Observers {
    audit: Option<Arc<AuditLog>>,
    webhooks: Option<Arc<Webhooks>>,
}

impl Observers {
    /// `node`: this server, where others share the store.
    pub(super) fn open(
        config: &Config,
        store: &Arc<dyn Store>,
        node: Option<NodeId>,
    ) -> Result<Self, Failure> {
        let audit = config.audit_log.as_deref().map(|path| match &node {
            Some(node) if path == Path::new(IN_STORE) => AuditLog::open_in(Arc::clone(store), node),
            _ => AuditLog::open(path),
        });
        let webhooks = config.webhooks.clone();
        let webhooks = webhooks.map(|settings| open_webhooks(settings, Arc::clone(store), node));
        Ok(Self {
            audit: audit.transpose()?.map(Arc::new),
            webhooks: webhooks.transpose()?.map(Arc::new),
        })
    }

    /// All of them as one: what is refused by the first, the second is not told of.
    pub(super) fn observer(&self) -> Arc<dyn Observer> {
        let audit = self.audit.clone().map(|audit| audit as Arc<dyn Observer>);
        let webhooks = self.webhooks.clone().map(|webhooks| webhooks as _);
        Arc::new(audit.into_iter().chain(webhooks).collect::<Vec<_>>())
    }

    pub(super) fn webhooks(&self) -> Option<Arc<Webhooks>> {
        self.webhooks.clone()
    }

    /// Lets requests be told of, too, and deliveries be counted.
    pub(super) fn attach(&self, app: &mut App) {
        app.audit.clone_from(&self.audit);
        app.webhooks = self.webhooks.as_ref().map(|webhooks| webhooks.counters());
    }

    /// Delivers for as long as the server runs.
    pub(super) async fn during<T>(&self, serving: impl Future<Output = T>) -> T {
        let stop = CancellationToken::new();
        let webhooks = self.webhooks.clone();
        let deliveries = webhooks.map(|webhooks| tokio::spawn(webhooks.run(stop.clone())));
        let served = serving.await;
        stop.cancel();
        if let Some(mut deliveries) = deliveries
            && timeout(LAST_DELIVERIES, &mut deliveries).await.is_err()
        {
            deliveries.abort();
        }
        served
    }

    /// Nothing more will happen.
    pub(super) fn close(&self) {
        if let Some(audit) = &self.audit {
            audit.close();
        }
    }
}

fn open_webhooks(
    settings: WebhookSettings,
    store: Arc<dyn Store>,
    node: Option<NodeId>,
) -> Result<Webhooks, Failure> {
    let path = &settings.secret_file;
    let secrets = token_file::read(path)?;
    let keys = SigningKeys::new(secrets.iter().map(|secret| secret.as_str()));
    let keys =
        keys.map_err(|error| Failure::from_error(Exit::Other, &error).about(path.display()))?;
    let cacert = settings.cacert.as_deref();
    let webhooks = Webhooks::open(store, node, settings.endpoints, keys, cacert);
    Ok(webhooks?)
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        Self::from_error(Exit::Other, &error)
    }
}

impl From<WebhookError> for Failure {
    fn from(error: WebhookError) -> Self {
        Self::from_error(Exit::Other, &error).about("webhook")
    }
}
