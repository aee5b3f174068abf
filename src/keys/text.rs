//! The two shapes of a key file: one PEM block, or lines with a key each.

use super::{KeyError, Place};

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// A PEM block (RFC 7468), from its BEGIN to its END line.
pub(super) struct PemBlock<'a> {
    /// What stands between `BEGIN` and the dashes.
    pub(super) label: &'a str,
    /// The whole block.
    pub(super) text: &'a str,
}

impl PemBlock<'_> {
    /// What the block is, for messages. An odd label is not repeated, since it could be anything.
    pub(super) fn description(&self) -> String {
        let known = self.label.len() <= 40
            && self
                .label
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b' ');
        match self.label {
            "AGE ENCRYPTED FILE" => SEALED.to_owned(),
            label if known => format!("a PEM block of the type {label}"),
            _ => "a PEM block of an unknown type".to_owned(),
        }
    }
}

/// What one line of a key file is.
pub(super) enum KeyLine<'a> {
    /// `ssh-rsa`, and what follows it: base64 and a comment.
    SshRsa(&'a str),
    /// `age1...`
    AgeRecipient(&'a str),
    /// `age1pq1...`
    HybridRecipient(&'a str),
    /// `AGE-SECRET-KEY-1...`
    AgeIdentity(&'a str),
    /// `AGE-SECRET-KEY-PQ-1...`
    HybridIdentity(&'a str),
    /// `AGE-PLUGIN-NAME-1...`
    PluginIdentity(&'a str),
    /// Something that is known, but of no use here.
    Foreign { found: String, private: bool },
    /// Anything else.
    Unknown,
}

/// What a file is that is sealed, and not with a passphrase.
pub(super) const SEALED: &str = "sealed with age (open it with `age -d` first)";

/// The PEM block in `text`, or `None` where `text` is made of lines.
///
/// Text around the block is explanatory (RFC 7468, section 5.2) and skipped, unless it has keys too.
pub(super) fn pem_block<'a>(
    text: &'a str,
    place: &Place,
) -> Result<Option<PemBlock<'a>>, KeyError> {
    let Some(start) = find_begin(text) else {
        return Ok(None);
    };
    let (before, block) = text.split_at(start);
    let broken = || KeyError::Malformed {
        place: place.clone(),
        form: "a PEM block",
        source: None,
    };
    let label = &block[BEGIN.len()..];
    let label = &label[..label.find(DASHES).ok_or_else(broken)?];
    let end = format!("-----END {label}{DASHES}");
    let length = block.find(&end).ok_or_else(broken)? + end.len();
    let (block, after) = block.split_at(length);

    let holds_key = |line: &str| !matches!(classify(line.trim()), KeyLine::Unknown);
    if after.contains(BEGIN) || before.lines().chain(after.lines()).any(holds_key) {
        return Err(KeyError::Mixed {
            place: place.clone(),
        });
    }
    Ok(Some(PemBlock { label, text: block }))
}

/// Where a line begins with `BEGIN`, white space aside. Inside a line it is a part of a comment.
fn find_begin(text: &str) -> Option<usize> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        if trimmed.starts_with(BEGIN) {
            return Some(start + line.len() - trimmed.len());
        }
        start += line.len();
    }
    None
}

/// The lines of `text` that should be keys, each with its place: those that are neither blank nor a `#` comment.
pub(super) fn key_lines<'a>(
    text: &'a str,
    place: &'a Place,
) -> impl Iterator<Item = (&'a str, Place)> {
    let several = text.trim().contains('\n');
    text.lines().enumerate().filter_map(move |(index, line)| {
        let line = line.trim();
        let place = if several {
            place.line(index + 1)
        } else {
            place.clone()
        };
        (!line.is_empty() && !line.starts_with('#')).then_some((line, place))
    })
}

/// Tells what a line is by how it begins.
pub(super) fn classify(line: &str) -> KeyLine<'_> {
    let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let foreign = |found: &str, private| KeyLine::Foreign {
        found: found.to_owned(),
        private,
    };
    if first == "ssh-rsa" {
        return KeyLine::SshRsa(rest);
    }
    if is_ssh_type(first) {
        return foreign(&format!("a key of the type {first}"), false);
    }
    if let Some(data) = line.strip_prefix("age1") {
        if data.starts_with("pq1") {
            return KeyLine::HybridRecipient(line);
        }
        // A Bech32 prefix ends at the last 1, so one more means that the prefix goes on.
        if data.contains('1') {
            return foreign(
                "an age plugin's recipient (plugins only open: ask its owner for a key that needs none)",
                false,
            );
        }
        return KeyLine::AgeRecipient(line);
    }
    if starts_with_ignoring_case(line, "AGE-SECRET-KEY-PQ-1") {
        return KeyLine::HybridIdentity(line);
    }
    if starts_with_ignoring_case(line, "AGE-SECRET-KEY-") {
        return KeyLine::AgeIdentity(line);
    }
    if starts_with_ignoring_case(line, "AGE-PLUGIN-") {
        return KeyLine::PluginIdentity(line);
    }
    if line.starts_with("PuTTY-User-Key-File-") {
        return foreign("a PuTTY key (export it as an OpenSSH key)", true);
    }
    if line.starts_with("age-encryption.org/") {
        return foreign(SEALED, false);
    }
    KeyLine::Unknown
}

/// Whether `word` has the form of an SSH key type: `ssh-ed25519`, `ecdsa-sha2-nistp256`, `sk-...@openssh.com`.
fn is_ssh_type(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"]
        .iter()
        .any(|prefix| word.starts_with(prefix))
        && word.len() <= 64
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-@._".contains(&byte))
}

fn starts_with_ignoring_case(line: &str, prefix: &str) -> bool {
    line.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
