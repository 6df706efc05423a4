//! Programs that a test needs, built by cargo.

use std::{path::PathBuf, process::Command};

/// Runs a build of one program and returns the path of its executable. `cargo` is a cargo with the arguments that
/// name the program.
///
/// # Panics
/// When cargo cannot be run, the program does not compile, or there is none.
pub(crate) fn build(cargo: &mut Command) -> PathBuf {
    let output = cargo.arg("--message-format=json-render-diagnostics").output().expect("cargo runs");
    assert!(output.status.success(), "{cargo:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    executable(&output.stdout).expect("a build of a program names its executable")
}

/// The executable that a build's messages name last: they are JSON, one a line.
fn executable(messages: &[u8]) -> Option<PathBuf> {
    let messages = messages.split(|&byte| byte == b'\n').rev();
    let mut messages = messages.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    messages.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_executable_is_taken() {
        let messages = br#"{"reason":"compiler-artifact","executable":null}
{"reason":"compiler-artifact","executable":"/t/first"}
{"reason":"compiler-artifact","executable":"/t/second"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/second")));
    }

    #[test]
    fn a_build_without_a_program_has_none() {
        assert_eq!(executable(b"{\"reason\":\"build-finished\",\"success\":true}\nnot JSON\n"), None);
    }
}
