//! Orders a certificate where there is none, renews it in time, and tries again when that fails.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use instant_acme::{Account, CertificateIdentifier, Error};
use tokio::time::{sleep, timeout};

use super::challenges::Proofs;
use super::client::RetryAfter;
use super::renewal::{Cost, FARTHEST_ATTEMPT, FARTHEST_LOOK, Window, ari_wait, backoff, is_due};
use super::status::{AcmeFailure, AcmeStatus};
use super::stored::{self, Stored};
use super::{Acme, AcmeError, account, files, is_problem, order};
use crate::tls::AlpnChallenges;

/// How often the clock is looked at, at the least. It is the wall clock that counts: it may be set, and goes on while the machine sleeps.
const TICK: Duration = Duration::from_secs(10);
/// Not oftener than this, whatever is due.
const MIN_TICK: Duration = Duration::from_millis(250);
/// For one order, from the account to the file.
const WHOLE_ORDER: Duration = Duration::from_mins(15);
/// How long a certificate is kept at the least before the next one is ordered: so many hundredths of its life, within these bounds. With a
/// clock that is wrong, or an authority that wants every certificate renewed, each would be due as soon as it has come.
const MIN_REST: Duration = Duration::from_secs(5);
const MAX_REST: Duration = Duration::from_hours(12);

/// Why an order is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    None,
    First,
    OtherSettings,
    Renewal,
}

pub(super) struct Renewer {
    acme: Arc<Acme>,
    alpn: AlpnChallenges,
    retry_after: RetryAfter,
    path: PathBuf,
    stored: Option<Held>,
    /// No attempt before this.
    rest_until: Option<SystemTime>,
    /// Failed attempts in a row.
    failures: u32,
}

/// The certificate that there is, and what is planned for it.
struct Held {
    stored: Stored,
    renew_at: SystemTime,
    /// The authority's window, from the last look. It is kept to the moment that was drawn from it.
    window: Option<Window>,
    look_at: SystemTime,
    failed_looks: u32,
}

impl Held {
    fn new(stored: Stored, now: SystemTime) -> Self {
        let renew_at = stored.validity.renewal(dice());
        Self {
            stored,
            renew_at,
            window: None,
            look_at: now,
            failed_looks: 0,
        }
    }

    /// Plans by what the authority answered, or by the certificate's lifetime.
    fn plan(&mut self, looked: Result<(Window, Duration), Error>, now: SystemTime) {
        match looked {
            Ok((window, wait)) => {
                self.failed_looks = 0;
                self.look_at = now + ari_wait(wait);
                if self.window != Some(window) {
                    self.window = Some(window);
                    let moment = window.renewal(&self.stored.validity, dice());
                    self.renew_at = moment.unwrap_or_else(|| self.stored.validity.renewal(dice()));
                }
            }
            // It has none: perhaps one day.
            Err(Error::Unsupported(_)) => self.look_at = now + FARTHEST_LOOK,
            // What was planned stays.
            Err(error) => {
                self.failed_looks += 1;
                let wait = backoff(self.failed_looks, Cost::Refused, dice(), None);
                self.look_at = now + wait;
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the authority does not say when to renew; by the certificate's lifetime, then"
                );
            }
        }
    }
}

impl Renewer {
    pub(super) fn new(acme: Arc<Acme>, alpn: AlpnChallenges) -> Self {
        Self {
            path: stored::path(&acme.folder),
            acme,
            alpn,
            retry_after: RetryAfter::default(),
            stored: None,
            rest_until: None,
            failures: 0,
        }
    }

    pub(super) async fn run(mut self) {
        match Stored::read(&self.path) {
            Ok(stored) => self.stored = stored.map(|stored| Held::new(stored, SystemTime::now())),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the certificate that is there cannot be used; ordering a new one"
            ),
        }
        loop {
            self.look().await;
            let need = self.need(SystemTime::now());
            if need != Need::None {
                self.attempt(need).await;
            }
            let next = self.next_attempt();
            self.tell(|status| status.next_attempt = next);
            sleep(self.pause(SystemTime::now())).await;
        }
    }

    /// What is to be done now.
    fn need(&self, now: SystemTime) -> Need {
        if self
            .rest_until
            .is_some_and(|rest| !is_due(rest, now, FARTHEST_ATTEMPT))
        {
            return Need::None;
        }
        match &self.stored {
            None => Need::First,
            Some(held) if !held.stored.is_what_is_wanted(&self.acme.settings) => {
                Need::OtherSettings
            }
            Some(held) if held.renew_at <= now => Need::Renewal,
            Some(_) => Need::None,
        }
    }

    fn next_attempt(&self) -> Option<SystemTime> {
        let wanted = |held: &&Held| held.stored.is_what_is_wanted(&self.acme.settings);
        let held = self.stored.as_ref().filter(wanted);
        let renewal = held.map(|held| held.renew_at);
        self.rest_until.into_iter().chain(renewal).max()
    }

    /// How long nothing is to be done, as far as can be said.
    fn pause(&self, now: SystemTime) -> Duration {
        let look = self.stored.as_ref().map(|held| held.look_at);
        let next = self.next_attempt().into_iter().chain(look).min();
        let left = next.map_or(TICK, |next| next.duration_since(now).unwrap_or_default());
        left.clamp(MIN_TICK, TICK)
    }

    /// Asks the authority when to renew, where it is time to ask.
    async fn look(&mut self) {
        let now = SystemTime::now();
        let Some(held) = &self.stored else { return };
        if !is_due(held.look_at, now, FARTHEST_LOOK) {
            return;
        }
        let looked = match held.stored.identifier(&self.acme.settings) {
            Some(identifier) => {
                let looked = timeout(WHOLE_ORDER, self.ask_window(&identifier)).await;
                looked.unwrap_or(Err(Error::Timeout(None)))
            }
            None => Err(Error::Unsupported("a certificate of another authority")),
        };
        if let Some(held) = &mut self.stored {
            held.plan(looked, now);
        }
    }

    async fn ask_window(
        &self,
        identifier: &CertificateIdentifier<'_>,
    ) -> Result<(Window, Duration), Error> {
        let account = self.account().await.map_err(|error| match error {
            AcmeError::Protocol(error) => error,
            error => Error::Other(error.into()),
        })?;
        let (info, wait) = account.renewal_info(identifier).await?;
        let window = Window {
            start: info.suggested_window.start.into(),
            end: info.suggested_window.end.into(),
        };
        Ok((window, wait))
    }

    async fn account(&self) -> Result<Account, AcmeError> {
        let Acme {
            folder,
            settings,
            tls,
            ..
        } = &*self.acme;
        account::account(folder, settings, tls, &self.retry_after).await
    }

    async fn attempt(&mut self, need: Need) {
        let _ = self.retry_after.take();
        let obtained = timeout(WHOLE_ORDER, self.obtain()).await;
        let now = SystemTime::now();
        match obtained.unwrap_or(Err(AcmeError::TimedOut)) {
            Ok(stored) => self.succeeded(stored, now),
            Err(error) => self.failed(&error, need, now),
        }
    }

    fn succeeded(&mut self, stored: Stored, now: SystemTime) {
        let validity = stored.validity;
        let lifetime = validity.not_after.duration_since(validity.not_before);
        let rest = lifetime.unwrap_or_default() / 100;
        self.rest_until = Some(now + rest.clamp(MIN_REST, MAX_REST));
        self.failures = 0;
        self.stored = Some(Held::new(stored, now));
        self.tell(|status| {
            status.issued += 1;
            status.last_failure = None;
            status.failing_since = None;
        });
        let names: Vec<_> = self
            .acme
            .settings
            .names
            .iter()
            .map(ToString::to_string)
            .collect();
        tracing::info!(
            names = names.join(" "),
            until = %humantime::format_rfc3339_seconds(validity.not_after),
            "the authority issued a certificate"
        );
    }

    fn failed(&mut self, error: &AcmeError, need: Need, now: SystemTime) {
        self.failures = self.failures.saturating_add(1);
        let kind = error.kind();
        let cost = match kind {
            AcmeFailure::Unreachable => Cost::Unreached,
            _ => Cost::Refused,
        };
        let asked = self.retry_after.take();
        let asked = asked.and_then(|asked| asked.duration_since(now).ok());
        let wait = backoff(self.failures, cost, dice(), asked);
        self.rest_until = Some(now + wait);
        self.tell(|status| {
            status.failed += 1;
            status.last_failure = Some(kind);
            status.failing_since.get_or_insert(now);
        });
        let goes_on = match need {
            Need::First => "no certificate yet; connections fail until there is one",
            _ => "no new certificate; going on with the one before",
        };
        tracing::warn!(
            error = error as &dyn std::error::Error,
            kind = kind.as_str(),
            again_in = %humantime::format_duration(Duration::from_secs(wait.as_secs())),
            "{goes_on}"
        );
    }

    fn tell(&self, change: impl FnOnce(&mut AcmeStatus)) {
        change(
            &mut self
                .acme
                .status
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// An order, with what it takes: an account, and proofs.
    async fn obtain(&self) -> Result<Stored, AcmeError> {
        match self.order().await {
            // The authority has forgotten it, or somebody has closed it.
            Err(AcmeError::Protocol(error)) if is_problem(&error, "accountDoesNotExist") => {
                tracing::warn!(
                    "the authority does not know this account any more; making a new one"
                );
                files::remove(&account::path(
                    &self.acme.folder,
                    &self.acme.settings.directory,
                ))?;
                self.order().await
            }
            other => other,
        }
    }

    async fn order(&self) -> Result<Stored, AcmeError> {
        let settings = &self.acme.settings;
        let account = self.account().await?;
        let held = self.stored.as_ref();
        // Only an authority that gave a window knows what it means that a certificate replaces another (RFC 9773, section 5).
        let held = held.filter(|held| held.window.is_some());
        let replaces = held.and_then(|held| held.stored.identifier(settings));
        let mut proofs = Proofs::new(self.alpn.clone(), self.acme.http.clone());
        let named = replaces.is_some();
        let issued = match order::order(&account, settings, replaces, &mut proofs).await {
            // Another order has replaced it already. That is no reason to have none.
            Err(AcmeError::Protocol(error)) if named && is_problem(&error, "alreadyReplaced") => {
                order::order(&account, settings, None, &mut proofs).await?
            }
            other => other?,
        };
        let (path, settings) = (self.path.clone(), settings.clone());
        let store = move || issued.store(&path, &settings, SystemTime::now());
        let stored = tokio::task::spawn_blocking(store).await;
        // The runtime is shutting down.
        stored.unwrap_or(Err(AcmeError::TimedOut))
    }
}

/// A number from 0 to 1. Without randomness the middle is as good as any.
fn dice() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}
