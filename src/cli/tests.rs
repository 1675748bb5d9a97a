//! The help is complete, its options are in order, and its examples are valid commands.

use clap::{ArgMatches, Command, CommandFactory};

use super::Arguments;

fn whole() -> Command {
    let mut whole = Arguments::command();
    whole.build();
    whole
}

/// Collects each command, except `help`, with the words that select it.
fn all(command: &Command, path: &[String], found: &mut Vec<(Vec<String>, Command)>) {
    found.push((path.to_vec(), command.clone()));
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        all(inner, &[path, &[inner.get_name().to_owned()]].concat(), found);
    }
}

fn commands() -> Vec<(Vec<String>, Command)> {
    let mut found = Vec::new();
    all(&whole(), &[], &mut found);
    assert!(found.len() > 25, "{}", found.len());
    found
}

/// Returns whether the command can be run without a subcommand.
fn is_leaf(command: &Command) -> bool {
    !command.is_subcommand_required_set() && !command.get_name().eq("gatehouse")
}

/// Splits a line into words as a shell does. Only blanks and double quotes are supported.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (n, piece) in line.split('"').enumerate() {
        match n % 2 {
            0 => words.extend(piece.split_whitespace().map(str::to_owned)),
            _ => words.push(piece.to_owned()),
        }
    }
    words
}

fn path_of(matches: &ArgMatches) -> Vec<String> {
    match matches.subcommand() {
        Some((name, inner)) => [vec![name.to_owned()], path_of(inner)].concat(),
        None => Vec::new(),
    }
}

#[test]
fn each_argument_of_each_command_has_a_help_text() {
    let mut seen = 0;
    for (path, command) in commands() {
        assert!(command.get_about().is_some(), "{path:?}");
        for argument in command.get_arguments() {
            let text = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!text.trim().is_empty(), "{path:?} {}", argument.get_id());
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn each_command_has_examples_and_each_example_is_valid() {
    for (path, command) in commands().into_iter().filter(|(_, command)| is_leaf(command)) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.starts_with("Example"), "{path:?} has no example");
        let examples = help.replace("\\\n", "");
        let examples: Vec<_> = examples.lines().skip(1).collect();
        assert!(!examples.is_empty(), "{path:?}");
        for line in help.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        for example in examples {
            // HEX stands for a fingerprint.
            let line = example.replace(" HEX ", &format!(" {} ", "5c".repeat(32)));
            let matches = whole().try_get_matches_from(words(&line));
            let matches = matches.unwrap_or_else(|e| panic!("{example}: {e}"));
            assert_eq!(path_of(&matches), path, "{example}");
        }
    }
}

#[test]
fn required_options_come_first() {
    for (path, mut command) in commands() {
        let help = command.render_long_help().to_string();
        let (_, options) = help.split_once("\nOptions:\n").unwrap_or_default();
        let place = |long: &str| {
            options.lines().position(|line| {
                let line = line.trim_start().trim_start_matches("-h, ");
                line.split([' ', '\n']).next() == Some(&*format!("--{long}"))
            })
        };
        let longs = |required: bool| {
            // A card in the reader gives these two, so clap does not count them as required.
            let by_card = |long: Option<&str>| matches!(long, Some("name" | "id-number"));
            let enrolls = path[..] == ["worker", "enroll"];
            let of_these = command.get_arguments().filter(move |a| {
                (a.is_required_set() || (enrolls && by_card(a.get_long()))) == required
            });
            of_these.filter(|a| a.get_help_heading().is_none()).filter_map(|a| a.get_long())
        };
        let last = longs(true).map(|long| place(long).unwrap_or_else(|| panic!("{help}"))).max();
        let first = longs(false).filter_map(place).min();
        if let (Some(last), Some(first)) = (last, first) {
            assert!(last < first, "{path:?}: {help}");
        }
    }
}

#[test]
fn the_help_of_lane_names_the_modes() {
    let lane =
        whole().find_subcommand("lane").and_then(Command::get_about).map(ToString::to_string);
    assert!(lane.as_ref().is_some_and(|about| about.contains("free, closed")), "{lane:?}");
}

#[test]
fn no_line_of_any_help_is_longer_than_100_columns() {
    for (path, mut command) in commands() {
        for help in [command.render_help(), command.render_long_help()] {
            let help = help.to_string();
            // clap does not wrap the line of the usage.
            let lines = help.lines().filter(|line| !line.starts_with("Usage: "));
            let long: Vec<_> = lines.filter(|line| line.chars().count() > 100).collect();
            assert!(long.is_empty(), "{path:?} {long:#?}");
        }
    }
}
