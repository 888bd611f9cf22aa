//! `tare`: what every container on this host uses.

use std::process::ExitCode;

fn main() -> ExitCode {
    tare::main()
}
