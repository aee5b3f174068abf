//! `sealslot completions`: what a shell needs to complete command lines.

use std::any::TypeId;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory, ValueHint};
use clap_complete::Shell;

use super::{Cli, Failure, results};

/// Print a script that lets a shell complete Sealslot's command lines
///
/// It goes where the shell looks for such scripts, and is for this version of Sealslot: print it anew after an update.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot completions bash > ~/.local/share/bash-completion/completions/sealslot
  sealslot completions zsh > /usr/local/share/zsh/site-functions/_sealslot
  sealslot completions fish > ~/.config/fish/completions/sealslot.fish")]
pub(super) struct CompletionsArgs {
    /// The shell that it is for
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Runs `completions`.
pub(super) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    results::print(script(args.shell).trim_end())
}

fn script(shell: Shell) -> String {
    let mut command = hinted(Cli::command());
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "sealslot", &mut script);
    String::from_utf8(script).expect("commands and their descriptions are text")
}

/// The command and those below it, with what shells complete the values of its arguments with. Their value names say it.
fn hinted(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        if !arg.get_action().takes_values() {
            return arg;
        }
        let names = arg.get_value_names().unwrap_or_default();
        let hint = match names.first().map(clap::builder::Str::as_str) {
            // Where several may be named, folders are welcome too.
            Some("FILE") if !arg.is_positional() => ValueHint::FilePath,
            Some("IDENTITY" | "RECIPIENT") => ValueHint::FilePath,
            Some("FILE" | "IN" | "OUT") => ValueHint::AnyPath,
            Some("DIR") => ValueHint::DirPath,
            Some("URL") => ValueHint::Url,
            _ if is_path(&arg) => ValueHint::AnyPath,
            _ => ValueHint::Other,
        };
        arg.value_hint(hint)
    });
    command.mut_subcommands(hinted)
}

fn is_path(arg: &clap::Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<PathBuf>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands;
    use clap::ValueEnum;

    #[test]
    fn the_script_of_every_shell_names_every_command_and_option() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for (name, command) in commands() {
                let last = name.split(' ').next_back().unwrap();
                assert!(script.contains(last), "{shell} does not know {name}");
                for long in command.get_arguments().filter_map(clap::Arg::get_long) {
                    // fish has its options without the dashes.
                    assert!(script.contains(long), "{shell}: {name} has no --{long}");
                }
            }
        }
    }

    #[test]
    fn files_are_completed_where_files_are_meant_and_nowhere_else() {
        let all = commands();
        assert!(all.len() > 10);
        for (name, command) in all {
            let command = hinted(command);
            let all = command.get_arguments();
            for arg in all.filter(|arg| arg.get_action().takes_values()) {
                let hint = arg.get_value_hint();
                assert_ne!(hint, ValueHint::Unknown, "{name} {arg}");
                let completes_paths = matches!(
                    hint,
                    ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath
                );
                // A recipient is a key or a file of keys.
                let recipient = arg.get_long() == Some("recipient");
                assert_eq!(completes_paths, is_path(arg) || recipient, "{name} {arg}");
            }
        }
    }
}
