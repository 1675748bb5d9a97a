//! The shipped configurations load, and `config/gatehouse.toml` explains every key.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use gatehouse::{
    config::{Config, ConfigError},
    uplink::{self, profiles::native::Keys},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn commented() -> (PathBuf, String) {
    let path = folder().join("gatehouse.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

/// Returns the text with those commented-out settings (`#key = value`) that are `wanted`, and their
/// number.
fn switched_on(text: &str, wanted: impl Fn(&str) -> bool) -> (String, usize) {
    let mut count = 0;
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) && wanted(line) => {
            count += 1;
            setting
        }
        _ => line,
    });
    (lines.collect::<Vec<_>>().join("\n"), count)
}

/// Returns the configuration without the hash of its file, which depends on the comments. The keys of an
/// upstream's own profile are given as the profile reads them.
fn meaning(mut config: Config) -> String {
    let own = config.upstreams.iter_mut().map(|upstream| std::mem::take(&mut upstream.own).0);
    let own: Vec<Keys> = own.map(|own| own.try_into().unwrap()).collect();
    config.sha256 = [0; 32];
    format!("{config:?} {own:?}")
}

#[test]
fn every_shipped_configuration_loads() {
    let files: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(files.len() >= 2, "{files:?}");
    // platforms.rs runs the blocks in the folder of platforms.
    for file in files.into_iter().filter(|file| file.is_file()) {
        let loaded = Config::load(&file).and_then(|config| uplink::check(&config));
        loaded.unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn each_commented_out_setting_is_the_default_or_a_valid_example() {
    let (path, text) = commented();
    let shipped = meaning(Config::parse(&path, &text).unwrap());
    let example = |line: &str| line.ends_with("# an example");
    let (defaults, count) = switched_on(&text, |line| !example(line));
    assert!(count > 20, "{count} defaults");
    assert_eq!(meaning(Config::parse(&path, &defaults).unwrap()), shipped);
    let (all, count) = switched_on(&defaults, example);
    assert!(count > 5, "{count} examples");
    assert_ne!(meaning(Config::parse(&path, &all).unwrap()), shipped);
}

/// Every table, with its required keys.
const EVERY_TABLE: &str = r#"
[site]
project_code = "P"
[storage]
[models]
[models.liveness]
[roster]
[enrolment]
[recognition]
[control]
[metrics]
[alarms]
[[upstream]]
broker = "mqtt://localhost"
[[lane]]
name = "north"
[lane.turnstile]
driver = "modbus-rtu"
port = "/dev/ttyUSB0"
[[lane.camera]]
direction = "entry"
source = "http://10.0.0.21/video.mjpg"
[[lane.reader]]
name = "card"
direction = "entry"
driver = "line"
port = "/dev/ttyUSB1"
"#;

/// Returns the keys that the table below `header` accepts. The parser lists them when it refuses an
/// unknown key.
fn accepted_below(header: &str) -> Vec<String> {
    let text = EVERY_TABLE.replacen(header, &format!("{header}\nno_such_key = 1"), 1);
    let message =
        match Config::parse(Path::new("probe.toml"), &text).and_then(|c| uplink::check(&c)) {
            Err(ConfigError::Wrong { message, .. }) => message,
            other => panic!("{text}\nwas not refused: {other:?}"),
        };
    let (_, listed) = message.split_once("expected ").unwrap_or_else(|| panic!("{message}"));
    let keys: Vec<_> = listed.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(!keys.is_empty(), "{message}");
    keys
}

#[test]
fn the_commented_configuration_explains_every_key() {
    let (_, text) = commented();
    let headers: Vec<&str> = EVERY_TABLE.lines().filter(|line| line.starts_with('[')).collect();
    let is_table = |key: &String| {
        headers.iter().any(|h| h.trim_matches(['[', ']']).rsplit('.').next() == Some(key))
    };
    // The text before the first header is the root table.
    let mut sections = vec![("", text.split("\n[").next().unwrap())];
    for header in &headers {
        // A block that not every site needs is indented in a comment.
        let places = [format!("\n{header}\n"), format!("\n#     {header}\n")];
        let (_, rest) = places.iter().find_map(|place| text.split_once(place)).expect(header);
        sections.push((header, rest.split("\n[").next().unwrap()));
    }
    let mut seen = 0;
    for (header, section) in sections {
        for key in accepted_below(header) {
            if is_table(&key) {
                continue;
            }
            // The key is a setting, a default or an example, or it is indented in a comment.
            let explained = section
                .lines()
                .any(|line| line.trim_start_matches(['#', ' ']).starts_with(&format!("{key} = ")));
            assert!(explained, "config/gatehouse.toml does not explain {key} of {header:?}");
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen} keys");
}

#[test]
fn a_wrong_configuration_ends_in_78_with_file_line_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gatehouse.toml");
    let (_, text) = commented();
    let wrong = text.replace("#cool_down_s", "cool_dwn_s");
    assert_ne!(wrong, text);
    std::fs::write(&file, &wrong).unwrap();
    let line = 1 + wrong.lines().position(|l| l.starts_with("cool_dwn_s")).unwrap();
    let expected = format!(
        "{}:{line}: lane[0].cool_dwn_s: unknown key (did you mean cool_down_s?)",
        file.display()
    );
    for command in ["run", "check", "status"] {
        let output = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
            .arg("--config")
            .arg(&file)
            .arg(command)
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{command}: {message}");
        assert!(message.contains(&expected), "{command}: {message} lacks {expected}");
    }
    let missing = dir.path().join("missing.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .args(["check"])
        .env("GATEHOUSE_CONFIG", &missing)
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{message}");
    assert!(message.contains("missing.toml") && message.contains("--config"), "{message}");
}
