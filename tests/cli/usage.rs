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
    // What has no end is not read.
    snapback.ok(&["init"]);
    for (option, code, error) in [
        ("--config", 2, "error: cannot read the configuration `/dev/zero`\ncaused by: it has more than 16 MiB\n"),
        ("--kubeconfig", 1, "error: the kubeconfig `/dev/zero` cannot be used: "),
    ] {
        let run = snapback.run(&["backup", option, "/dev/zero"]);
        assert_eq!(run.code, code, "{}", run.all());
        assert!(run.stderr.starts_with(error), "{}", run.all());
    }
}

#[test]
fn an_option_that_means_nothing_to_a_command_is_refused() {
    let snapback = Snapback::new();
    for (command, options) in [
        (&["init"][..], &["--only", "--exclude", "--context", "--kubeconfig"][..]),
        (&["snapshots"], &["--only", "--exclude", "--context", "--kubeconfig"]),
        (&["verify"], &["--only", "--exclude", "--context", "--kubeconfig"]),
        (&["show", "1"], &["--only", "--exclude"]),
        (&["history", "cm/a/b"], &["--only", "--exclude"]),
        (&["etcd", "prepare", "1"], &["--only", "--exclude"]),
        (&["version"], &["--only", "--repo", "--config", "--context"]),
        (&["completions", "bash"], &["--only", "--repo", "--output"]),
        (&["man"], &["--only", "--repo", "--output"]),
    ] {
        for option in options {
            let value = if *option == "--output" { "text" } else { "x" };
            // In front of the command it is no less meaningless.
            for line in [[command, &[*option, value]].concat(), [&[*option, value], command].concat()] {
                let run = snapback.run(&line);
                let error =
                    format!("error: `{option}` means nothing to `snapback {}`\nhint: leave it out; ", command[0]);
                assert!(run.code == 2 && run.stderr.starts_with(&error) && run.stdout.is_empty(), "{}", run.all());
            }
            let help = snapback.ok(&[command[0], "--help"]).stdout;
            assert!(!help.contains(&format!("{option} <")), "{help}");
        }
    }
    // What the environment says is for other commands.
    let mut version = snapback.command(&["version"]);
    assert!(version.env("SNAPBACK_REPOSITORY", "x").status().unwrap().success());
    assert!(snapback.ok(&["restore", "--help"]).stdout.contains("--only <PATTERN>"));
    assert_eq!(snapback.run(&["restore", "--never-list", "--yes"]).code, 2);
    assert!(!snapback.repository().exists());
}

#[test]
fn help_lists_every_command_and_exit_code() {
    let help = Snapback::new().ok(&["--help"]).stdout;
    for expected in ["version", "completions", "man", "--repo", "130  interrupted"] {
        assert!(help.contains(expected), "{expected} is not in\n{help}");
    }
}

#[test]
fn help_says_what_becomes_of_what_was_interrupted() {
    let snapback = Snapback::new();
    for command in ["restore", "rollback", "undo"] {
        let help = snapback.ok(&[command, "--help"]).stdout;
        let words: Vec<&str> = help.split_whitespace().collect();
        for expected in [
            format!("goes on when `snapback {command}` is typed again; it does not ask once more"),
            "Until then `backup` and whatever else would change the cluster are refused.".to_owned(),
            format!("`snapback {command} --give-up` ends it instead"),
        ] {
            assert!(words.join(" ").contains(&expected), "{expected}\n{help}");
        }
    }
    let help = snapback.ok(&["undo", "--help"]).stdout;
    assert!(help.starts_with("Go back to what was there before the last rollback, restore or undo\n"), "{help}");
    assert!(snapback.ok(&["restore", "--help"]).stdout.contains("such as hr or cm"));
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
    // Commands of a command have theirs, as the page of that command says.
    let page = |name: &str| std::fs::read_to_string(snapback.home().join("pages").join(name)).unwrap();
    for (name, text) in [("prepare", "recovery kit"), ("restore", "data folder")] {
        assert!(
            page("snapback-etcd.1").contains(&format!("snapback\\-etcd\\-{name}(1)")),
            "{}",
            page("snapback-etcd.1")
        );
        let own = page(&format!("snapback-etcd-{name}.1"));
        assert!(own.contains(&format!(".TH snapback-etcd-{name} 1")) && own.contains(text), "{own}");
        assert!(own.contains("\\-\\-etcdutl") && !own.contains("\\-\\-only"), "{own}");
    }
}
