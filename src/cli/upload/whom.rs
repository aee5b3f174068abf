//! Whom to seal to on this machine: keys that are given, or those that the server names, as far as they are known.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::{Duration, Instant};

use http::Method;

use super::SealOptions;
use super::pins::{Fingerprints, PinError, Pins};
use super::state::folder_of_user;
use crate::cli::client::backoff::Backoff;
use crate::cli::client::{Access, ServerError};
use crate::cli::restored_name::printable;
use crate::cli::results::note;
use crate::cli::{Exit, Failure};
use crate::keys::{self, NamedRecipient};

/// No server seals to more keys, and each costs a place in every file.
const MAX_KEYS: usize = 64;

/// The keys to seal to. Asks the server, and perhaps whoever sits at the terminal.
pub(super) async fn recipients(
    options: &SealOptions,
    access: &Access,
    patience: Duration,
    may_ask: bool,
) -> Result<Vec<NamedRecipient>, Failure> {
    if !options.recipients.is_empty() {
        let mut given = Vec::new();
        for argument in &options.recipients {
            given.extend(keys::read_recipients(argument)?);
        }
        keys::check_together(&given)?;
        show("sealing to", &given);
        return Ok(given);
    }
    let named = ask_server(access, patience).await?;
    let (place, pins) = (access.endpoint().place(), Pins::of(folder_of_user()?));
    Decision {
        place,
        shows: fingerprints(&named),
        known: pins.known(&access.endpoint().place())?,
        pins,
    }
    .make(options, &named, may_ask)?;
    Ok(named)
}

async fn ask_server(access: &Access, patience: Duration) -> Result<Vec<NamedRecipient>, Failure> {
    let path = access.endpoint().recipients_path().ok_or_else(|| {
        Failure::usage(
            "it is not clear where this server names its keys: give them with -r RECIPIENT",
        )
    })?;
    let mut server = access.connection()?;
    let mut backoff = Backoff::new(patience);
    let answer = loop {
        let error = match server.ask(Method::GET, &path, None).await {
            Ok(answer) => break answer,
            Err(error) => error,
        };
        let asked = match &error {
            ServerError::Refused { retry_after, .. } => *retry_after,
            _ => None,
        };
        let wait = error.is_passing();
        let wait = wait.then(|| backoff.after_failure(Instant::now(), asked));
        let Some(Some(wait)) = wait else {
            return Err(Failure::from(error).about("the keys of the server"));
        };
        tokio::time::sleep(wait).await;
    };
    let about = |failure: Failure| failure.about("the keys of the server");
    let text = String::from_utf8(answer.body);
    let text = text.map_err(|_| about(ServerError::Nonsense.into()))?;
    let named = keys::parse_recipients(&text).map_err(|error| about(error.into()))?;
    if named.len() > MAX_KEYS {
        let line = format_args!("there are {}, more than {MAX_KEYS}", named.len());
        return Err(about(Failure::new(Exit::Other, line)));
    }
    keys::check_together(&named).map_err(|error| about(error.into()))?;
    Ok(named)
}

/// What is known of a place, and what it shows now.
struct Decision {
    place: String,
    shows: Fingerprints,
    known: Option<Fingerprints>,
    pins: Pins,
}

impl Decision {
    /// Whether to seal to what is shown. It is known afterwards.
    fn make(
        self,
        options: &SealOptions,
        named: &[NamedRecipient],
        may_ask: bool,
    ) -> Result<(), Failure> {
        if !options.accept_keys.is_empty() {
            return self.compare_with_given(options, named);
        }
        match &self.known {
            Some(known) if *known == self.shows => {
                show("sealing to the known keys of the server", named);
                Ok(())
            }
            Some(known) => Err(self.changed(known, named)),
            None => self.first_time(options, named, may_ask),
        }
    }

    /// Somebody has said which keys it has to be.
    fn compare_with_given(
        self,
        options: &SealOptions,
        named: &[NamedRecipient],
    ) -> Result<(), Failure> {
        let given: Fingerprints = options.accept_keys.iter().cloned().collect();
        if given != self.shows {
            show("the server names", named);
            let line = format_args!(
                "the server has other keys than --accept-keys says ({}): nothing was sent; ask the receiver for the fingerprints",
                listed(&given)
            );
            return Err(Failure::new(Exit::Refused, line));
        }
        show("sealing to the keys that --accept-keys names", named);
        if self.known.as_ref() != Some(&self.shows) {
            self.pins.pin(&self.place, self.shows)?;
        }
        Ok(())
    }

    fn changed(&self, known: &Fingerprints, named: &[NamedRecipient]) -> Failure {
        note("sealslot: THE KEYS OF THIS SERVER ARE NOT THOSE THAT THEY WERE.");
        note(
            "sealslot: Its receiver may have new ones, or somebody else wants to read what you send. Nothing was sent.",
        );
        note(format_args!(
            "sealslot: known from before: {}",
            listed(known)
        ));
        show("the server names now", named);
        let line = format_args!(
            "{} has other keys than before: ask the receiver, by another way than through this server, for the fingerprints; \
             if they are those above, give --accept-keys '{}'. What is known stands in {}",
            server_of(&self.place),
            listed(&self.shows),
            self.pins.path().display()
        );
        Failure::new(Exit::Refused, line)
    }

    fn first_time(
        self,
        options: &SealOptions,
        named: &[NamedRecipient],
        may_ask: bool,
    ) -> Result<(), Failure> {
        show("the server, from which no keys are known yet, names", named);
        if !(options.accept_new || may_ask && confirmed()) {
            let line = format_args!(
                "nobody has said that these are the receiver's keys: compare them with what the receiver says, and give \
                 --accept-keys '{}'; or --accept-new, to trust what {} names the first time",
                listed(&self.shows),
                server_of(&self.place)
            );
            return Err(Failure::new(Exit::Refused, line));
        }
        self.pins.pin(&self.place, self.shows)?;
        note(format_args!(
            "sealslot: from now on these are its known keys, in {}",
            self.pins.path().display()
        ));
        Ok(())
    }
}

/// Asks whoever sits at the terminal.
fn confirmed() -> bool {
    let mut stderr = io::stderr();
    let asked = write!(
        stderr,
        "Seal to these keys, and know them from now on? [y/N] "
    );
    if asked.and_then(|()| stderr.flush()).is_err() {
        return false;
    }
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Whether there is anybody to ask.
pub(super) fn has_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Lists keys for people.
fn show(what: &str, named: &[NamedRecipient]) {
    note(format_args!("sealslot: {what}:"));
    for recipient in named {
        let comment = recipient.comment().map(printable).unwrap_or_default();
        let weak = if recipient.is_weak() {
            " (a weak key: it has fewer bits than it should)"
        } else {
            ""
        };
        let line = format!("{}{weak} {comment}", recipient.fingerprint());
        note(format_args!("sealslot:   {}", line.trim_end()));
    }
}

fn fingerprints(named: &[NamedRecipient]) -> Fingerprints {
    named.iter().map(NamedRecipient::fingerprint).collect()
}

fn listed(keys: &Fingerprints) -> String {
    let keys: Vec<_> = keys.iter().map(|key| printable(key)).collect();
    keys.join(" ")
}

/// Of a place, what people know.
fn server_of(place: &str) -> &str {
    place.split('/').next().unwrap_or(place)
}

impl From<PinError> for Failure {
    fn from(error: PinError) -> Self {
        Self::from_error(Exit::Other, &error)
    }
}
