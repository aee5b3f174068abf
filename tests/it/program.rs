//! The binary under test, and a folder to run it in.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use sealslot::seal::{self, Identity, Recipient};
use sealslot::store::S3Store;
use tempfile::TempDir;

use crate::client::PATIENCE;
use crate::store::new_bucket;

/// A key from the age test vectors (C2SP CCTV), and one that nothing here is sealed to.
const IDENTITY: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
const STRANGER: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

/// A folder of its own for each test, with an identity in `key` that opens what is sealed to [`Bench::recipient`], and
/// one in `stranger` that does not.
pub(crate) struct Bench {
    dir: TempDir,
    store: Option<String>,
    /// What is at `store`, opened when it is first asked for.
    pub(crate) opened: OnceLock<Arc<S3Store>>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// In memory, where there is such a place: for many small uploads that need not survive anything.
    pub(crate) fn in_memory() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::within(dir.unwrap())
    }

    fn within(dir: TempDir) -> Self {
        let bench = Self {
            dir,
            store: new_bucket(),
            opened: OnceLock::new(),
        };
        bench.write_private("key", IDENTITY);
        bench.write_private("stranger", STRANGER);
        bench
    }

    /// The bucket and prefix that its servers keep things in, where that is no folder.
    pub(crate) fn store_url(&self) -> Option<&str> {
        self.store.as_deref()
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).unwrap();
        path
    }

    pub(crate) fn write_private(&self, name: &str, contents: &str) {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(self.path(name)).unwrap();
        writeln!(file, "{contents}").unwrap();
    }

    pub(crate) fn read(&self, name: impl AsRef<Path>) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Everything in a folder, hidden files too, sorted.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Every file of the bench, however deep, with its contents.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut files, mut folders) = (Vec::new(), vec![self.path("")]);
        while let Some(folder) = folders.pop() {
            // What is staged may be gone at any moment.
            let Ok(entries) = fs::read_dir(folder) else {
                continue;
            };
            for path in entries.map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(contents) = fs::read(&path) {
                    files.push((path, contents));
                }
            }
        }
        files
    }

    pub(crate) fn identity() -> Identity {
        Identity::X25519(IDENTITY.parse().unwrap())
    }

    pub(crate) fn recipient() -> Recipient {
        Self::identity().to_recipient().unwrap()
    }

    pub(crate) fn recipient_text() -> String {
        let identity: seal::x25519::Identity = IDENTITY.parse().unwrap();
        identity.to_recipient().to_string()
    }

    pub(crate) fn command<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealslot"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SEALSLOT_") {
                command.env_remove(name);
            }
        }
        if let Some(store) = &self.store {
            command.env("SEALSLOT_STORE", store);
        }
        command.env("RUST_BACKTRACE", "1");
        // Nothing of a test stays with whoever runs it.
        command.env("XDG_STATE_HOME", self.path("state"));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran(self.command(args).output().unwrap())
    }

    /// The same for what is not about where the servers of this bench keep things.
    pub(crate) fn run_apart(&self, args: &[&str]) -> Ran {
        let mut command = self.command(args);
        command.env_remove("SEALSLOT_STORE");
        Ran::of(command)
    }

    /// Runs `serve`, which is to fail at once. Where it serves instead, it is ended, and that is no exit code.
    pub(crate) fn refuses_to_serve(&self, args: &[&str], environment: &[(&str, &str)]) -> Ran {
        let mut command = self.command(["serve"]);
        // Should it serve after all, then on no port that somebody else may have.
        command.env("SEALSLOT_LISTEN", "127.0.0.1:0");
        command.args(args).envs(environment.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = child.kill();
        Ran(child.wait_with_output().unwrap())
    }

    pub(crate) fn run_with_stdin(&self, args: &[&str], input: &[u8]) -> Ran {
        Ran::with_stdin(self.command(args), input)
    }
}

/// How a run ended.
pub(crate) struct Ran(Output);

impl Ran {
    pub(crate) fn of(mut command: Command) -> Self {
        Self(command.output().unwrap())
    }

    pub(crate) fn with_stdin(mut command: Command, input: &[u8]) -> Self {
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                // A command that refuses its arguments reads nothing.
                let _ = stdin.write_all(input);
            });
            child.wait_with_output().unwrap()
        });
        Self(output)
    }

    /// The command succeeded; gives its stdout.
    #[track_caller]
    pub(crate) fn ok(self) -> Vec<u8> {
        assert!(self.0.status.success(), "{}", self.stderr());
        self.0.stdout
    }

    /// The command failed with this exit code, nothing on stdout and one line on stderr; gives the line.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        let stderr = self.stderr();
        assert_eq!(self.0.status.code(), Some(code), "{stderr}");
        assert!(self.0.stdout.is_empty(), "{:?}", self.0.stdout);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.ends_with('\n'));
        assert!(!stderr.contains("panicked"), "{stderr}");
        let line = stderr.trim_end().strip_prefix("sealslot: ");
        line.expect("it says who speaks").to_owned()
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub(crate) fn stdout(&self) -> &[u8] {
        &self.0.stdout
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }
}
