//! Help, version, completions, manual pages and wrong usage.

use insta::assert_snapshot;

use crate::harness::snapback::Snapback;

#[test]
fn version_names_the_formats() {
    let snapback = Snapback::new();
    assert_snapshot!(snapback.ok(&["version"]).stdout, @"snapback 0.1.0 (repository format 1, JSON snapback/v1)");
    assert_eq!(
        snapback.json(&["version"]),
        serde_json::json!({
            "schema": "snapback/v1", "command": "version",
            "version": "0.1.0", "repositoryFormat": 1, "jsonSchema": "snapback/v1",
        })
    );
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_wrong() {
    let snapback = Snapback::new();
    assert_snapshot!(snapback.run(&["versio"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: unrecognized subcommand 'versio'

      tip: some similar subcommands exist: 'verify', 'version'

    Usage: snapback [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(snapback.run(&["version", "--output", "xml"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: invalid value 'xml' for '--output <FORMAT>'
      [possible values: text, json]

    For more information, try '--help'.
    ");
    assert_eq!(snapback.run::<&str>(&[]).code, 2);
}

#[test]
fn help_lists_every_command_and_exit_code() {
    let help = Snapback::new().ok(&["--help"]).stdout;
    for expected in ["version", "completions", "man", "--repo", "130  interrupted"] {
        assert!(help.contains(expected), "{expected} is not in\n{help}");
    }
}

#[test]
fn completions_and_manual_pages_are_made() {
    let snapback = Snapback::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(snapback.ok(&["completions", shell]).stdout.contains("snapback"), "{shell}");
    }
    assert!(snapback.ok(&["man"]).stdout.contains(".SH NAME"));
    snapback.ok(&["man", "pages"]);
    let page = std::fs::read_to_string(snapback.home().join("pages/snapback-completions.1")).unwrap();
    assert!(page.contains("completion script"), "{page}");
}
