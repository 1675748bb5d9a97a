use serde::Deserialize;

use super::*;
use crate::config::Secret;

/// A made-up platform: it takes attendance only, and neither acknowledges nor commands.
struct Terminal {
    topics: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TerminalKeys {
    facility: u16,
    token: Option<Secret>,
}

impl Dialect for Terminal {
    const WORD: &'static str = "terminal";
    type Keys = TerminalKeys;

    fn new(keys: TerminalKeys, _: &Upstream, _: &Origin) -> Checked<Terminal> {
        if keys.facility == 0 {
            return wrong("facility", "must be from 1 to 65535");
        }
        if let Some(token) = keys.token {
            let read = token.read().map_err(|e| e.to_string());
            if *read.or_else(|problem| wrong("token", problem))? != *"ABC-42" {
                return wrong("token", format!("{token:?} is not the right one"));
            }
        }
        Ok(Terminal { topics: format!("terminal/{}/", keys.facility) })
    }
}

impl Profile for Terminal {
    fn topics(&self) -> &str {
        &self.topics
    }

    fn record(&self, record: &Record, _: &Attached) -> Made {
        let topic = format!("{}passage", self.topics);
        let payload = serde_json::to_vec(&record.seq)?;
        Ok(Some(Message { topic, payload, retained: false }))
    }

    fn event(&self, _: &EventRecord) -> Made {
        Ok(None)
    }

    fn status(&self, _: &Online) -> Made {
        Ok(None)
    }

    fn offline(&self) -> Made {
        Ok(None)
    }
}

const BOTH: &[Registered] = &[registered::<native::Native>(), registered::<Terminal>()];

/// Checks a configuration with these upstreams, each given without its `[[upstream]]` line.
fn checked_file(upstreams: &[&str]) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("g.toml");
    let head = "[site]\nproject_code = \"P\"\ngateway_id = \"g\"\n".to_owned();
    let text = upstreams.iter().fold(head, |text, keys| text + "[[upstream]]\n" + keys + "\n");
    std::fs::write(&path, &text).unwrap();
    let config = Config::parse(&path, &text).map_err(|e| e.to_string())?;
    checked(BOTH, &config).map_err(|e| e.to_string().replace(path.to_str().unwrap(), "g.toml"))
}

fn refused(upstreams: &[&str], expected: &str) {
    let message = checked_file(upstreams).unwrap_err();
    assert!(message.starts_with(expected), "{message:?} does not begin with {expected:?}");
}

const HERE: &str = "broker = \"mqtt://localhost\"\n";

#[test]
fn a_profile_reads_its_own_keys_strictly_and_says_where_one_is_wrong() {
    let terminal = |own: &str| format!("{HERE}profile = \"terminal\"\n{own}");
    assert_eq!(checked_file(&[&terminal("facility = 7")]), Ok(()));
    for (own, expected) in [
        ("", "g.toml:4: upstream[0].facility: is missing: add facility = … under [[upstream]]"),
        ("facility = 0", "g.toml:7: upstream[0].facility: must be from 1 to 65535"),
        ("facility = \"7\"", "g.toml:7: upstream[0].facility: must be "),
        (
            "facility = 7\nfacilty = 8",
            "g.toml:8: upstream[0].facilty: unknown key (did you mean facility?), expected `name`, ",
        ),
    ] {
        refused(&[&terminal(own)], expected);
    }
    let named = format!("{HERE}profile = \"x\"");
    let expected = "g.toml:6: upstream[0].profile: \"x\" is not in this version; it has \"native\", \"terminal\"";
    refused(&[&named], expected);
}

#[test]
fn keys_of_another_profile_are_refused() {
    for key in ["encoding = \"cbor\"", "remote_release = false"] {
        assert_eq!(checked_file(&[&format!("{HERE}{key}")]), Ok(()));
        let terminal = format!("{HERE}profile = \"terminal\"\nfacility = 7\n{key}");
        let name = key.split(' ').next().unwrap();
        let expected = format!("g.toml:8: upstream[0].{name}: belongs to profile = \"native\"");
        refused(&[&terminal], &expected);
    }
    let expected = "g.toml:6: upstream[0].facility: belongs to profile = \"terminal\"";
    refused(&[&format!("{HERE}facility = 7")], expected);
    let expected = "g.toml:6: upstream[0].encoding: must be \"json\" or \"cbor\"";
    refused(&[&format!("{HERE}encoding = \"xml\"")], expected);
}

#[test]
fn a_secret_among_a_profiles_own_keys_is_read_where_it_is_kept_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let checked_token = |token: &str| {
        let path = dir.path().join("g.toml");
        let own = format!("profile = \"terminal\"\nfacility = 7\ntoken = {token}\n");
        let text = format!("[site]\nproject_code = \"P\"\n[[upstream]]\n{HERE}{own}");
        let config = Config::parse(&path, &text).map_err(|e| e.to_string())?;
        let shown = format!("{config:?}");
        assert!(!shown.contains("ABC-42") && !shown.contains("12345"), "{shown}");
        checked(BOTH, &config).map_err(|e| e.to_string())
    };
    std::fs::write(dir.path().join("token"), "ABC-42\n").unwrap();
    assert_eq!(checked_token("\"ABC-42\""), Ok(()));
    // A relative path begins at the configuration's folder, as for a password.
    assert_eq!(checked_token("\"file:token\""), Ok(()));
    let missing = checked_token("\"file:none\"").unwrap_err();
    assert!(missing.contains(&dir.path().join("none").display().to_string()), "{missing}");
    for (wrong, expected) in [("12345", "must be text in quotes"), ("\"12345\"", "Secret(***)")] {
        let refused = checked_token(wrong).unwrap_err();
        assert!(refused.contains(expected) && !refused.contains("12345"), "{refused}");
    }
}

#[test]
fn upstreams_of_one_broker_differ_in_topics_and_client_ids() {
    let terminal = |own: &str| format!("{HERE}profile = \"terminal\"\n{own}");
    let seven = terminal("facility = 7");
    assert_eq!(checked_file(&[HERE, &seven, &terminal("facility = 8")]), Ok(()));
    // With the same topics, each record would arrive twice, and each command at both upstreams.
    let whose = "is that of the upstream \"upstream0\" too, whose topics are the same";
    refused(&[HERE, &seven, HERE], &format!("g.toml:12: upstream[2].broker: {whose}"));
    refused(&[&seven, &seven], &format!("g.toml:9: upstream[1].broker: {whose}"));
    // A broker keeps one session for a client id, and disconnects the first client for the second.
    let named = |id: &str| terminal(&format!("facility = 9\nclient_id = {id:?}"));
    assert_eq!(checked_file(&[HERE, &named("g-terminal")]), Ok(()));
    let whose = "is that of the upstream \"upstream0\" on the same broker";
    refused(
        &[HERE, &named("g-upstream0")],
        &format!("g.toml:11: upstream[1].client_id: \"g-upstream0\" {whose}"),
    );
    let elsewhere = named("g-upstream0").replace("localhost", "127.0.0.2");
    assert_eq!(checked_file(&[HERE, &elsewhere]), Ok(()));
}

#[test]
fn i3_rows_do_not_wait_for_a_platform_that_cannot_acknowledge() {
    let acknowledged = format!("{HERE}ack = \"platform\"\n");
    assert_eq!(checked_file(&[&acknowledged]), Ok(()));
    let terminal = format!("{acknowledged}profile = \"terminal\"\nfacility = 7");
    let message = checked_file(&[&terminal]).unwrap_err();
    assert!(message.starts_with("g.toml:6: upstream[0].ack: "), "{message}");
    assert!(message.contains("write \"broker\""), "{message}");
}

#[test]
fn i13_a_release_by_command_and_a_face_from_afar_need_their_commands_and_a_key() {
    let key = format!("command_key = \"ed25519:{}\"", "ab".repeat(32));
    for (keys, expected) in [
        ("remote_release = true", "remote_release: needs commands = \"all\" as well"),
        (
            "commands = \"all\"\nremote_release = true",
            "remote_release: needs a command_key as well",
        ),
        (
            "commands = \"some\"",
            "commands: must be \"none\" or \"status\" or \"roster\" or \"all\"",
        ),
        ("command_key = \"secret\"", "command_key: must be file:PATH or credential:NAME"),
        ("command_key = \"ed25519:00\"", "command_key: must be file:PATH or credential:NAME"),
    ] {
        let said = checked_file(&[&format!("{HERE}{keys}")]).unwrap_err();
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains("\"secret\"") && !said.contains(":00"), "{said}");
    }
    for (keys, expected) in [
        ("commands = \"roster\"", "trust_faces: needs a command_key as well"),
        (&*key, "trust_faces: needs commands = \"roster\" or \"all\" as well"),
    ] {
        let said = checked_file(&[&format!("{HERE}trust_faces = true\n{keys}")]).unwrap_err();
        assert!(said.contains(expected), "{said}");
    }
    let trusted = format!("{HERE}commands = \"roster\"\ntrust_faces = true\n{key}");
    assert_eq!(checked_file(&[&trusted]), Ok(()));
    let all = format!("{HERE}commands = \"all\"\nremote_release = true\n{key}");
    assert_eq!(checked_file(&[&all]), Ok(()));
}

#[test]
fn a_configuration_that_cannot_give_what_a_profile_needs_is_refused_by_name() {
    let checked_by_all = |upstream: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("g.toml");
        let text =
            format!("[site]\nproject_code = \"P\"\n[[upstream]]\nname = \"gansu\"\n{upstream}");
        let config = Config::parse(&path, &text).map_err(|e| e.to_string())?;
        check(&config).map_err(|e| e.to_string())
    };
    let session =
        "[[upstream.session]]\nlane = \"n\"\ndirection = \"entry\"\ndevice_code = \"D\"\n";
    let tcp = |own: &str| {
        let url = "url = \"tcp://127.0.0.1:1\"\nprofile = \"tcp843\"\nvendor_code = \"V\"\n";
        checked_by_all(&format!("{url}{own}\n{session}"))
    };
    assert_eq!(tcp("photos = \"record\""), Ok(()));
    let refused = tcp("").unwrap_err();
    assert!(
        refused.contains("upstream[0].photos: a platform with profile = \"tcp843\" wants a photo")
    );
    assert!(refused.contains("photo:gansu"), "{refused}");
    for (wrong, expected) in [
        ("url = \"https://a.example\"", "write broker = \"mqtts://HOST:PORT\""),
        ("url = \"https://a.example\"\nprofile = \"tcp843\"", "tcp://HOST:PORT"),
    ] {
        let own = match wrong {
            w if w.contains("tcp843") => "\nvendor_code = \"V\"\nphotos = \"record\"",
            _ => "",
        };
        let tables = if wrong.contains("tcp843") { session } else { "" };
        let refused = checked_by_all(&format!("{wrong}{own}\n{tables}")).unwrap_err();
        assert!(refused.contains(expected), "{refused}");
    }
}
