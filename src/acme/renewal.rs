//! When to renew, and when to try again. Pure arithmetic: clocks and dice are given.

use std::time::{Duration, SystemTime};

/// How soon the authority may be asked again for when to renew, and how late (RFC 9773, section 4.3.2).
const ARI_BOUNDS: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(24));
/// The first wait after the authority was not reached, which costs it nothing, and after it refused, which counts against its limits.
const FIRST_UNREACHED: Duration = Duration::from_secs(5);
const FIRST_REFUSED: Duration = Duration::from_mins(1);
/// No wait is longer by itself: four attempts are left of the last day.
const LONGEST: Duration = Duration::from_hours(4);
/// The longest wait that an authority may ask for: it is told in days only where something is wrong.
pub(super) const LONGEST_ASKED: Duration = Duration::from_hours(24);

/// From when until when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Validity {
    fn lifetime(&self) -> Duration {
        let lifetime = self.not_after.duration_since(self.not_before);
        lifetime.unwrap_or(Duration::ZERO)
    }

    /// When this share of its life is over.
    fn at(&self, share: f64) -> SystemTime {
        self.not_before + self.lifetime().mul_f64(share)
    }

    /// When it is renewed where the authority does not say: when 60 to 67 hundredths of its life are over, so that servers which were
    /// set up together do not come back together. That leaves a month of 90 days and two days of six.
    pub(super) fn renewal(&self, dice: f64) -> SystemTime {
        self.at(0.60 + 0.07 * dice.clamp(0.0, 1.0))
    }
}

/// When the authority would have a certificate renewed (RFC 9773, section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
}

impl Window {
    /// A moment within it, each as likely as the others, that leaves a last tenth of the certificate's life for failures. `None`: it makes
    /// no sense.
    pub(super) fn renewal(&self, validity: &Validity, dice: f64) -> Option<SystemTime> {
        let length = self.end.duration_since(self.start).ok()?;
        let moment = self
            .start
            .checked_add(length.mul_f64(dice.clamp(0.0, 1.0)))?;
        Some(moment.min(validity.at(0.9)))
    }
}

/// How long to wait before asking for the window again.
pub(super) fn ari_wait(asked: Duration) -> Duration {
    asked.clamp(ARI_BOUNDS.0, ARI_BOUNDS.1)
}

/// Whether an attempt cost the authority something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// It was not reached.
    Unreached,
    /// It refused.
    Refused,
}

/// How long to wait after so many failures in a row, the last of this cost: three times as long each time, and up to half as long
/// again, so that many servers do not come back at once. Where the authority asked for more, so long.
pub(super) fn backoff(failures: u32, cost: Cost, dice: f64, asked: Option<Duration>) -> Duration {
    let first = match cost {
        Cost::Unreached => FIRST_UNREACHED,
        Cost::Refused => FIRST_REFUSED,
    };
    let wait = first.saturating_mul(3_u32.saturating_pow(failures.saturating_sub(1)));
    let wait = wait.min(LONGEST).mul_f64(1.0 + 0.5 * dice.clamp(0.0, 1.0));
    wait.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

/// Whether what was planned for `planned` is due. A plan farther away than it can have been made for is due too: the clock was set
/// back since.
pub(super) fn is_due(planned: SystemTime, now: SystemTime, farthest: Duration) -> bool {
    match planned.duration_since(now) {
        Ok(left) => left.is_zero() || left > farthest,
        Err(_) => true,
    }
}

/// The farthest that an attempt is put off.
pub(super) const FARTHEST_ATTEMPT: Duration = LONGEST_ASKED;
/// The farthest that a look at the window is put off.
pub(super) const FARTHEST_LOOK: Duration = ARI_BOUNDS.1;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn at(days: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY.mul_f64(20_000.0 + days)
    }

    fn valid(days: f64) -> Validity {
        Validity {
            not_before: at(0.0),
            not_after: at(days),
        }
    }

    #[test]
    fn renewal_is_at_about_two_thirds_whatever_the_lifetime() {
        for days in [90.0, 47.0, 6.0, 0.001] {
            let validity = valid(days);
            for dice in [0.0, 0.3, 1.0, 7.0, -1.0] {
                let renewal = validity.renewal(dice);
                assert!(renewal >= at(days * 0.599), "{days} {dice}");
                assert!(renewal <= at(days * 0.671), "{days} {dice}");
            }
        }
        assert_ne!(valid(90.0).renewal(0.1), valid(90.0).renewal(0.2));
        let upside_down = Validity {
            not_before: at(1.0),
            not_after: at(0.0),
        };
        assert_eq!(upside_down.renewal(0.5), at(1.0));
    }

    #[test]
    fn the_authoritys_window_counts_but_never_the_end_of_the_certificate() {
        let window = |start, end| Window {
            start: at(start),
            end: at(end),
        };
        let validity = valid(90.0);
        assert_eq!(window(50.0, 52.0).renewal(&validity, 0.0), Some(at(50.0)));
        assert_eq!(window(50.0, 52.0).renewal(&validity, 0.5), Some(at(51.0)));
        assert_eq!(window(50.0, 52.0).renewal(&validity, 1.0), Some(at(52.0)));
        // The authority wants it gone.
        assert_eq!(window(-2.0, -1.0).renewal(&validity, 1.0), Some(at(-1.0)));
        assert_eq!(window(89.0, 120.0).renewal(&validity, 1.0), Some(at(81.0)));
        assert_eq!(window(52.0, 50.0).renewal(&validity, 0.5), None);
    }

    #[test]
    fn how_often_the_window_is_asked_for_is_bounded() {
        assert_eq!(ari_wait(Duration::ZERO), Duration::from_mins(1));
        assert_eq!(ari_wait(Duration::from_hours(6)), Duration::from_hours(6));
        assert_eq!(ari_wait(Duration::MAX), DAY);
    }

    #[test]
    fn failures_are_followed_by_growing_waits_within_bounds() {
        let waits = |cost| (1..12).map(move |n| backoff(n, cost, 0.0, None).as_secs());
        let unreached: Vec<_> = waits(Cost::Unreached).collect();
        assert_eq!(unreached[..4], [5, 15, 45, 135]);
        assert_eq!(unreached[10], 4 * 3600);
        let refused: Vec<_> = waits(Cost::Refused).collect();
        // Let's Encrypt takes five failed validations of a name in an hour.
        assert!(refused[..5].iter().sum::<u64>() > 3600);
        assert_eq!(refused[10], 4 * 3600);
        assert!(backoff(u32::MAX, Cost::Refused, 1.0, None) <= Duration::from_hours(6));
    }

    #[test]
    fn what_the_authority_asks_for_is_kept_within_a_day() {
        let asked = |wait| backoff(1, Cost::Refused, 0.0, Some(wait));
        assert_eq!(asked(Duration::from_hours(2)), Duration::from_hours(2));
        assert_eq!(asked(Duration::from_secs(1)), Duration::from_mins(1));
        assert_eq!(asked(Duration::MAX), DAY);
    }

    #[test]
    fn a_clock_that_was_set_makes_nothing_wait_for_ever() {
        assert!(!is_due(at(1.0), at(0.5), DAY));
        assert!(is_due(at(1.0), at(1.0), DAY));
        // The machine slept, or the clock was set on.
        assert!(is_due(at(1.0), at(400.0), DAY));
        // It was set back.
        assert!(is_due(at(1.0), at(-400.0), DAY));
    }
}
