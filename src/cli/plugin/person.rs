//! Somebody at the terminal, asked on a plugin's behalf.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use zeroize::Zeroizing;

use super::dialogue::Person;
use crate::cli::passphrase::{is_attended, prompt};
use crate::cli::results::note;

/// Far more than anybody types.
const MAX_LINE: usize = 1000;
/// How often a choice that is none is asked for again.
const TRIES: usize = 3;

/// Whoever sits at the terminal. All that is shown says which plugin it comes from.
pub(super) struct Terminal<'a> {
    program: &'a str,
}

impl<'a> Terminal<'a> {
    pub(super) fn new(program: &'a str) -> Self {
        Self { program }
    }
}

impl Person for Terminal<'_> {
    fn tell(&mut self, text: &str) -> Option<()> {
        note(format_args!("{}: {text}", self.program));
        Some(())
    }

    fn ask(&mut self, text: &str, secret: bool) -> Option<Zeroizing<String>> {
        let text = format!("{}: {text}: ", self.program);
        if secret {
            return prompt(&text).ok();
        }
        ask_openly(&text)
    }

    fn choose(&mut self, text: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let choices = match no {
            Some(no) => format!("y: {yes}, n: {no}"),
            None => format!("y: {yes}"),
        };
        let text = format!("{}: {text} ({choices}): ", self.program);
        for _ in 0..TRIES {
            match ask_openly(&text)?.trim() {
                "y" | "Y" => return Some(true),
                "n" | "N" if no.is_some() => return Some(false),
                _ => {}
            }
        }
        None
    }
}

/// Asks on the terminal itself: stdin may be what is to be opened, and stdout where it goes.
fn ask_openly(text: &str) -> Option<Zeroizing<String>> {
    if !is_attended() {
        return None;
    }
    let mut terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .ok()?;
    terminal.write_all(text.as_bytes()).ok()?;
    read_line(&mut terminal)
}

fn read_line(terminal: &mut File) -> Option<Zeroizing<String>> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE));
    let mut byte = [0];
    while line.len() < MAX_LINE {
        if terminal.read(&mut byte).ok()? == 0 || byte == *b"\n" {
            let text = str::from_utf8(&line).ok()?;
            return Some(Zeroizing::new(text.to_owned()));
        }
        line.extend_from_slice(&byte);
    }
    None
}
