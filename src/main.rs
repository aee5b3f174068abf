//! The `sealslot` binary: see the library for everything it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    sealslot::cli::run(std::env::args_os())
}
