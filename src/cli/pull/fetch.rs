//! One upload: fetched, verified, named, remembered, and removed on the server where that is asked for.

use std::io::{self, Write};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use http::{Method, StatusCode};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::inbox::Inbox;
use super::ledger::{Standing, Unopened};
use super::partial::Partial;
use super::receipt::{Content, Opened, Receipt};
use crate::cli::client::ServerError;
use crate::cli::client::listing::Listed;
use crate::cli::client::patient_server::{PatienceError, PatientServer};
use crate::cli::client::remote_upload::RemoteUpload;
use crate::cli::progress::{Bar, Bars};
use crate::cli::restore::{self, RestoreError};
use crate::cli::restored_name::printable;
use crate::cli::results::{print, print_json};
use crate::cli::{Exit, Failure};
use crate::seal::{CHUNK_SIZE, Identity, OpenError};
use crate::store::{SealedFile, StoreError, UploadId};
use crate::upload::{OpenUpload, ReadError};

/// What all uploads of one command are fetched with. Its calls block, from threads that may, in a runtime.
pub(super) struct Fetcher {
    pub(super) server: PatientServer,
    /// The server, as host and port.
    pub(super) authority: String,
    pub(super) identities: Vec<Identity>,
    /// These, by a digest of their fingerprints.
    pub(super) keys: String,
    pub(super) inbox: Inbox,
    pub(super) bars: Bars,
    /// Whether they stay sealed.
    pub(super) sealed: bool,
    /// Whether they are removed on the server when they are here.
    pub(super) delete: bool,
    pub(super) json: bool,
}

/// Why an upload is not here.
pub(super) enum FetchError {
    /// It was deleted since it was listed.
    Gone,
    /// This command is to end.
    Stopped,
    /// It does not open, and will not with these keys.
    Unopened(Failure),
    /// What would happen with all others too.
    Fatal(Failure),
    /// Anything else; it is tried again at another time.
    Failed(Failure),
}

impl From<Failure> for FetchError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<StoreError> for FetchError {
    fn from(error: StoreError) -> Self {
        ReadError::from(error).into()
    }
}

impl From<ReadError> for FetchError {
    fn from(error: ReadError) -> Self {
        match &error {
            ReadError::Store(StoreError::NotFound) | ReadError::Missing(SealedFile::Meta) => {
                Self::Gone
            }
            ReadError::Store(StoreError::Elsewhere { source, .. }) => {
                match source.downcast_ref::<PatienceError>() {
                    Some(PatienceError::Stopped) => Self::Stopped,
                    Some(PatienceError::Server(refused)) if is_fatal(refused) => {
                        Self::Fatal(error.into())
                    }
                    _ => Self::Failed(error.into()),
                }
            }
            // An identity that could not be used says nothing of the upload.
            ReadError::Store(_)
            | ReadError::Open {
                source: OpenError::External(_),
                ..
            } => Self::Failed(error.into()),
            _ => Self::Unopened(error.into()),
        }
    }
}

impl From<PatienceError> for FetchError {
    fn from(error: PatienceError) -> Self {
        match &error {
            PatienceError::Stopped => Self::Stopped,
            PatienceError::Server(refused) if is_fatal(refused) => Self::Fatal(error.into()),
            _ => Self::Failed(error.into()),
        }
    }
}

/// Whether a server would say the same of every upload.
fn is_fatal(error: &ServerError) -> bool {
    let status = error.status();
    let refused = matches!(
        status,
        Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    );
    refused || (status.is_none() && !error.is_passing())
}

impl Fetcher {
    /// Whether there is something to do about an upload that is listed.
    pub(super) fn wants(&self, listed: &Listed) -> bool {
        match self.inbox.ledger().standing(&listed.id) {
            None | Some(Standing::Publishing(_) | Standing::Wanted) => true,
            Some(Standing::Fetched) => self.delete,
            Some(Standing::Removed) => false,
            Some(Standing::Unopened(unopened)) => *unopened != self.unopened(listed),
        }
    }

    /// Does it. Prints what has come.
    pub(super) fn fetch(&self, listed: &Listed) -> Result<(), FetchError> {
        let standing = self.inbox.ledger().standing(&listed.id).cloned();
        if !matches!(standing, Some(Standing::Fetched)) {
            let receipt = match self.inbox.recover(&listed.id)? {
                Some(receipt) => receipt,
                None if self.sealed => self.fetch_sealed(listed)?,
                None => self.fetch_opened(listed)?,
            };
            self.print(&receipt)?;
        }
        if self.delete {
            self.remove(&listed.id)?;
        }
        Ok(())
    }

    /// Says that a file is here.
    pub(super) fn print(&self, receipt: &Receipt) -> Result<(), Failure> {
        self.bars.aside(|| {
            if self.json {
                print_json(receipt)
            } else {
                print(self.inbox.path(receipt).display())
            }
        })
    }

    /// Remembers that it does not open.
    pub(super) fn put_aside(&self, listed: &Listed) -> Result<(), Failure> {
        self.inbox.forget_partial(&listed.id);
        let standing = Standing::Unopened(self.unopened(listed));
        Ok(self.inbox.ledger().put(listed.id, standing)?)
    }

    fn unopened(&self, listed: &Listed) -> Unopened {
        Unopened {
            meta: listed.meta.clone(),
            keys: self.keys.clone(),
        }
    }

    pub(super) fn remote(&self, id: &UploadId) -> RemoteUpload {
        RemoteUpload::new(self.server.clone(), *id)
    }

    fn fetch_opened(&self, listed: &Listed) -> Result<Receipt, FetchError> {
        let remote = Box::new(self.remote(&listed.id));
        let upload = OpenUpload::open(remote, Some(&listed.id), &self.identities)?;
        let upload = Arc::new(upload);
        let manifest = upload.manifest();
        let inner = manifest.is_client_sealed();
        let wanted = restore::path_of(manifest, inner);
        let bar = self.bars.add(
            &printable(manifest.name.as_deref().unwrap_or(&wanted.name)),
            Some(manifest.size),
        );
        let mut partial = self.inbox.partial(&listed.id)?;
        let copied = if inner {
            self.copy_inner(&upload, &mut partial, &bar)
        } else {
            copy(&upload, &mut partial, &bar)
        };
        bar.clear();
        let content = copied.map_err(|error| self.restore_error(&listed.id, error))?;
        let opened = Some(Opened::from(manifest));
        let receipt = Receipt::new(self.authority.clone(), listed, opened);
        Ok(self.inbox.publish(&partial, receipt, content, &wanted)?)
    }

    /// A segment that is missing may be so because all of it is gone.
    fn restore_error(&self, id: &UploadId, error: RestoreError) -> FetchError {
        match error {
            RestoreError::Read(ReadError::Missing(segment)) => {
                let there = self.remote(id).meta();
                match there {
                    Ok(_) => ReadError::Missing(segment).into(),
                    Err(error) => error.into(),
                }
            }
            RestoreError::Read(error) => error.into(),
            RestoreError::Inner(OpenError::External(error)) => {
                FetchError::Failed(RestoreError::Inner(OpenError::External(error)).into())
            }
            RestoreError::Inner(error) => {
                let failure = Failure::from_error(Exit::Data, &error);
                let layer = "what its sender had sealed does not open with this identity";
                FetchError::Unopened(failure.about(layer))
            }
            error @ RestoreError::Write(_) => FetchError::Failed(error.into()),
        }
    }

    /// Both layers, from the beginning: the inner one can be verified as a whole only.
    fn copy_inner(
        &self,
        upload: &Arc<OpenUpload>,
        partial: &mut Partial,
        bar: &Bar,
    ) -> Result<Content, RestoreError> {
        let (_, digest) = partial.resume(0, 1).map_err(RestoreError::Write)?;
        let mut output = Digesting {
            output: &mut partial.file,
            digest,
        };
        let advance = |bytes| bar.advance(bytes);
        let size = restore::copy_inner(upload, &mut output, &self.identities, advance)?;
        let sha256 = HEXLOWER.encode(&output.digest.finalize());
        Ok(Content { size, sha256 })
    }

    fn remove(&self, id: &UploadId) -> Result<(), FetchError> {
        let path = format!("/uploads/{id}");
        let asked = Handle::current().block_on(self.server.ask(Method::DELETE, &path, None));
        match asked {
            Ok(_) => {}
            Err(error) => match error.server_error().and_then(ServerError::status) {
                Some(StatusCode::NOT_FOUND | StatusCode::GONE) => {}
                Some(StatusCode::FORBIDDEN) => {
                    return Err(FetchError::Fatal(Failure::new(
                        Exit::Refused,
                        "the server does not let this token delete (403): give one with the scope admin, or leave \
                         --delete out. What was fetched is here and is not fetched again",
                    )));
                }
                _ => return Err(error.into()),
            },
        }
        let put = self.inbox.ledger().put(*id, Standing::Removed);
        Ok(put.map_err(Failure::from)?)
    }
}

/// The rest of the payload, behind what an earlier run has left. Where that turns out to be something else, all of it.
fn copy(
    upload: &Arc<OpenUpload>,
    partial: &mut Partial,
    bar: &Bar,
) -> Result<Content, RestoreError> {
    let manifest = upload.manifest();
    let mut kept = manifest.size;
    loop {
        let resumed = partial.resume(kept, CHUNK_SIZE as u64);
        let (from, digest) = resumed.map_err(RestoreError::Write)?;
        bar.jump_to(from);
        let advance = |bytes| bar.advance(bytes);
        match restore::copy_rest(upload, from, digest, &mut partial.file, advance) {
            Err(RestoreError::Read(ReadError::Digest)) if from > 0 => kept = 0,
            copied => {
                copied?;
                return Ok(Content {
                    size: manifest.size,
                    sha256: manifest.sha256.clone(),
                });
            }
        }
    }
}

/// Takes the digest of what is written.
struct Digesting<'a, W> {
    output: &'a mut W,
    digest: Sha256,
}

impl<W: Write> Write for Digesting<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.output.write(bytes)?;
        self.digest.update(&bytes[..size]);
        Ok(size)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
