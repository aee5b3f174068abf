//! Which uploads a command is about: by the link that they came through, and by when they arrived.

use std::str::FromStr;
use std::time::SystemTime;

use clap::Args;

use super::Failure;
use super::client::ServerArgs;
use super::client::listing::Listed;
use super::identity::OptionalIdentityArgs;
use crate::config::Span;
use crate::grant::GrantId;

/// Which uploads on which server a command is about, by name too where a key is given.
#[derive(Args, Debug)]
pub(super) struct ChoiceArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,

    #[command(flatten)]
    pub(super) identity: OptionalIdentityArgs,

    #[command(flatten)]
    pub(super) filters: FilterArgs,

    /// Only what has TEXT in its name, in any case of letters. Takes a key
    #[arg(long, value_name = "TEXT")]
    pub(super) text: Option<String>,
}

impl ChoiceArgs {
    /// Refuses to look for names without a key.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.text.is_some() && !self.identity.any() {
            return Err(Failure::usage(
                "names are sealed: --text takes a private key, with -i FILE",
            ));
        }
        Ok(())
    }
}

/// Uploads that arrived in some time, or through some link.
#[derive(Args, Debug, Clone)]
pub(super) struct FilterArgs {
    /// Only what came through the link with this id
    #[arg(long, value_name = "ID")]
    link: Option<GrantId>,

    /// Only what arrived at TIME or later: a date or time like 2026-11-23 or 2026-11-23T14:00:00Z, or a time ago like 7d
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,

    /// Only what arrived before TIME
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
}

impl FilterArgs {
    /// Whether there is any.
    pub(super) fn any(&self) -> bool {
        self.link.is_some() || self.since.is_some() || self.until.is_some()
    }

    /// Whether the command is about this one.
    pub(super) fn takes(&self, upload: &Listed) -> bool {
        let received = upload.received();
        let comes = |bound: Option<Moment>, fits: fn(SystemTime, SystemTime) -> bool| {
            bound.is_none_or(|bound| received.is_some_and(|received| fits(received, bound.0)))
        };
        let through = self.link.as_ref().map(ToString::to_string);
        (through.is_none() || through == upload.link)
            && comes(self.since, |received, since| received >= since)
            && comes(self.until, |received, until| received < until)
    }

    /// Whether it is about none of those that begin later: what has not begun has not arrived.
    pub(super) fn ends_before(&self, begun: SystemTime) -> bool {
        self.until.is_some_and(|until| begun >= until.0)
    }
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment(SystemTime);

#[derive(Debug, thiserror::Error)]
#[error(
    "give a date like 2026-11-23, a time in UTC like 2026-11-23T14:00:00Z, or a time ago like 12h or 7d"
)]
struct MomentError;

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        if let Ok(ago) = text.parse::<Span>() {
            let then = SystemTime::now().checked_sub(ago.0);
            return Ok(Self(then.unwrap_or(SystemTime::UNIX_EPOCH)));
        }
        let midnight = format!("{text}T00:00:00Z");
        let time = humantime::parse_rfc3339(text).or_else(|_| humantime::parse_rfc3339(&midnight));
        time.map(Self).map_err(|_| MomentError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listed(time: &str, link: Option<&str>) -> Listed {
        let document = json!({
            "id": "0".repeat(32), "time": time, "sealed_size": 1, "files": [], "link": link, "expires": null,
        });
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn a_moment_is_a_date_a_time_or_a_time_ago() {
        let date: Moment = "2026-11-23".parse().unwrap();
        assert_eq!(date, "2026-11-23T00:00:00Z".parse().unwrap());
        assert_eq!(date, "2026-11-23T00:00:00.000Z".parse().unwrap());
        let ago: Moment = "1h".parse().unwrap();
        let hour = SystemTime::now().duration_since(ago.0).unwrap();
        assert!((3600..3700).contains(&hour.as_secs()));
        for text in [
            "",
            "yesterday",
            "2026-13-01",
            "-1h",
            "2026-11-23T14:00:00+01:00",
        ] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_filter_takes_what_fits_all_of_it() {
        let filter = |link: Option<&str>, since: Option<&str>, until: Option<&str>| FilterArgs {
            link: link.map(|id| id.parse().unwrap()),
            since: since.map(|time| time.parse().unwrap()),
            until: until.map(|time| time.parse().unwrap()),
        };
        let id = "0123456789abcdefghijklmnopqrstuv";
        let noon = listed("2026-11-23T12:00:00Z", Some(id));
        let time = Some("2026-11-23T12:00:00Z");
        assert!(filter(None, None, None).takes(&noon) && !filter(None, None, None).any());
        assert!(filter(Some(id), time, Some("2026-11-24")).takes(&noon));
        // The beginning counts, the end does not.
        assert!(!filter(None, None, time).takes(&noon));
        assert!(!filter(None, Some("2026-11-23T12:00:01Z"), None).takes(&noon));
        assert!(!filter(Some("00000000000000000000000000000001"), None, None).takes(&noon));
        assert!(!filter(Some(id), None, None).takes(&listed("2026-11-23T12:00:00Z", None)));
        assert!(filter(None, None, time).ends_before(noon.received().unwrap()));
    }
}
