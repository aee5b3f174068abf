//! Programs of others: found by looking into folders, run with arguments and never by a shell.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where systems have them.
const FOLDERS: [&str; 6] = [
    "usr/sbin",
    "usr/bin",
    "sbin",
    "bin",
    "usr/local/sbin",
    "usr/local/bin",
];

/// How long one may take: a store of some hundred certificates is built in seconds; a password may have to be typed.
const PATIENCE: Duration = Duration::from_mins(3);
/// What is read of what one prints, in bytes.
const MAX_OUTPUT: u64 = 8 << 20;

/// Where programs are looked for.
#[derive(Debug)]
pub(in crate::cli::certs) struct Programs {
    folders: Vec<PathBuf>,
}

impl Programs {
    /// Below the root in the folders of a system, then in `more`.
    pub(in crate::cli::certs) fn of(root: &Path, more: Vec<PathBuf>) -> Self {
        let usual = FOLDERS.iter().map(|folder| root.join(folder));
        Self {
            folders: usual.chain(more).collect(),
        }
    }

    /// The absolute path of a program that may be run.
    pub(in crate::cli::certs) fn find(&self, name: &str) -> Option<PathBuf> {
        let paths = self.folders.iter().map(|folder| folder.join(name));
        let mut runnable = paths.filter(|path| {
            fs::metadata(path)
                .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
        });
        runnable.next()
    }
}

/// What a program that ran has said.
#[derive(Debug)]
pub(in crate::cli::certs) struct Ran {
    pub(in crate::cli::certs) success: bool,
    pub(in crate::cli::certs) stdout: String,
    pub(in crate::cli::certs) stderr: String,
}

/// Runs a program to its end, with `input` on its stdin. It is ended after three minutes.
pub(in crate::cli::certs) fn run(
    program: &OsStr,
    arguments: &[OsString],
    input: &[u8],
) -> io::Result<Ran> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let input = input.to_vec();
    // Threads, so that neither side waits for the other with a full pipe. One that does not read its input says why itself.
    let writer = thread::spawn(move || stdin.map(|mut pipe| pipe.write_all(&input)));
    let (stdout, stderr) = (reader(stdout), reader(stderr));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(Duration::from_millis(5));
    };
    let _ = writer.join();
    Ok(Ran {
        success: status.success(),
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
    })
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.by_ref().take(MAX_OUTPUT).read_to_end(&mut bytes);
            let _ = io::copy(&mut pipe, &mut io::sink());
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
