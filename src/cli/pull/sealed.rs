//! An upload that stays sealed: its age files as the server has them, held to the sizes and checksums of its record.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crc_fast::{CrcAlgorithm, Digest};

use super::fetch::{FetchError, Fetcher};
use super::receipt::Receipt;
use crate::cli::client::listing::Listed;
use crate::cli::client::remote_upload::RemoteUpload;
use crate::cli::progress::Bar;
use crate::cli::{Exit, Failure};
use crate::store::{ReadAt, SealedFile, SealedUpload};
use crate::upload::{FileEntry, Record, read_record};

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

impl Fetcher {
    pub(super) fn fetch_sealed(&self, listed: &Listed) -> Result<Receipt, FetchError> {
        let remote = self.remote(&listed.id);
        let meta = remote.meta()?;
        let record = record_of(&remote, listed)?;
        let folder = self.inbox.partial_folder(&listed.id)?;
        let bar = self
            .bars
            .add(&listed.id.to_string(), Some(listed.sealed_size));
        let mut fetched = Ok(());
        for file in &record.files {
            fetched = fetch_file(&remote, file, &folder, &bar);
            if fetched.is_err() {
                break;
            }
        }
        bar.clear();
        fetched?;
        let path = folder.join(SealedFile::Meta.to_string());
        let written = write_meta(&path, &meta);
        written.map_err(|error| Failure::io("write", &path, &error))?;
        let receipt = Receipt::new(self.authority.clone(), listed, None);
        Ok(self.inbox.publish_folder(&folder, receipt)?)
    }
}

/// The record, where `meta.age` is what the server listed.
fn record_of(remote: &RemoteUpload, listed: &Listed) -> Result<Record, FetchError> {
    let file = remote.open(SealedFile::Meta)?;
    let meta = remote.meta()?;
    let is_listed = listed.meta.as_ref().is_none_or(|said| {
        let crc = checksum_of(&meta);
        let fits = said.crc64nvme.as_ref().is_none_or(|said| *said == crc);
        said.size == meta.len() as u64 && fits
    });
    if !is_listed {
        let message = "meta.age is not what the server has listed: it was written anew meanwhile, or is damaged";
        return Err(Failure::new(Exit::Later, message).into());
    }
    let record = read_record(&*file)?;
    if record.id != listed.id {
        return Err(crate::upload::ReadError::Exchanged.into());
    }
    Ok(record)
}

fn checksum_of(bytes: &[u8]) -> String {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    digest.update(bytes);
    format!("{:016x}", digest.finalize())
}

fn write_meta(path: &Path, meta: &[u8]) -> io::Result<()> {
    let mut file = open(path)?;
    file.set_len(0)?;
    file.write_all(meta)?;
    file.sync_all()
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).open(path)
}

/// Fetches a segment behind what an earlier run has left of it. Where that turns out to be something else, all of it.
fn fetch_file(
    remote: &RemoteUpload,
    entry: &FileEntry,
    folder: &Path,
    bar: &Bar,
) -> Result<(), FetchError> {
    let about = |message: &str| Failure::new(Exit::Data, format_args!("{} {message}", entry.name));
    let name: Result<SealedFile, _> = entry.name.parse();
    let name = name.map_err(|_| about("is no name of a segment: the record is damaged"))?;
    let path = folder.join(name.to_string());
    let failed = |error: io::Error| FetchError::from(Failure::io("write", &path, &error));
    let mut file = open(&path).map_err(failed)?;
    let mut kept = entry.size;
    loop {
        let (from, mut digest) = resume(&mut file, kept).map_err(failed)?;
        bar.advance(usize::try_from(from).unwrap_or(usize::MAX));
        let source = remote.open(name)?;
        if source.len() != entry.size {
            return Err(FetchError::Unopened(about(
                "has not the size in the record",
            )));
        }
        copy(&*source, from, &mut digest, &mut file, bar, &failed)?;
        if format!("{:016x}", digest.finalize()) == entry.crc64nvme {
            return file.sync_all().map_err(failed);
        }
        if from == 0 {
            return Err(FetchError::Unopened(about(
                "has not the checksum in the record: it is damaged on the server",
            )));
        }
        kept = 0;
    }
}

/// Goes behind what is there, at most `size` bytes, and gives how many there are with their checksum.
fn resume(file: &mut File, size: u64) -> io::Result<(u64, Digest)> {
    let kept = file.metadata()?.len().min(size);
    file.set_len(kept)?;
    file.rewind()?;
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    let mut piece = vec![0; PIECE];
    let mut read = 0;
    while read < kept {
        let size = file.read(&mut piece)?;
        if size == 0 {
            break;
        }
        digest.update(&piece[..size]);
        read += size as u64;
    }
    Ok((read, digest))
}

fn copy(
    source: &dyn ReadAt,
    from: u64,
    digest: &mut Digest,
    file: &mut File,
    bar: &Bar,
    failed: &impl Fn(io::Error) -> FetchError,
) -> Result<(), FetchError> {
    let mut at = from;
    let mut piece = vec![0; PIECE];
    loop {
        let size = source.read_at(&mut piece, at)?;
        if size == 0 {
            return Ok(());
        }
        digest.update(&piece[..size]);
        file.write_all(&piece[..size]).map_err(failed)?;
        bar.advance(size);
        at += size as u64;
    }
}
