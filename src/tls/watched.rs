//! The files of a certificate, which may be replaced at any time, and what handshakes present meanwhile.
//!
//! Every handshake looks at the files before it presents anything: from the moment that a replacement is complete, nobody
//! is shown the certificate before. What cannot be used, as between the two renames of a replacement, leaves the present one in place.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use tokio::time::sleep;

use super::TlsError;
use super::presented::Presented;
use super::settings::CertificateFiles;

/// For so long after a file was written, it may be written again and look the same: the system's clock for files goes in
/// steps of up to 10 ms. It is read again at every handshake so long.
const LOOKS_THE_SAME: Duration = Duration::from_millis(100);
/// How often files are read that change meanwhile.
const MAX_READS: usize = 3;
/// How long handshakes wait for the rest of a replacement that has begun, and how often they look.
const REPLACEMENT: Duration = Duration::from_millis(250);
const REPLACEMENT_LOOK: Duration = Duration::from_millis(2);
/// The watch's look at which a replacement that cannot be used is no longer taken for half of one.
const PERSISTS: u32 = 2;

/// The certificate of two files.
pub(super) struct WatchedCertificate {
    files: CertificateFiles,
    provider: Arc<CryptoProvider>,
    presented: RwLock<Option<Arc<Presented>>>,
    /// Held while the files are read: handshakes that come meanwhile wait for what is found.
    looked: Mutex<Looked>,
    replacements: AtomicU64,
}

/// What the last look found.
struct Looked {
    state: PairState,
    /// Whether the files were written so shortly before that a further write would not show.
    fresh: bool,
    failure: Option<Failure>,
}

/// A replacement that cannot be used.
struct Failure {
    error: Arc<TlsError>,
    since: Instant,
    /// How many looks of the watch have found that there is one.
    looks: u32,
    told: bool,
}

impl WatchedCertificate {
    /// Reads it. Where `may_wait`, because one will come, the files may be missing, or hold what cannot be used.
    pub(super) fn load(
        files: CertificateFiles,
        provider: Arc<CryptoProvider>,
        may_wait: bool,
    ) -> Result<Self, TlsError> {
        let now = SystemTime::now();
        let state = PairState::of(&files);
        let mut failure = None;
        let presented = match Presented::read(&files, &provider) {
            Ok(presented) => Some(Arc::new(presented)),
            Err(_) if may_wait && state.is_absent() => None,
            Err(error) if may_wait => {
                failure = Some(Failure::after(None, error, true));
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            presented: RwLock::new(presented),
            looked: Mutex::new(Looked {
                fresh: state.is_fresh(now),
                state,
                failure,
            }),
            replacements: AtomicU64::new(0),
            files,
            provider,
        })
    }

    /// What is presented now, where there is something.
    pub(super) fn presented(&self) -> Option<Arc<Presented>> {
        let presented = self.presented.read();
        presented.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many times another certificate took the place of one.
    pub(super) fn replacements(&self) -> u64 {
        self.replacements.load(Ordering::Relaxed)
    }

    /// Why a replacement cannot be used, where that is so not only for a moment.
    pub(super) fn failure(&self) -> Option<Arc<TlsError>> {
        let looked = self.looked();
        let lasting = looked.failure.as_ref();
        let lasting = lasting.filter(|failure| failure.looks >= PERSISTS);
        lasting.map(|failure| Arc::clone(&failure.error))
    }

    fn looked(&self) -> MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the files where they have changed, symbolic links followed. Where they have not, it takes microseconds.
    ///
    /// Returns what is presented from now on, or why what is in the files is not.
    pub(super) fn refresh(&self) -> Result<Option<Arc<Presented>>, Arc<TlsError>> {
        let state = PairState::of(&self.files);
        let mut looked = self.looked();
        if state != looked.state || looked.fresh {
            self.read(&mut looked);
        }
        match &looked.failure {
            Some(failure) => Err(Arc::clone(&failure.error)),
            None => Ok(self.presented()),
        }
    }

    /// The watch's look: what could not be used is tried again, because a disk may recover and a time may come, and is
    /// told of when it was so at the look before.
    pub(super) fn look(&self) {
        let state = PairState::of(&self.files);
        let mut looked = self.looked();
        if state != looked.state || looked.fresh || looked.failure.is_some() {
            self.read(&mut looked);
        }
        let Some(failure) = &mut looked.failure else {
            return;
        };
        failure.looks += 1;
        if failure.looks >= PERSISTS && !failure.told {
            failure.told = true;
            tracing::warn!(
                error = &*failure.error as &(dyn std::error::Error + 'static),
                "the new certificate cannot be used; still serving with the one before, where there is one"
            );
        }
    }

    /// Waits while a replacement has begun and is not complete, for a moment at the most: what was on disk before may never
    /// have been presented, and is gone.
    pub(super) async fn settle(&self) {
        let until = Instant::now() + REPLACEMENT;
        loop {
            let _ = self.refresh();
            let incomplete = {
                let looked = self.looked();
                let failure = looked.failure.as_ref();
                failure.is_some_and(|failure| failure.since.elapsed() < REPLACEMENT)
            };
            if !incomplete || Instant::now() >= until {
                return;
            }
            sleep(REPLACEMENT_LOOK).await;
        }
    }

    /// Reads both files, again where they change meanwhile, and presents them if they can be used.
    fn read(&self, looked: &mut Looked) {
        for reads in 1..=MAX_READS {
            let now = SystemTime::now();
            // Looked at before they are read: what is written in between shows as a change.
            let state = PairState::of(&self.files);
            let read = Presented::read(&self.files, &self.provider);
            if reads < MAX_READS && state != PairState::of(&self.files) {
                continue;
            }
            let changed = state != looked.state;
            looked.fresh = state.is_fresh(now);
            looked.state = state;
            looked.failure = match read.and_then(|new| self.present(new, now)) {
                Ok(()) => None,
                Err(error) => Some(Failure::after(looked.failure.take(), error, changed)),
            };
            return;
        }
    }

    /// Presents another certificate, if clients would accept it or do not accept the present one either.
    fn present(&self, new: Presented, now: SystemTime) -> Result<(), TlsError> {
        let old = self.presented();
        if let Some(old) = &old {
            if old.certified.cert == new.certified.cert {
                return Ok(());
            }
            if let Some(flaw) = new.flaw(&self.files, now)
                && old.flaw(&self.files, now).is_none()
            {
                return Err(flaw);
            }
        }
        let mut presented = self
            .presented
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *presented = Some(Arc::new(new));
        self.replacements.fetch_add(1, Ordering::Relaxed);
        let certificate = self.files.certificate.display();
        let text = if old.is_some() {
            "the certificate was replaced"
        } else {
            "there is a certificate"
        };
        tracing::info!(%certificate, "{text}");
        Ok(())
    }
}

impl Failure {
    /// One more of a row of failures is told of where it says something else.
    fn after(before: Option<Self>, error: TlsError, changed: bool) -> Self {
        let text = error.to_string();
        match before {
            Some(before) => Self {
                told: before.told && before.error.to_string() == text,
                since: if changed {
                    Instant::now()
                } else {
                    before.since
                },
                looks: before.looks,
                error: Arc::new(error),
            },
            None => Self {
                error: Arc::new(error),
                since: Instant::now(),
                looks: 0,
                told: false,
            },
        }
    }
}

/// Both files of a pair as the file system describes them.
#[derive(PartialEq, Eq)]
struct PairState {
    certificate: Option<FileState>,
    key: Option<FileState>,
}

impl PairState {
    fn of(files: &CertificateFiles) -> Self {
        Self {
            certificate: FileState::of(&files.certificate),
            key: FileState::of(&files.key),
        }
    }

    /// Whether there is nothing of it.
    fn is_absent(&self) -> bool {
        self.certificate.is_none() && self.key.is_none()
    }

    /// Whether a further write at `now` could leave all of this the same.
    fn is_fresh(&self, now: SystemTime) -> bool {
        let mut files = self.certificate.iter().chain(&self.key);
        files.any(|file| file.is_fresh(now))
    }
}

/// One file as the file system describes it.
///
/// The change time is in it because `chmod` moves nothing else, and a key refused for its mode is to be taken once
/// its mode is right; and because nobody can set it back.
#[derive(PartialEq, Eq)]
pub struct FileState {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileState {
    /// The state of the file that `path` leads to, or `None` where nothing can be seen there.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    fn is_fresh(&self, now: SystemTime) -> bool {
        let (seconds, nanos) = self.changed;
        let since_epoch = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok());
        let Some((seconds, nanos)) = since_epoch else {
            return false;
        };
        let changed = UNIX_EPOCH + Duration::new(seconds, nanos);
        let distance = now.duration_since(changed).unwrap_or_else(|e| e.duration());
        distance < LOOKS_THE_SAME
    }
}

#[cfg(test)]
mod tests;
