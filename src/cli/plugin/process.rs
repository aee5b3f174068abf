//! A plugin as a process: found, started, spoken with over its stdin and stdout, and ended.

use std::env;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::PluginError;
use super::dialogue::Channel;
use crate::cli::passphrase::is_attended;
use crate::cli::results::note;
use crate::seal::Stanza;

/// The longest command of a plugin's, in bytes: a file key has 16, and texts are for people.
const MAX_COMMAND: usize = 64 << 10;
/// How long a plugin may be silent where there is nobody that it could be waiting for.
const UNATTENDED: Duration = Duration::from_mins(1);
/// After how long somebody is told what is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to end when it was told that all is done.
const ENDING: Duration = Duration::from_secs(5);

/// The program of the plugin of that name.
pub(super) fn program(name: &str) -> String {
    format!("age-plugin-{name}")
}

/// A plugin that runs. Ended when dropped, by force where it does not end by itself.
pub(super) struct Process {
    program: String,
    child: Child,
    /// Dropped to close its stdin.
    to: Option<Sender<Zeroizing<Vec<u8>>>>,
    from: Receiver<Stanza>,
}

impl Process {
    /// Starts the plugin to unwrap file keys.
    pub(super) fn start(program: &str) -> Result<Self, PluginError> {
        let path = find(program).ok_or_else(|| PluginError::Missing(program.to_owned()))?;
        let failed = |error| PluginError::Start(program.to_owned(), error);
        let mut command = Command::new(path);
        command
            .arg("--age-plugin=identity-v1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // As with age: what it has to say, it says by the protocol.
            .stderr(if is_debugged() {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            // It may rely on no folder, and keeps none busy.
            .current_dir("/");
        // Our own secrets and settings are no plugin's.
        for (name, _) in env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"SEALSLOT_") {
                command.env_remove(name);
            }
        }
        let mut child = command.spawn().map_err(failed)?;
        let (to, messages) = channel();
        let (commands, from) = sync_channel(1);
        if let Some(stdin) = child.stdin.take() {
            thread::spawn(move || write_all(stdin, &messages));
        }
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || read_all(stdout, &commands));
        }
        Ok(Self {
            program: program.to_owned(),
            child,
            to: Some(to),
            from,
        })
    }

    fn ended(&self) -> PluginError {
        PluginError::Ended(self.program.clone())
    }
}

impl Channel for Process {
    fn send(&mut self, stanza: &Stanza) -> Result<(), PluginError> {
        let protocol = |_| PluginError::Protocol {
            program: self.program.clone(),
            what: "it is to be told what cannot be written",
        };
        let bytes = Zeroizing::new(stanza.encode().map_err(protocol)?);
        let to = self.to.as_ref().ok_or_else(|| self.ended())?;
        to.send(bytes).map_err(|_| self.ended())
    }

    fn receive(&mut self) -> Result<Stanza, PluginError> {
        let first = match self.from.recv_timeout(PATIENCE) {
            Err(RecvTimeoutError::Timeout) if is_attended() => {
                note(format_args!("waiting for {}", self.program));
                // It may be waiting for a touch, for as long as it likes; whoever is here can stop it.
                return self.from.recv().map_err(|_| self.ended());
            }
            Err(RecvTimeoutError::Timeout) => self.from.recv_timeout(UNATTENDED),
            received => received,
        };
        first.map_err(|error| match error {
            RecvTimeoutError::Timeout => PluginError::Silent(self.program.clone()),
            RecvTimeoutError::Disconnected => self.ended(),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.to = None;
        let end = Instant::now() + ENDING;
        while Instant::now() < end {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_all(mut stdin: ChildStdin, messages: &Receiver<Zeroizing<Vec<u8>>>) {
    // It may end before it has heard everything: then its commands end too.
    while let Ok(message) = messages.recv() {
        if stdin.write_all(&message).is_err() {
            return;
        }
    }
}

/// Ends, and with it the channel, where the plugin ends or says what is no stanza.
fn read_all(mut stdout: ChildStdout, commands: &SyncSender<Stanza>) {
    // Of the largest size at once, so that no copy of a key is left behind by growing.
    let mut bytes = Zeroizing::new(vec![0; MAX_COMMAND]);
    let mut filled = 0;
    loop {
        match Stanza::parse(&bytes[..filled]) {
            Ok(Some((stanza, size))) => {
                bytes.copy_within(size..filled, 0);
                filled -= size;
                if commands.send(stanza).is_err() {
                    return;
                }
            }
            Ok(None) if filled < MAX_COMMAND => match stdout.read(&mut bytes[filled..]) {
                Ok(0) | Err(_) => return,
                Ok(size) => filled += size,
            },
            _ => return,
        }
    }
}

/// The program's file, in the first folder of `PATH` that has one. Folders that depend on where the command runs are
/// passed over: somebody else may have put a program there.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders = env::split_paths(&path).filter(|folder| folder.is_absolute());
    folders
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Whether the user asks, as with age, to see what plugins print.
fn is_debugged() -> bool {
    env::var_os("AGEDEBUG").is_some_and(|value| value == "plugin")
}
