//! The development certificate, renewed while the server runs. [`ServerTls`](crate::tls::ServerTls) takes the new one from the disk.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::tls::dev::{self, Standing};

/// How often it is looked at whether it is due.
const CHECK: Duration = Duration::from_hours(1);
/// How often the clock is looked at: a laptop that slept for days is to notice soon after it wakes, and timers stand still meanwhile.
const CLOCK: Duration = Duration::from_mins(1);
/// How often the same warning is repeated.
const REPEAT: Duration = Duration::from_hours(24);

/// What keeps the certificate in a folder valid.
pub(super) struct Renewal {
    /// None where certificates come from elsewhere.
    dir: Option<PathBuf>,
    looked: Option<SystemTime>,
    warned: Option<SystemTime>,
}

impl Renewal {
    pub(super) fn of(dir: Option<&Path>) -> Self {
        Self {
            dir: dir.map(Path::to_owned),
            looked: None,
            warned: None,
        }
    }

    /// Renews where it is due, and says what is wrong. Blocks on files.
    pub(super) fn look(&mut self, now: SystemTime) {
        let Some(dir) = &self.dir else {
            return;
        };
        if !has_passed(self.looked, CHECK, now) {
            return;
        }
        self.looked = Some(now);
        match dev::renew_where_due(dir, now) {
            Ok(Standing::Foreign | Standing::Good) => self.warned = None,
            Ok(Standing::Renewed(renewed)) => {
                self.warned = None;
                let until = humantime::format_rfc3339_seconds(renewed.certificate.not_after);
                tracing::info!(%until, "renewed the server's certificate");
            }
            Ok(Standing::NoKey { certificate }) => {
                let until = humantime::format_rfc3339_seconds(certificate.not_after);
                self.warn(now, || {
                    tracing::warn!(
                        %until,
                        "the server's certificate ends soon, and ca.key is not beside it: run `sealslot certs renew` where it is"
                    );
                });
            }
            Ok(Standing::AuthorityEnds { authority }) => {
                let until = humantime::format_rfc3339_seconds(authority.not_after);
                self.warn(now, || {
                    tracing::warn!(
                        %until,
                        "the development authority ends, and the server's certificate with it: run `sealslot certs --force`, then \
                         `sealslot certs trust`"
                    );
                });
            }
            Err(error) => self.warn(now, || {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the server's certificate could not be renewed");
            }),
        }
    }

    fn warn(&mut self, now: SystemTime, say: impl FnOnce()) {
        if has_passed(self.warned, REPEAT, now) {
            self.warned = Some(now);
            say();
        }
    }

    /// Goes on looking until it is dropped.
    pub(super) async fn keep(self) {
        super::poll::poll(self, CLOCK, "certificates to renew", |renewal| {
            renewal.look(SystemTime::now());
        })
        .await;
    }
}

/// Whether so much time is over since then; also where the clock was set back.
fn has_passed(since: Option<SystemTime>, time: Duration, now: SystemTime) -> bool {
    since.is_none_or(|since| {
        now.duration_since(since)
            .map_or(true, |passed| passed >= time)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_each_hour_and_warns_once_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let files = dev::make(dir.path(), &["localhost".parse().unwrap()], 3, false).unwrap();
        std::fs::remove_file(files.ca_key).unwrap();
        let mut renewal = Renewal::of(Some(dir.path()));
        let end = dev::read_facts(&files.server_pem).unwrap().not_after;
        renewal.look(end - 2 * REPEAT);
        assert_eq!(renewal.warned, None);
        let due = end - REPEAT;
        renewal.look(due);
        assert_eq!(renewal.warned, Some(due));
        renewal.look(due + CHECK / 2);
        assert_eq!(renewal.looked, Some(due));
        renewal.look(due + CHECK);
        assert_eq!(
            (renewal.looked, renewal.warned),
            (Some(due + CHECK), Some(due))
        );
        renewal.look(due + REPEAT);
        assert_eq!(renewal.warned, Some(due + REPEAT));
        renewal.look(due);
        assert_eq!(renewal.looked, Some(due), "the clock was set back");
    }
}
