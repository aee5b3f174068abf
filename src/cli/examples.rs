//! The command lines that each command's `--help` and man page end with.
//!
//! A command declares them where it declares its arguments, one a line, each indented by two spaces:
//!
//! ```text
//! #[command(after_long_help = "Examples:
//!   sealslot keygen
//!   sealslot keygen -o backup.pem --passphrase")]
//! ```
//!
//! A test holds every command to it, and parses every line.

/// What stands before them.
pub(super) const HEADING: &str = "Examples:";
/// What they are indented by.
const INDENT: &str = "  ";

/// The examples of a command, as a shell takes them, and the text that stands before them.
pub(super) fn split(command: &clap::Command) -> (String, Vec<String>) {
    let help = command.get_after_long_help();
    let help = help.map(ToString::to_string).unwrap_or_default();
    let (before, lines) = help.split_once(HEADING).unwrap_or((&help, ""));
    let lines = lines.lines().filter_map(|line| line.strip_prefix(INDENT));
    (before.trim().to_owned(), lines.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, commands};
    use clap::Parser;

    /// Those simple commands of a command line that are Sealslot's, as words.
    fn own(line: &str) -> Vec<Vec<String>> {
        let words = shlex::split(line).unwrap_or_else(|| panic!("no shell takes {line}"));
        let mut own = Vec::new();
        for command in words.split(|word| ["|", "&&", ";"].contains(&&word[..])) {
            let mut kept = Vec::new();
            let mut words = command.iter();
            while let Some(word) = words.next() {
                if [">", "<"].contains(&&word[..]) {
                    words.next().expect("a redirection names a file");
                } else {
                    kept.push(word.clone());
                }
            }
            if kept.first().is_some_and(|program| program == "sealslot") {
                own.push(kept);
            }
        }
        own
    }

    #[test]
    fn every_command_shows_up_to_three_examples_of_itself() {
        let commands = commands();
        assert!(commands.len() > 10);
        for (name, command) in commands {
            let (_, lines) = split(&command);
            assert!((1..=3).contains(&lines.len()), "{name} shows {lines:?}");
            for line in &lines {
                assert!(line.len() <= 118, "{name}: too long for a terminal: {line}");
                let of_it = format!("{name} ");
                let shown = own(line).iter().any(|words| {
                    let words = words.join(" ") + " ";
                    words.starts_with(&of_it)
                });
                assert!(shown, "{name} shows one of another command: {line}");
            }
        }
    }

    #[test]
    fn every_example_is_a_command_line_that_is_understood() {
        for (name, command) in commands() {
            for line in split(&command).1 {
                for words in own(&line) {
                    if let Err(error) = Cli::try_parse_from(&words) {
                        panic!("{name} shows {line}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn examples_are_in_the_long_help_and_the_short_one_stays_short() {
        for (name, mut command) in commands() {
            let long = command.render_long_help().to_string();
            assert!(long.contains(HEADING), "{name}");
            let short = command.render_help().to_string();
            assert!(!short.contains(HEADING), "{name}");
        }
    }

    #[test]
    fn a_line_of_several_programs_is_taken_apart() {
        let of = own("pg_dump x | sealslot seal -r 'a b' > out && sealslot serve");
        assert_eq!(
            of,
            [
                &["sealslot", "seal", "-r", "a b"][..],
                &["sealslot", "serve"]
            ]
        );
    }
}
