//! When uploads in a bucket are to be looked at because their time is over.
//!
//! ```text
//! expiry/{day}/{seconds:012}-{id}   empty; in the order of their times
//! ```
//!
//! Only where to look: what the upload's own record says decides.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::bucket::{Bucket, Notes};
use super::walk::Walk;
use crate::store::{Day, Expiring, StoreError, UploadId};

const FOLDER: &str = "expiry/";
/// Keys asked for at a time, as many as engines give.
const PAGE: usize = 1000;
/// The last second of the year 9999, which days end with.
const LAST: u64 = 253_402_300_799;

/// When uploads in a bucket are to be looked at because their time is over.
#[derive(Clone)]
pub(super) struct Expiries {
    bucket: Bucket,
}

impl Expiries {
    pub(super) fn new(bucket: Bucket) -> Self {
        Self { bucket }
    }

    /// Notes an upload that is about to be published. Doing it again is fine.
    pub(super) fn put(&self, expiring: &Expiring) -> Result<(), StoreError> {
        self.bucket
            .put(&key(expiring), Bytes::new(), &Notes::default())
    }

    /// What is to be looked at by `until`, the first ones first, at most `limit`. Times are whole seconds, none too early.
    pub(super) fn expiring(
        &self,
        until: SystemTime,
        limit: usize,
    ) -> Result<Vec<Expiring>, StoreError> {
        let mut found = Vec::new();
        let mut walk = Walk::through(FOLDER, usize::MAX);
        let mut after: Option<String> = None;
        while found.len() < limit {
            let most = (limit - found.len()).min(PAGE);
            let page = self.bucket.list(FOLDER, after.as_deref(), most)?;
            for object in &page.objects {
                // Whatever else lies there is none of ours.
                match parse(&object.key) {
                    Some(expiring) if expiring.time > until => return Ok(found),
                    Some(expiring) => {
                        walk.ours()?;
                        found.push(expiring);
                    }
                    None => walk.stranger()?,
                }
            }
            match page.objects.last() {
                Some(last) if page.more => after = Some(last.key.clone()),
                _ => break,
            }
        }
        Ok(found)
    }

    /// Takes off what was looked at.
    pub(super) fn remove(&self, expiring: &[Expiring]) -> Result<(), StoreError> {
        let keys: Vec<_> = expiring.iter().map(key).collect();
        self.bucket.delete_all(&keys)
    }
}

fn key(expiring: &Expiring) -> String {
    let since = expiring.time.duration_since(UNIX_EPOCH);
    let since = since.unwrap_or(Duration::ZERO);
    // The next whole second: whoever looks then finds the time over.
    let seconds = since.as_secs() + u64::from(since.subsec_nanos() > 0);
    let seconds = seconds.min(LAST);
    let day = Day::of(UNIX_EPOCH + Duration::from_secs(seconds));
    format!("{FOLDER}{day}/{seconds:012}-{}", expiring.id)
}

fn parse(key: &str) -> Option<Expiring> {
    let (_, name) = key.strip_prefix(FOLDER)?.split_once('/')?;
    let (seconds, id) = name.split_once('-')?;
    let seconds: u64 = seconds.parse().ok()?;
    let expiring = Expiring {
        time: UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?,
        id: id.parse::<UploadId>().ok()?,
    };
    // Taken off by the name that it would have.
    (self::key(&expiring) == key).then_some(expiring)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::s3::testing;
    use proptest::prelude::*;

    fn expiring(millis: u64) -> Expiring {
        let time = UNIX_EPOCH + Duration::from_millis(millis);
        let id = UploadId::generate(time);
        Expiring { time, id }
    }

    #[test]
    fn a_key_says_when() {
        let one = expiring(1_795_441_140_000);
        let written = format!("expiry/2026-11-23/001795441140-{}", one.id);
        assert_eq!(key(&one), written);
        assert_eq!(parse(&written), Some(one));
        // The last millisecond of a day is looked at on the next one.
        let late = expiring(1_795_478_399_999);
        assert!(key(&late).starts_with("expiry/2026-11-24/001795478400-"));
        let id = one.id;
        for text in [
            "",
            "expiry/",
            "expiry/2026-11-23/001795441140",
            &format!("expiry/2026-11-23/1795441140-{id}"),
            &format!("expiry/2026-11-24/001795441140-{id}"),
            &format!("expiry/2026-11-23/+01795441140-{id}"),
            &format!("expiry/2026-11-23/001795441140-{}", &id.to_string()[1..]),
            &format!("expiry/9999-12-31/18446744073709551615-{id}"),
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    #[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
    fn what_is_over_is_listed_in_order_until_it_is_taken_off() {
        let [one, two] = testing::buckets(true).map(Expiries::new);
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let noted = [3, 1, 2, 90_000, 180_000].map(|seconds| Expiring {
            time: at(seconds),
            id: UploadId::generate(at(0)),
        });
        for expiring in noted.iter().chain(&noted) {
            one.put(expiring).unwrap();
        }
        one.bucket
            .put("expiry/0-stray", Bytes::new(), &Notes::default())
            .unwrap();
        let in_order = [noted[1], noted[2], noted[0], noted[3], noted[4]];
        assert_eq!(two.expiring(at(180_000), 99).unwrap(), in_order);
        assert_eq!(two.expiring(at(90_000), 99).unwrap(), in_order[..4]);
        assert_eq!(two.expiring(at(180_000), 2).unwrap(), in_order[..2]);
        assert_eq!(two.expiring(at(0), 99).unwrap(), []);
        two.remove(&in_order[..3]).unwrap();
        two.remove(&in_order[..3]).unwrap();
        assert_eq!(one.expiring(at(180_000), 99).unwrap(), in_order[3..]);
    }

    proptest! {
        #[test]
        fn keys_and_times_sort_alike(a in 0..=LAST * 1000, b in 0..=LAST * 1000) {
            let (x, y) = (expiring(a), expiring(b));
            let read = parse(&key(&x)).unwrap();
            prop_assert!(read.time >= x.time && read.id == x.id);
            prop_assert!(read.time.duration_since(x.time).unwrap() < Duration::from_secs(1));
            prop_assert_eq!(key(&read), key(&x));
            if a.div_ceil(1000) != b.div_ceil(1000) {
                prop_assert_eq!(key(&x).cmp(&key(&y)), a.cmp(&b));
            }
        }
    }
}
