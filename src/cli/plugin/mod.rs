//! age plugins: programs that open files with keys that are not files, like those of a YubiKey (C2SP age-plugin).
//!
//! | module | owns |
//! |---|---|
//! | `dialogue` | what is said to a plugin, and what it may answer: the state machine `identity-v1` |
//! | `process` | finding, starting and ending the program; what it may take of time and memory |
//! | `person` | asking somebody at the terminal on its behalf |
//!
//! A plugin is a program of the user's own, found in `PATH`, and runs as the user. What it says is still checked: it
//! may pass on what others wrote. It is told all stanzas of a header and gives a file key, or none. Sealing by plugins
//! (`recipient-v1`) is not done.

mod dialogue;
mod person;
mod process;

use std::io;
use std::sync::{Mutex, PoisonError};

use crate::keys::PluginIdentity;
use crate::seal::{FileKey, OpenError, Stanza, Unwrap};
use person::Terminal;
use process::Process;

/// Why a plugin gave no answer. Its own words are made printable.
#[derive(Debug, thiserror::Error)]
pub(super) enum PluginError {
    /// There is no such program.
    #[error("`{0}` is in no folder of PATH: install it")]
    Missing(String),
    /// The system did not start it.
    #[error("cannot start the plugin {0}")]
    Start(String, #[source] io::Error),
    /// It is gone, or does not listen.
    #[error("the plugin {0} ended before it was done: AGEDEBUG=plugin shows what it says")]
    Ended(String),
    /// It says nothing, and nobody is there whom it could wait for.
    #[error("the plugin {0} did not answer, and there is no terminal to ask somebody on")]
    Silent(String),
    /// It does not keep to the protocol.
    #[error("the plugin {program} does not speak the plugin protocol: {what}")]
    Protocol {
        /// Its name.
        program: String,
        /// What is wrong.
        what: &'static str,
    },
    /// It says that it could not.
    #[error("the plugin {program} reports: {message}")]
    Refused {
        /// Its name.
        program: String,
        /// Its words.
        message: String,
    },
}

/// An identity that a plugin opens files with.
pub(super) struct Plugin {
    identity: PluginIdentity,
    /// What it gave last, and for which stanzas: a file that is read twice is no reason to ask for a PIN twice.
    last: Mutex<Option<(Vec<Stanza>, FileKey)>>,
}

impl Plugin {
    /// Takes an identity. The plugin is started for each header that it is to open, as the protocol has it.
    pub(super) fn new(identity: PluginIdentity) -> Self {
        Self {
            identity,
            last: Mutex::new(None),
        }
    }
}

impl Unwrap for Plugin {
    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, OpenError> {
        // A person is asked one thing at a time.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((before, key)) = &*last
            && before == stanzas
        {
            return Ok(Some(key.duplicate()));
        }
        let PluginIdentity { name, line } = &self.identity;
        let program = process::program(name);
        let answer = Process::start(&program).and_then(|mut process| {
            let mut person = Terminal::new(&program);
            dialogue::unwrap(&mut process, &mut person, &program, line, stanzas)
        });
        let key = answer.map_err(|error| OpenError::External(error.into()))?;
        *last = key.as_ref().map(|key| (stanzas.to_vec(), key.duplicate()));
        Ok(key)
    }
}
