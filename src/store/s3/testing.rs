//! Places in a real engine, for tests that are run with one (`tests/e2e/bucket_tests`), and in a small one in this process.

use std::env;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use super::S3Limits;
use super::bucket::Bucket;
use super::bucket::tests::{Liar, Lies, settings as settings_of};
use super::settings::{AwsEnvironment, S3Options, S3Settings, S3Url};
use super::store::S3Store;

/// A store of the test's own in the bucket that `SEALSLOT_TEST_S3_URL` names, at `SEALSLOT_TEST_S3_ENDPOINT`, with the key in
/// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
pub(super) fn settings() -> S3Settings {
    settings_with_key(
        &variable("AWS_ACCESS_KEY_ID"),
        &variable("AWS_SECRET_ACCESS_KEY"),
    )
}

/// The same with another key.
pub(super) fn settings_with_key(id: &str, secret: &str) -> S3Settings {
    static PLACES: AtomicU32 = AtomicU32::new(0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let own = format!(
        "{}-{}-{}",
        since.unwrap().as_nanos(),
        std::process::id(),
        PLACES.fetch_add(1, Ordering::Relaxed)
    );
    let location = format!("{}/{own}", variable("SEALSLOT_TEST_S3_URL"));
    settings_at(location.parse().unwrap(), id, secret)
}

/// The store at this place.
pub(super) fn settings_at(location: S3Url, id: &str, secret: &str) -> S3Settings {
    let options = S3Options {
        endpoint: Some(variable("SEALSLOT_TEST_S3_ENDPOINT")),
        cacert: env::var_os("AWS_CA_BUNDLE").map(Into::into),
        ..S3Options::default()
    };
    let environment = AwsEnvironment {
        access_key_id: Some(id.to_owned()),
        secret_access_key: Some(secret.to_owned().into()),
        region: env::var("AWS_REGION").ok(),
        ..AwsEnvironment::default()
    };
    S3Settings::new(location, options, &environment).unwrap()
}

/// One new store as two servers have it, where `conditional` is not as if the engine had no conditional writes.
pub(super) fn buckets(conditional: bool) -> [Bucket; 2] {
    let settings = settings();
    [(); 2].map(|()| {
        let bucket = Bucket::connect(&settings).unwrap();
        if conditional {
            bucket
        } else {
            bucket.without_conditions()
        }
    })
}

/// A small engine with one bucket, which several servers have.
pub(crate) struct SmallEngine(Liar);

impl SmallEngine {
    pub(crate) fn start() -> Self {
        Self(Liar::start(Lies::default()))
    }

    /// The store, as one more process has it. Blocks.
    pub(crate) fn store(&self) -> S3Store {
        S3Store::open(&settings_of(&self.0), S3Limits::default()).unwrap()
    }

    /// The names of all objects that have this in them.
    pub(crate) fn keys_with(&self, part: &str) -> Vec<String> {
        let state = self.0.state();
        let keys = state.keys().into_iter().filter(|key| key.contains(part));
        keys.map(str::to_owned).collect()
    }
}

/// What the engine does without, by the names in [`Engine`](super::bucket::Engine): `SEALSLOT_TEST_S3_LACKS`, between commas.
pub(super) fn lacks() -> Vec<String> {
    let names = variable("SEALSLOT_TEST_S3_LACKS");
    let mut names: Vec<_> = (names.split(',').filter(|name| !name.is_empty()))
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is to be set: tests/e2e/bucket_tests does it"))
}
