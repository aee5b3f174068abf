//! The output folder, and what `pull` keeps in it for itself.
//!
//! ```text
//! DIR/.sealslot/             of this user alone; no name that a sender gave leads into it
//!     lock                   held by the one `pull` that is at work here
//!     receipts/ID.json       what is known of each upload that was fetched; ID.sealed.json where it stayed sealed
//!     HOST.opened/           one for each server, and one with HOST.sealed
//!         ledger.jsonl       what was fetched
//!         partial/ID         what is not complete, or has no name yet
//! ```
//!
//! A file gets its name in steps, each durable before the next: it is complete, the ledger says which name is tried, the
//! file has the name, its receipt is there, the ledger says that it was fetched, its name in `partial/` is gone. The second
//! name tells, after a crash, whether the first was given, wherever the file was moved meanwhile.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags, flock, renameat_with};

use super::ledger::{Ledger, LedgerError, Publishing, Standing};
use super::partial::{Partial, content_of, flags_of, open_partial};
use super::receipt::{Content, Receipt};
use crate::cli::made::Made;
use crate::cli::restored_name::restored_name;
use crate::cli::restored_path::RestoredPath;
use crate::cli::staged::{self, Joins, folder_in, sync_folder, with_numbers};
use crate::cli::{Exit, Failure};
use crate::store::{SealedFile, UploadId};

/// What becomes of uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Files under the names that senders gave.
    Opened,
    /// The age files.
    Sealed,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Sealed => "sealed",
        }
    }
}

/// The output folder, which no other `pull` uses meanwhile.
pub(super) struct Inbox {
    into: PathBuf,
    partial: PathBuf,
    receipts: PathBuf,
    form: Form,
    ledger: Mutex<Ledger>,
    made: Mutex<Made>,
    _lock: File,
}

impl Inbox {
    /// Makes `into` where it is missing, and takes it. `server`, `form`: what it is to remember.
    pub(super) fn open(into: &Path, server: &str, form: Form) -> Result<Self, Failure> {
        staged::make_folder(into)?;
        let own = own_folder(into, ".sealslot")?;
        let lock = lock(&own.join("lock"), into)?;
        let receipts = own_folder(&own, "receipts")?;
        let server = restored_name(server, "server");
        let of_server = own_folder(&own, &format!("{server}.{}", form.name()))?;
        let partial = own_folder(&of_server, "partial")?;
        let ledger = Ledger::open(&of_server.join("ledger.jsonl"))?;
        Ok(Self {
            into: into.to_owned(),
            partial,
            receipts,
            form,
            ledger: Mutex::new(ledger),
            made: Mutex::default(),
            _lock: lock,
        })
    }

    /// What it remembers.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file as it was fetched, by the path in its receipt.
    pub(super) fn path(&self, receipt: &Receipt) -> PathBuf {
        self.into.join(&receipt.path)
    }

    /// The file that the upload is written to before it is complete.
    pub(super) fn partial(&self, id: &UploadId) -> Result<Partial, Failure> {
        let path = self.partial.join(id.to_string());
        Partial::open(&path).map_err(|error| Failure::io("write", &path, &error))
    }

    /// The folder that an upload which stays sealed is written to before it is complete.
    pub(super) fn partial_folder(&self, id: &UploadId) -> Result<PathBuf, Failure> {
        own_folder(&self.partial, &format!("{id}.sealed"))
    }

    /// Gives a complete file its name, and remembers it. Gives the receipt with the path that it became.
    pub(super) fn publish(
        &self,
        partial: &Partial,
        mut receipt: Receipt,
        content: Content,
        wanted: &RestoredPath,
    ) -> Result<Receipt, Failure> {
        let synced = partial.file.sync_all();
        synced.map_err(|error| Failure::io("write", &partial.path, &error))?;
        sync_folder(&self.partial)?;
        receipt.content = Some(content);
        self.name(&partial.path, receipt, wanted)
    }

    fn name(
        &self,
        partial: &Path,
        mut receipt: Receipt,
        wanted: &RestoredPath,
    ) -> Result<Receipt, Failure> {
        let folder = self.folder_below(&wanted.folders)?;
        let names: Vec<_> = with_numbers(&wanted.name).collect();
        for name in names {
            let target = folder.join(&name);
            if target.symlink_metadata().is_ok() {
                continue;
            }
            receipt.path = self.below(&target);
            let publishing = Publishing {
                receipt: receipt.clone(),
                wanted: Some(wanted.clone()),
            };
            let standing = Standing::Publishing(Box::new(publishing));
            self.ledger().put(receipt.id, standing)?;
            match give_name(partial, &target) {
                Ok(()) => {
                    self.made().insert(&target);
                    sync_folder(&folder)?;
                    self.finish(&receipt)?;
                    return Ok(receipt);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Failure::io("write", &target, &error)),
            }
        }
        Err(Failure::new(
            Exit::Other,
            format_args!(
                "{} and all its numbers are taken: move some of them away",
                folder.join(&wanted.name).display()
            ),
        ))
    }

    /// Lets a complete folder of sealed files appear as DAY/ID, and remembers it.
    pub(super) fn publish_folder(
        &self,
        folder: &Path,
        mut receipt: Receipt,
    ) -> Result<Receipt, Failure> {
        sync_folder(folder)?;
        sync_folder(&self.partial)?;
        let day = self.folder_below(&[receipt.id.day().to_string()])?;
        let target = day.join(receipt.id.to_string());
        if target.symlink_metadata().is_ok() {
            return Err(Failure::new(
                Exit::Other,
                format_args!("{} is there already: move it away", target.display()),
            ));
        }
        receipt.path = self.below(&target);
        let publishing = Publishing {
            receipt: receipt.clone(),
            wanted: None,
        };
        let standing = Standing::Publishing(Box::new(publishing));
        self.ledger().put(receipt.id, standing)?;
        let named = rename(folder, &target);
        named.map_err(|error| Failure::io("write", &target, &error))?;
        sync_folder(&day)?;
        self.finish(&receipt)?;
        Ok(receipt)
    }

    /// What follows when a file has its name.
    fn finish(&self, receipt: &Receipt) -> Result<(), Failure> {
        self.write_receipt(receipt)?;
        self.ledger().put(receipt.id, Standing::Fetched)?;
        self.forget_partial(&receipt.id);
        Ok(())
    }

    /// Ends what was about to get its name when this upload was last at work. `None`: there is nothing of it, or it has
    /// to be fetched.
    pub(super) fn recover(&self, id: &UploadId) -> Result<Option<Receipt>, Failure> {
        let standing = self.ledger().standing(id).cloned();
        let Some(Standing::Publishing(publishing)) = standing else {
            return Ok(None);
        };
        let Publishing { receipt, wanted } = *publishing;
        let receipt = match wanted {
            Some(wanted) => self.recover_file(receipt, &wanted)?,
            None => self.recover_folder(receipt)?,
        };
        if receipt.is_none() {
            self.ledger().put(*id, Standing::Wanted)?;
        }
        Ok(receipt)
    }

    fn recover_file(
        &self,
        receipt: Receipt,
        wanted: &RestoredPath,
    ) -> Result<Option<Receipt>, Failure> {
        let partial = self.partial.join(receipt.id.to_string());
        let named = self.path(&receipt);
        let has_content = |path: &Path| {
            let content = content_of(path);
            content.is_ok_and(|content| content.is_some() && content == receipt.content)
        };
        match partial.symlink_metadata() {
            // It has another name: that which was tried, wherever the file is now.
            Ok(there) if there.nlink() > 1 => self.finish(&receipt)?,
            Ok(_) if has_content(&partial) => {
                return self.name(&partial, receipt, wanted).map(Some);
            }
            Err(_) if has_content(&named) => self.finish(&receipt)?,
            _ => return Ok(None),
        }
        Ok(Some(receipt))
    }

    fn recover_folder(&self, receipt: Receipt) -> Result<Option<Receipt>, Failure> {
        let partial = self.partial.join(format!("{}.sealed", receipt.id));
        let meta = self.path(&receipt).join(SealedFile::Meta.to_string());
        if partial.symlink_metadata().is_ok() || meta.symlink_metadata().is_err() {
            return Ok(None);
        }
        self.finish(&receipt)?;
        Ok(Some(receipt))
    }

    fn write_receipt(&self, receipt: &Receipt) -> Result<(), Failure> {
        let name = match self.form {
            Form::Opened => format!("{}.json", receipt.id),
            Form::Sealed => format!("{}.sealed.json", receipt.id),
        };
        let path = self.receipts.join(name);
        let failed = |error: io::Error| Failure::io("write", &path, &error);
        let mut text = serde_json::to_vec_pretty(receipt).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        let unnamed = self.partial.join(format!("{}.receipt", receipt.id));
        let mut file = open_partial(&unnamed).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        file.write_all(&text).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&unnamed, &path).map_err(failed)?;
        sync_folder(&self.receipts)
    }

    /// Removes what is in `partial/` of uploads that are not on the server any more, or are here; nothing of those that are
    /// `under_way`, or complete and about to get their name.
    pub(super) fn sweep(
        &self,
        on_server: impl Fn(&UploadId) -> bool,
        under_way: impl Fn(&UploadId) -> bool,
    ) {
        let Ok(entries) = fs::read_dir(&self.partial) else {
            return;
        };
        for name in entries.flatten().map(|entry| entry.file_name()) {
            let id = name
                .to_str()
                .and_then(|name| name.split('.').next()?.parse().ok());
            let Some(id) = id.filter(|id| !under_way(id)) else {
                continue;
            };
            let is_left = match self.ledger().standing(&id) {
                Some(Standing::Publishing(_)) => false,
                Some(Standing::Fetched | Standing::Removed | Standing::Unopened(_)) => true,
                Some(Standing::Wanted) | None => !on_server(&id),
            };
            if is_left {
                self.forget_partial(&id);
            }
        }
    }

    /// Removes what is in `partial/` of an upload. What cannot be removed is when it is next tried.
    pub(super) fn forget_partial(&self, id: &UploadId) {
        let _ = fs::remove_file(self.partial.join(id.to_string()));
        let _ = fs::remove_file(self.partial.join(format!("{id}.receipt")));
        let _ = fs::remove_dir_all(self.partial.join(format!("{id}.sealed")));
    }

    fn folder_below(&self, folders: &[String]) -> Result<PathBuf, Failure> {
        let mut made = self.made();
        let mut folder = self.into.clone();
        for name in folders {
            folder = folder_in(&folder, name, Joins::Any, &mut made)?;
        }
        Ok(folder)
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A path below the output folder. It is text: names are made as such.
    fn below(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.into).unwrap_or(path);
        below.to_string_lossy().into_owned()
    }
}

/// Gives a file one more name, where nothing has that. On file systems without second names the first one goes.
fn give_name(partial: &Path, target: &Path) -> io::Result<()> {
    match fs::hard_link(partial, target) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
            ) =>
        {
            rename(partial, target)
        }
        linked => linked,
    }
}

/// Renames, where nothing has that name.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(io::Error::from)
}

/// A folder of this user alone. What is there and is none of that kind was put there by somebody else.
fn own_folder(above: &Path, name: &str) -> Result<PathBuf, Failure> {
    let path = above.join(name);
    match DirBuilder::new().mode(0o700).create(&path) {
        Ok(()) => sync_folder(above)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let there = path.symlink_metadata();
            let there = there.map_err(|error| Failure::io("look at", &path, &error))?;
            let mine = rustix::process::geteuid().as_raw();
            if !there.is_dir() || there.uid() != mine || there.mode() & 0o022 != 0 {
                return Err(Failure::new(
                    Exit::Other,
                    format_args!(
                        "{} is no folder that only you can write to: move it away",
                        path.display()
                    ),
                ));
            }
        }
        Err(error) => return Err(Failure::io("make the folder", &path, &error)),
    }
    Ok(path)
}

fn lock(path: &Path, into: &Path) -> Result<File, Failure> {
    let failed = |error: io::Error| Failure::io("lock", path, &error);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.custom_flags(flags_of(OFlags::NOFOLLOW)).open(path);
    let file = file.map_err(failed)?;
    let locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
    match locked.map_err(io::Error::from) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Failure::new(
            Exit::Later,
            format_args!(
                "another pull is at work in {}: wait for it, or give another folder",
                into.display()
            ),
        )),
        // Where the file system has no locks, going without is better than not going on at all.
        _ => Ok(file),
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        let exit = match error {
            LedgerError::Io { .. } => Exit::Other,
            LedgerError::Damaged { .. } => Exit::Data,
        };
        Self::from_error(exit, &error)
    }
}
