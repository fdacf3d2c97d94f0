//! The command line as clap understands it.

use super::*;

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn words_are_commands_and_all_else_are_scenarios() {
    let cli = Cli::try_parse_from(["scenario", "forkbomb", "--trials", "2"]).unwrap();
    assert_eq!(
        (cli.run.scenarios, cli.verb.is_none()),
        (vec!["forkbomb".to_owned()], true)
    );
    let cli = Cli::try_parse_from(["scenario", "doctor"]).unwrap();
    assert!(matches!(cli.verb, Some(Verb::Doctor(_))));
    let cli = Cli::try_parse_from(["scenario", "run", "forkbomb", "--trials", "2"]).unwrap();
    assert!(
        matches!(cli.verb, Some(Verb::Run(args)) if args.scenarios == ["forkbomb"]
            && args.trials == Some(2))
    );
    let help = Cli::try_parse_from(["scenario", "help"]).unwrap_err();
    assert_eq!(help.kind(), clap::error::ErrorKind::DisplayHelp);
    let bare = Cli::try_parse_from(["scenario"]).unwrap_err();
    assert!(
        bare.use_stderr() && bare.to_string().contains("scenario forkbomb"),
        "{bare}"
    );
    assert!(Cli::try_parse_from(["scenario", "list", "--trials", "3"]).is_err());
    assert!(Cli::try_parse_from(["scenario", "forkbomb", "--trials", "0"]).is_err());
    let cli = Cli::try_parse_from(["scenario", "--script", "-", "--trials", "2"]).unwrap();
    assert!(cli.run.script.is_some() && cli.run.scenarios.is_empty());
    assert!(Cli::try_parse_from(["scenario", "forkbomb", "--script", "-"]).is_err());
    assert!(Cli::try_parse_from(["scenario", "--trials", "2"]).is_err());
}

#[test]
fn a_machine_may_be_named_and_takes_no_scenario_for_its_name() {
    let parsed = |words: &[&str]| Cli::try_parse_from([&["scenario"], words].concat());
    let cli = parsed(&["--vm", "forkbomb"]).unwrap();
    assert_eq!(
        (cli.run.vm.as_deref(), cli.run.scenarios),
        (Some("newest"), vec!["forkbomb".to_owned()])
    );
    assert_eq!(
        parsed(&["forkbomb", "--vm=6.12"])
            .unwrap()
            .run
            .vm
            .as_deref(),
        Some("6.12")
    );
    assert!(parsed(&["forkbomb", "--vm", "--cgroup", "/x"]).is_err());
}

#[test]
fn no_scenario_has_a_name_that_means_something_else() {
    let reserved = reserved();
    for word in [
        "run",
        "measure",
        "exec",
        "scale",
        "list",
        "show",
        "doctor",
        "recommend",
        "clean",
        "help",
        "all",
        "none",
    ] {
        assert!(reserved.contains(&word.to_owned()), "{word}: {reserved:?}");
    }
    assert!(
        SCENARIOS
            .iter()
            .all(|s| !reserved.contains(&s.spec().id.to_owned()))
    );
}

#[test]
fn a_command_that_is_nearly_right_is_answered_with_the_right_one() {
    let error = misspelt_word("mesure").unwrap().to_string();
    assert!(
        error.contains("unknown scenario or command") && error.contains("nearest are measure"),
        "{error}"
    );
    for right in ["measure", "forkbomb", "--vm", "fork*"] {
        assert_eq!(misspelt_word(right), None);
    }
}

#[test]
fn defaults_in_the_help_are_the_real_ones() {
    let help = Cli::command().render_help().to_string();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        help.contains(&format!("[default: {FEW_TRIALS}, or {SOME_TRIALS} for")),
        "{help}"
    );
    assert!(
        help.contains(&format!("[default: {}]", REFERENCES.join(", "))),
        "{help}"
    );
}

#[test]
fn the_long_help_has_examples_and_exit_codes() {
    let help = Cli::command().render_long_help().to_string();
    assert!(
        help.contains("scenario forkbomb") && help.contains("4  an expectation did not hold"),
        "{help}"
    );
}
