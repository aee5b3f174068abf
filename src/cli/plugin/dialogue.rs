//! The state machine `identity-v1` (C2SP age-plugin, "Unwrapping with `identity-v1`"), from the client's side.

use data_encoding::BASE64_NOPAD;
use zeroize::{Zeroize, Zeroizing};

use super::PluginError;
use crate::cli::restored_name::printable;
use crate::seal::{FileKey, Stanza};

/// The most commands that a plugin gives for one header. Each asks for something; more are a loop.
const MAX_COMMANDS: usize = 1000;
/// The longest text of a plugin's that is shown, in characters.
const MAX_TEXT: usize = 2000;

/// The two directions to a plugin.
pub(super) trait Channel {
    /// Says something. That it was heard, only an answer tells.
    fn send(&mut self, stanza: &Stanza) -> Result<(), PluginError>;
    /// Waits for the next command.
    fn receive(&mut self) -> Result<Stanza, PluginError>;
}

/// Whom a plugin may ask. `None` is the answer where nobody is there, or nobody answers.
pub(super) trait Person {
    /// Shows a text.
    fn tell(&mut self, text: &str) -> Option<()>;
    /// Asks for a line; a secret one is not shown while it is typed.
    fn ask(&mut self, text: &str, secret: bool) -> Option<Zeroizing<String>>;
    /// Asks whether `yes`, or `no` where there is such a choice.
    fn choose(&mut self, text: &str, yes: &str, no: Option<&str>) -> Option<bool>;
}

/// Has a plugin look for the file key in the stanzas of one header. `None`: it has no key for any.
pub(super) fn unwrap(
    channel: &mut impl Channel,
    person: &mut impl Person,
    program: &str,
    identity: &str,
    stanzas: &[Stanza],
) -> Result<Option<FileKey>, PluginError> {
    let protocol = |what| PluginError::Protocol {
        program: program.to_owned(),
        what,
    };
    // Phase 1 is ours: one identity, and one file of the index 0.
    channel.send(&command(&["add-identity", identity], &[]))?;
    for stanza in stanzas {
        let mut args = vec!["recipient-stanza".to_owned(), "0".to_owned()];
        args.extend_from_slice(&stanza.args);
        let body = stanza.body.clone();
        channel.send(&Stanza { args, body })?;
    }
    channel.send(&command(&["done"], &[]))?;

    // Phase 2 is the plugin's.
    let (mut file_key, mut refusal) = (None, None);
    for _ in 0..MAX_COMMANDS {
        let Stanza { args, body } = channel.receive()?;
        let body = Zeroizing::new(body);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let answer = match args.as_slice() {
            ["done"] => {
                return match (file_key, refusal) {
                    (None, Some(message)) => Err(PluginError::Refused {
                        program: program.to_owned(),
                        message,
                    }),
                    (file_key, _) => Ok(file_key),
                };
            }
            ["file-key", "0"] if file_key.is_none() => {
                let key = FileKey::try_from(body.as_slice());
                file_key = Some(key.map_err(|_| protocol("a file key that is none"))?);
                command(&["ok"], &[])
            }
            ["file-key", ..] => return Err(protocol("a file key that was not asked for")),
            // What is wrong with one stanza or identity does not keep it from sending a key for another.
            ["error", ..] => {
                refusal.get_or_insert(text(&body));
                command(&["ok"], &[])
            }
            _ => asked(person, &args, &body).map_err(protocol)?,
        };
        channel.send(&Erased(answer).0)?;
    }
    Err(protocol("commands without an end"))
}

/// The answer to a command that is for a person.
fn asked(person: &mut impl Person, args: &[&str], body: &[u8]) -> Result<Stanza, &'static str> {
    let body = text(body);
    let answer = match args {
        ["msg", ..] => person.tell(&body).map(|()| command(&["ok"], &[])),
        ["confirm", yes, no @ ..] if no.len() <= 1 => {
            let no = no.first().map(|no| choice(no)).transpose()?;
            let chosen = person.choose(&body, &choice(yes)?, no.as_deref());
            chosen.map(|yes| command(&["ok", if yes { "yes" } else { "no" }], &[]))
        }
        [kind @ ("request-public" | "request-secret"), ..] => {
            let answer = person.ask(&body, *kind == "request-secret");
            answer.map(|answer| command(&["ok"], answer.as_bytes()))
        }
        _ => return Ok(command(&["unsupported"], &[])),
    };
    Ok(answer.unwrap_or_else(|| command(&["fail"], &[])))
}

fn choice(argument: &str) -> Result<String, &'static str> {
    let choice = BASE64_NOPAD.decode(argument.as_bytes());
    choice
        .map(|choice| text(&choice))
        .map_err(|_| "a choice that is not base64")
}

/// An answer, which may hold a secret.
struct Erased(Stanza);

impl Drop for Erased {
    fn drop(&mut self) {
        self.0.body.zeroize();
    }
}

fn command(args: &[&str], body: &[u8]) -> Stanza {
    Stanza {
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        body: body.to_vec(),
    }
}

/// A plugin's text, on one line and without what a terminal would act on.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text
        .trim()
        .replace('\n', " ")
        .chars()
        .take(MAX_TEXT)
        .collect();
    printable(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const KEY: &[u8; 16] = b"sixteen bytes!!!";

    /// A plugin that says what it was told to say.
    #[derive(Default)]
    struct Script {
        heard: Vec<Stanza>,
        says: VecDeque<Stanza>,
        repeats: bool,
    }

    impl Channel for Script {
        fn send(&mut self, stanza: &Stanza) -> Result<(), PluginError> {
            self.heard.push(stanza.clone());
            Ok(())
        }

        fn receive(&mut self) -> Result<Stanza, PluginError> {
            let next = self.says.pop_front();
            let next = next.ok_or_else(|| PluginError::Ended("p".to_owned()))?;
            if self.repeats {
                self.says.push_back(next.clone());
            }
            Ok(next)
        }
    }

    /// Somebody who says yes to all, and whose PIN is 1234; or nobody.
    #[derive(Default)]
    struct Somebody {
        away: bool,
        seen: Vec<String>,
    }

    impl Person for Somebody {
        fn tell(&mut self, text: &str) -> Option<()> {
            self.seen.push(text.to_owned());
            (!self.away).then_some(())
        }

        fn ask(&mut self, text: &str, secret: bool) -> Option<Zeroizing<String>> {
            self.seen.push(format!("{text} {secret}"));
            (!self.away).then(|| Zeroizing::new("1234".to_owned()))
        }

        fn choose(&mut self, text: &str, yes: &str, no: Option<&str>) -> Option<bool> {
            self.seen.push(format!("{text} {yes} {no:?}"));
            (!self.away).then_some(no.is_none())
        }
    }

    fn run(
        says: &[(&[&str], &[u8])],
        person: &mut Somebody,
    ) -> (Result<Option<FileKey>, PluginError>, Vec<Stanza>) {
        let says = says.iter().map(|(args, body)| command(args, body));
        let mut script = Script {
            says: says.collect(),
            ..Script::default()
        };
        let stanzas = [
            command(&["X25519", "share"], b"body"),
            command(&["grease"], b""),
        ];
        let answer = unwrap(
            &mut script,
            person,
            "age-plugin-p",
            "AGE-PLUGIN-P-1",
            &stanzas,
        );
        (answer, script.heard)
    }

    #[test]
    fn a_plugin_hears_all_stanzas_and_its_file_key_is_taken() {
        let says: [(&[&str], &[u8]); 3] = [
            (&["grease-1", "x"], b"odd"),
            (&["file-key", "0"], KEY),
            (&["done"], b""),
        ];
        let (answer, heard) = run(&says, &mut Somebody::default());
        assert_eq!(answer.unwrap().unwrap().expose(), KEY);
        let expected = [
            command(&["add-identity", "AGE-PLUGIN-P-1"], b""),
            command(&["recipient-stanza", "0", "X25519", "share"], b"body"),
            command(&["recipient-stanza", "0", "grease"], b""),
            command(&["done"], b""),
            command(&["unsupported"], b""),
            command(&["ok"], b""),
        ];
        assert_eq!(heard, expected);
        assert!(
            run(&says[2..], &mut Somebody::default())
                .0
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_person_is_asked_and_shown_only_what_is_printable() {
        let yes = BASE64_NOPAD.encode(b"insert it");
        let no = BASE64_NOPAD.encode(b"skip");
        let says: [(&[&str], &[u8]); 6] = [
            (&["msg"], b"touch\nit \x1b[31m"),
            (&["request-secret"], b"PIN?"),
            (&["request-public"], b"name?"),
            (&["confirm", &yes], b"there?"),
            (&["confirm", &yes, &no], b"there?"),
            (&["done"], b""),
        ];
        let mut person = Somebody::default();
        let (answer, heard) = run(&says, &mut person);
        assert!(answer.unwrap().is_none());
        let seen = [
            "touch it \\u{1b}[31m",
            "PIN? true",
            "name? false",
            "there? insert it None",
            "there? insert it Some(\"skip\")",
        ];
        assert_eq!(person.seen, seen);
        let answers = [
            command(&["ok"], b""),
            command(&["ok"], b"1234"),
            command(&["ok"], b"1234"),
            command(&["ok", "yes"], b""),
            command(&["ok", "no"], b""),
        ];
        assert_eq!(heard[4..], answers);

        let mut nobody = Somebody {
            away: true,
            ..Somebody::default()
        };
        let (_, heard) = run(&says, &mut nobody);
        assert_eq!(heard[4..], [(); 5].map(|()| command(&["fail"], b"")));
    }

    #[test]
    fn an_error_is_told_unless_a_key_comes_all_the_same() {
        let error: (&[&str], &[u8]) = (&["error", "identity", "0"], b"no card\x07");
        let done: (&[&str], &[u8]) = (&["done"], b"");
        let (answer, heard) = run(&[error, done], &mut Somebody::default());
        let line = answer.err().unwrap().to_string();
        assert_eq!(line, "the plugin age-plugin-p reports: no card\\u{7}");
        assert_eq!(heard[4..], [command(&["ok"], b"")]);
        let (answer, _) = run(
            &[error, (&["file-key", "0"], KEY), done],
            &mut Somebody::default(),
        );
        assert!(answer.unwrap().is_some());
    }

    #[test]
    fn what_breaks_the_protocol_is_no_key() {
        let key: (&[&str], &[u8]) = (&["file-key", "0"], KEY);
        let cases: [&[(&[&str], &[u8])]; 5] = [
            &[(&["file-key", "0"], b"short")],
            &[(&["file-key", "1"], KEY)],
            &[key, key],
            &[(&["confirm", "?"], b"")],
            &[key],
        ];
        for says in cases {
            assert!(run(says, &mut Somebody::default()).0.is_err());
        }
        let mut endless = Script {
            says: [command(&["msg"], b"again")].into(),
            repeats: true,
            ..Script::default()
        };
        let answer = unwrap(&mut endless, &mut Somebody::default(), "p", "I", &[]);
        assert!(matches!(answer, Err(PluginError::Protocol { .. })));
    }
}
