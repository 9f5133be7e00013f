//! `snapback version`: the program and the formats it speaks.

use serde_json::json;

use super::exit::Exit;
use super::output::{JSON_SCHEMA, Output};

/// The repository format that this program writes (docs/repository-format.md).
const REPOSITORY_FORMAT: u64 = 1;

/// The program's name and version, as it stands in every snapshot.
pub(crate) const TOOL: &str = concat!("snapback ", env!("CARGO_PKG_VERSION"));

/// Prints them.
pub(crate) fn run(output: &Output) -> Exit {
    if output.is_json() {
        output.json(
            "version",
            json!({"version": env!("CARGO_PKG_VERSION"), "repositoryFormat": REPOSITORY_FORMAT, "jsonSchema": JSON_SCHEMA}),
        );
    } else {
        output.line(&format!("{TOOL} (repository format {REPOSITORY_FORMAT}, JSON {JSON_SCHEMA})"));
    }
    Exit::Done
}
