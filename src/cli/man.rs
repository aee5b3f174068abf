//! `sealslot man`: a man page for each command.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, roman};

use super::staged::{Staged, make_folder};
use super::{Cli, EXIT_CODES, Failure, examples, results};

const MODE: u32 = 0o644;

/// Write the man pages into a folder
///
/// That is sealslot.1, and sealslot-COMMAND.1 for each command, replacing what has these names. Prints their paths. They
/// say what --help says.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot man ~/.local/share/man/man1
  sealslot man /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// The folder for the pages, made where it is missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Runs `man`.
pub(super) fn run(args: &ManArgs) -> Result<(), Failure> {
    make_folder(&args.folder)?;
    for command in documented() {
        write(&args.folder, &command)?;
    }
    Ok(())
}

fn write(folder: &Path, command: &Command) -> Result<(), Failure> {
    let name = file_name(command);
    let path = folder.join(&name);
    let failed = |error: io::Error| Failure::io("write", &path, &error);
    let mut file = Staged::in_folder(folder)?;
    file.write_all(page(command).as_bytes()).map_err(failed)?;
    file.set_mode(MODE).map_err(failed)?;
    file.publish(Path::new(&name), true)?;
    results::print(path.display())
}

/// The commands that have a page: all but the `help` that clap adds to each, which would be another set of the same.
fn documented() -> Vec<Command> {
    let mut root = headed(Cli::command().disable_help_subcommand(true));
    root.build();
    let mut all = vec![root];
    let mut next = 0;
    while let Some(command) = all.get(next) {
        let below: Vec<_> = command.get_subcommands().cloned().collect();
        all.extend(below);
        next += 1;
    }
    all
}

/// Calls the commands below commands, as `--help` does.
fn headed(command: Command) -> Command {
    let command = command.subcommand_help_heading("COMMANDS");
    let command = command.subcommand_value_name("COMMAND");
    command.mut_subcommands(headed)
}

fn full_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

fn file_name(command: &Command) -> String {
    format!("{}.1", full_name(command))
}

fn page(command: &Command) -> String {
    let mut page = Vec::new();
    render(command, &mut page).expect("memory takes everything");
    plain(&String::from_utf8(page).expect("descriptions are text"))
}

/// In ASCII, whatever encoding the reader's system takes pages for, and with the characters that groff makes typographic
/// ones as they were typed: examples are copied.
fn plain(page: &str) -> String {
    let mut plain = String::with_capacity(page.len());
    for character in page.chars() {
        match character {
            '`' => plain.push_str(r"\(ga"),
            '^' => plain.push_str(r"\(ha"),
            '~' => plain.push_str(r"\(ti"),
            _ if character.is_ascii() => plain.push(character),
            _ => {
                write!(plain, r"\[u{:04X}]", u32::from(character)).expect("memory takes it");
            }
        }
    }
    plain
}

/// Not `Man::render`, which runs the lines of examples together.
fn render(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let man = Man::new(command.clone())
        .source(concat!("sealslot ", env!("CARGO_PKG_VERSION")))
        .manual("Sealslot");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(page)?;
    }
    let (before, lines) = examples::split(command);
    let mut rest = Roff::new();
    if let Some(codes) = before.strip_prefix(EXIT_CODES) {
        rest.control("SH", ["EXIT STATUS"]);
        as_they_are(&mut rest, codes.trim_start_matches('\n').lines());
    }
    rest.control("SH", ["EXAMPLES"]);
    as_they_are(&mut rest, lines.iter().map(String::as_str));
    if let Some(others) = see_also(full_name(command)) {
        rest.control("SH", ["SEE ALSO"]);
        rest.text(others);
    }
    rest.to_writer(page)
}

/// Each line on one of its own.
fn as_they_are<'a>(roff: &mut Roff, lines: impl Iterator<Item = &'a str>) {
    roff.control("nf", []);
    for line in lines {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

/// The pages above this one.
fn see_also(name: &str) -> Option<Vec<Inline>> {
    let ends = name.match_indices('-').map(|(end, _)| end);
    let above: Vec<_> = ends.map(|end| format!("{}(1)", &name[..end])).collect();
    (!above.is_empty()).then(|| vec![roman(above.join(", "))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands;
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn every_command_has_a_page_that_all_may_read() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("not/there/yet");
        let args = ManArgs { folder };
        run(&args).unwrap();
        // Once more over what is there.
        run(&args).unwrap();
        let there = fs::read_dir(&args.folder).unwrap().map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, MODE);
            entry.file_name().into_string().unwrap()
        });
        let there: BTreeSet<_> = there.collect();
        let wanted = commands().into_iter();
        let wanted: BTreeSet<_> = wanted
            .map(|(name, _)| name.replace(' ', "-") + ".1")
            .collect();
        assert_eq!(there, wanted);
    }

    #[test]
    fn a_page_has_its_sections_and_each_example_on_a_line() {
        for command in documented() {
            let page = page(&command);
            assert!(page.is_ascii());
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES"] {
                let found = page.contains(&format!("\n.SH {section}\n"));
                assert!(found, "{}: {section}", command.get_name());
            }
            let (_, examples) = page.split_once("\n.SH EXAMPLES\n.nf\n").unwrap();
            let (examples, _) = examples.split_once("\n.fi\n").unwrap();
            let (_, lines) = examples::split(&command);
            assert_eq!(examples.lines().count(), lines.len());
        }
    }

    #[test]
    fn what_is_typed_stays_what_it_is() {
        assert_eq!(plain("a~`^…"), r"a\(ti\(ga\(ha\[u2026]");
    }

    #[test]
    fn a_page_leads_to_those_above() {
        assert_eq!(see_also("sealslot"), None);
        let above = vec![roman("sealslot(1), sealslot-token(1)")];
        assert_eq!(see_also("sealslot-token-create"), Some(above));
    }
}
