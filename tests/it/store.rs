//! Where the servers under test keep what they take in.
//!
//! Each bench has a data folder. Where `SEALSLOT_TEST_STORE` is set to a bucket, `s3://bucket` or `s3://bucket/prefix`, the servers
//! and commands of each bench get `--store` with a prefix of its own below it instead; `AWS_*` in the environment says how the
//! engine is reached. Nothing is removed there at the end.
//!
//! The modules that are meant to be run so stand in `tests/e2e/bucket_tests`. What looks into the data folder, changes what lies there, or waits for
//! what is staged of a body that counts only as a whole (an object is there whole or not at all) begins with [`only_in_a_folder`] and is left out there. The
//! others know of folders only.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::SystemTime;

use sealslot::config::aws_environment;
use sealslot::store::{
    LocalReader, LocalRecords, ReadAt, RecordStore, S3Limits, S3Options, S3Settings, S3Store,
    SealedFile, SealedUpload, SessionStore, Shelf, Store, UploadId,
};

use crate::program::Bench;

/// Whether servers keep what they take in in a bucket.
pub(crate) fn in_bucket() -> bool {
    above().is_some()
}

/// Begins a test that is for the data folder alone. `tests/e2e/bucket_tests`, which runs the others over a bucket, leaves out those that
/// call this.
pub(crate) fn only_in_a_folder() {
    assert!(!in_bucket(), "this test is for the data folder alone");
}

/// Bytes of a part that is sent to an engine by itself.
pub(crate) const A_PART: u64 = S3Limits::MIN_PART_SIZE;

/// Of a body of so many bytes that has not come to its end something is stored, wherever it is kept.
pub(crate) const ENOUGH_TO_STAGE: usize = 10 << 20;

fn above() -> Option<String> {
    env::var("SEALSLOT_TEST_STORE").ok()
}

/// A prefix that no other test has, nor any run before.
pub(crate) fn new_bucket() -> Option<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let above = above()?;
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    Some(format!("{above}/{since:x}-{process}-{number}"))
}

/// The store at a URL, as a server would open it.
pub(crate) fn bucket_at(url: &str) -> Arc<S3Store> {
    let settings = S3Settings::new(
        url.parse().unwrap(),
        S3Options::default(),
        &aws_environment(),
    );
    Arc::new(S3Store::open(&settings.unwrap(), S3Limits::default()).unwrap())
}

/// All of a stored file.
pub(crate) fn whole(file: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len()).unwrap()];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

impl Bench {
    /// The bucket, opened beside the servers.
    fn bucket(&self) -> Option<&Arc<S3Store>> {
        let url = self.store_url()?;
        Some(self.opened.get_or_init(|| bucket_at(url)))
    }

    /// The place of what is stored, as commands take it.
    pub(crate) fn place(&self) -> [&str; 2] {
        match self.store_url() {
            Some(url) => ["--store", url],
            None => ["--data", "data"],
        }
    }

    /// Links and tokens.
    pub(crate) fn records(&self) -> Arc<dyn RecordStore> {
        match self.bucket() {
            Some(bucket) => Arc::clone(bucket) as _,
            None => Arc::new(LocalRecords::open(&self.path("data")).unwrap()),
        }
    }

    /// What is published, as it is read beside the server.
    pub(crate) fn shelf(&self) -> Arc<dyn Shelf> {
        match self.bucket() {
            Some(bucket) => Arc::clone(bucket) as _,
            None => Arc::new(LocalReader::open(&self.path("data")).unwrap()),
        }
    }

    pub(crate) fn sealed_upload(&self, id: &str) -> Box<dyn SealedUpload> {
        self.shelf().upload(&id.parse().unwrap()).unwrap()
    }

    /// The bytes of a sealed file as they are stored.
    pub(crate) fn sealed_file(&self, id: &str, name: &str) -> Vec<u8> {
        let file = self.sealed_upload(id).open(name.parse().unwrap());
        whole(&*file.unwrap())
    }

    pub(crate) fn is_stored(&self, id: &str) -> bool {
        self.shelf().upload(&id.parse().unwrap()).is_ok()
    }

    /// The folder of a stored upload; with a bucket, a copy of what is there now.
    pub(crate) fn upload_folder(&self, id: &str) -> PathBuf {
        let day = id.parse::<UploadId>().unwrap().day().to_string();
        if self.bucket().is_none() {
            return self.path(Path::new("data/uploads").join(day).join(id));
        }
        let folder = self.path(Path::new("fetched").join(day).join(id));
        fs::create_dir_all(&folder).unwrap();
        let upload = self.sealed_upload(id);
        for file in upload.files().unwrap() {
            let bytes = whole(&*upload.open(file).unwrap());
            fs::write(folder.join(file.to_string()), bytes).unwrap();
        }
        folder
    }

    /// Whether anything is stored of uploads that are not published.
    pub(crate) fn is_anything_staged(&self) -> bool {
        let Some(bucket) = self.bucket() else {
            return !self.names("data/staging").is_empty();
        };
        let ids = bucket.list(None, 100_000).unwrap();
        let sizes = ids.iter().map(|id| {
            let upload = bucket.open(id).unwrap();
            let files = upload.files().unwrap();
            files
                .iter()
                .map(|file| upload.open(*file).unwrap().len())
                .sum::<u64>()
        });
        bucket.stored().unwrap() > sizes.sum()
    }

    /// The uploads that can be gone on with, by their ids.
    pub(crate) fn sessions(&self) -> Vec<String> {
        let Some(bucket) = self.bucket() else {
            let names = self.names("data/sessions");
            let ids = names.iter().filter_map(|name| name.strip_suffix(".head"));
            return ids.map(str::to_owned).collect();
        };
        let ids = bucket.sessions().unwrap();
        // What has lost its head is named until the rest is gone too.
        let with_heads = |ids: &[UploadId]| {
            let there = ids.iter().filter(|id| bucket.session_head(id).is_ok());
            there.map(ToString::to_string).collect::<Vec<_>>()
        };
        thread::scope(|scope| {
            let asking: Vec<_> = ids
                .chunks(16)
                .map(|ids| scope.spawn(move || with_heads(ids)))
                .collect();
            let told = asking.into_iter().flat_map(|asked| asked.join().unwrap());
            told.collect()
        })
    }

    /// How many entries the record of an upload has in the bucket that is not finished.
    pub(crate) fn entries(&self, id: &str) -> u32 {
        let (Some(bucket), Ok(id)) = (self.bucket(), id.parse::<UploadId>()) else {
            return 0;
        };
        let last = bucket.last_entries(&id, 1);
        last.map_or(0, |(number, last)| {
            number + u32::try_from(last.len()).unwrap()
        })
    }

    /// A number that changes with an upload's manifest.
    pub(crate) fn manifest_state(&self, id: &UploadId) -> u64 {
        let upload = self.shelf().upload(id).unwrap();
        let bytes = whole(&*upload.open(SealedFile::Meta).unwrap());
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        hasher.finish()
    }
}
