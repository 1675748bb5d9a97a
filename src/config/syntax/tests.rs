//! Tests of the messages for common mistakes in the file.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::super::{file::*, *};

fn refusal(bytes: &[u8]) -> String {
    let parsed = parse(Path::new("/etc/g.toml"), bytes);
    let refused = parsed.and_then(|c| crate::uplink::check(&c)).unwrap_err().to_string();
    assert_eq!(refused.lines().count(), 1, "{refused}");
    refused.strip_prefix("/etc/g.toml:").unwrap_or_else(|| panic!("{refused}")).to_owned()
}

const SITE: &str = "[site]\nproject_code = \"P1\"\n";
const LANE: &str =
    "[[lane]]\nname = \"north\"\n[lane.turnstile]\ndriver = \"eb\"\nport = \"tty\"\n";

#[track_caller]
fn refuses(text: &str, expected: &str) {
    let message = refusal(text.as_bytes());
    assert!(message.contains(expected), "{text:?}: {message:?} lacks {expected:?}");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_accepted() {
    let text = format!("\u{FEFF}{}", SITE.replace('\n', "\r\n"));
    let config = parse(Path::new("/etc/g.toml"), text.as_bytes()).unwrap();
    assert_eq!(config.site.project_code, "P1");
    assert_eq!(config.sha256[..], Sha256::digest(text.as_bytes())[..]);
}

#[test]
fn a_file_of_another_encoding_is_named_as_such() {
    let text = format!("# 东门\n{SITE}name = \"北门\"\n");
    let (gbk, ..) = encoding_rs::GBK.encode(&text);
    let message = refusal(&gbk);
    assert!(message.starts_with("1: encoding: column 3: the file is saved as GBK"), "{message}");
    assert!(message.contains("iconv -f GB18030 -t UTF-8"), "{message}");
    let (gbk, ..) = encoding_rs::GBK.encode("北门");
    let message = refusal(&[SITE.as_bytes(), b"name = \"", &gbk, b"\"\n"].concat());
    assert!(message.starts_with("3: encoding: column 9: the file is saved as GBK"), "{message}");
    for (mark, unit) in [(true, u16::to_le_bytes as fn(u16) -> [u8; 2]), (false, u16::to_be_bytes)]
    {
        let units = mark.then_some(0xFEFF).into_iter().chain(text.encode_utf16());
        let bytes: Vec<u8> = units.flat_map(unit).collect();
        let message = refusal(&bytes);
        assert!(message.starts_with("1: encoding: the file is saved as UTF-16"), "{message}");
    }
    let message = refusal(&[SITE.as_bytes(), b"# \xFF\n"].concat());
    assert!(message.starts_with("3: encoding: column 3: the byte 0xFF is not UTF-8"), "{message}");
}

#[test]
fn a_character_that_looks_like_another_is_named_with_its_place_and_what_to_type() {
    for (line, expected) in [
        ("name = “north”", "3: syntax: column 8: “ (U+201C) is a curly quote: type \" instead"),
        ("name = ‘north’", "3: syntax: column 8: ‘ (U+2018) is a curly quote: type ' instead"),
        ("name = \"north”", "3: syntax: column 14: ” (U+201D) is a curly quote: type \" instead"),
        ("name = 「north」", "3: syntax: column 8: 「 (U+300C) is a corner quote: type \" instead"),
        ("name ＝ \"north\"", "column 6: ＝ (U+FF1D) is a full-width equals sign: type = instead"),
        ("name： \"north\"", "column 5: ： (U+FF1A) is a full-width colon: type = instead"),
        ("name\u{3000}= \"x\"", "column 5: U+3000 is a full-width space: type an ordinary space"),
        ("name\u{A0}= \"x\"", "column 5: U+00A0 is a special space: type an ordinary space"),
        ("\u{3000}\u{3000}name = \"x\"", "column 1: U+3000 is a full-width space"),
        ("name\u{200B} = \"x\"", "column 5: U+200B is an invisible character: delete it"),
        ("nａme = \"x\"", "column 2: ａ (U+FF41) is a full-width letter: type a instead"),
        ("［enrolment］", "column 1: ［ (U+FF3B) is a full-width bracket: type [ instead"),
        ("【enrolment】", "column 1: 【 (U+3010) is a full-width bracket: type [ instead"),
        ("＃ a remark", "column 1: ＃ (U+FF03) is a full-width character: type # instead"),
        (
            "[enrolment]\nlight = [45，215]",
            "4: syntax: column 12: ， (U+FF0C) is a full-width comma: type , instead",
        ),
        (
            "[enrolment]\nlight = [45、215]",
            "column 12: 、 (U+3001) is a Chinese comma: type , instead",
        ),
        (
            "[recognition]\nmargin = ０.１",
            "column 10: ０ (U+FF10) is a full-width digit: type 0 instead",
        ),
        (
            "[recognition]\nmargin = 0．1",
            "column 11: ． (U+FF0E) is a full-width full stop: type . instead",
        ),
        ("[recognition]\nmargin = −0.1", "column 10: − (U+2212) is a long dash: type - instead"),
        ("name = 北门", "column 8: 北 is outside of quotes: write text in \"quotes\""),
        ("名称 = \"x\"", "column 1: 名 is outside of quotes"),
        ("name = \"x\" 东门", "column 12: 东 is outside of quotes"),
        // The characters in a value are named when the value is refused.
        (
            "gateway_id = \"gate－1\"",
            "3: site.gateway_id: \"gate－1\" is not a name: a name is 1 to 64 characters of A-Z, a-z, 0-9, - and _, because it becomes part of topics (－ (U+FF0D) is a full-width character: type - instead)",
        ),
        ("day_starts_at = \"04：00\"", "(： (U+FF1A) is a full-width colon: type : instead)"),
    ] {
        refuses(&format!("{SITE}{line}\n"), expected);
    }
    // These characters are allowed in text and comments.
    let text = format!("{SITE}name = \"“东区”，北门：１号\" # ‘，’\n");
    assert_eq!(
        parse(Path::new("/etc/g.toml"), text.as_bytes()).unwrap().site.name,
        "“东区”，北门：１号"
    );
}

#[test]
fn common_mistakes_in_toml_are_explained() {
    for (line, expected) in [
        (
            "name = \"north",
            "3: syntax: column 8: the text that begins with \" here has no \" at its end",
        ),
        (
            "name = north\"",
            "3: syntax: column 13: the text that ends with \" here does not begin with one",
        ),
        ("name = north", "3: syntax: text must be in quotes: name = \"…\""),
        ("name = 'it's'", "column 11: the text ends at this ': put it in \"double quotes\""),
        (
            "name = \"say \"hi\" now\"",
            "column 13: the text ends at this \": write \\\" for each quote inside it",
        ),
        ("name = \"\"\"north", "the text that begins with \" here has no end"),
        ("name: \"north\"", "3: syntax: write = between a key and its value, not :"),
        ("name \"north\"", "3: syntax: is neither key = value"),
        ("name =", "3: syntax: name has no value after its ="),
        ("name = \"a\",", "3: syntax: a line ends with its value: delete the , or ; at its end"),
        ("name = \"a\";", "3: syntax: a line ends with its value: delete the , or ; at its end"),
        (
            "name = \"a\"\nname = \"b\"",
            "4: syntax: name occurs twice in this table, first on line 3",
        ),
        ("[storage]\n[models]\n[storage]", "5: syntax: [storage] occurs twice, first on line 3"),
        ("[storage\ndir = \"x\"", "3: syntax: write [storage] on a line of its own"),
        (
            "[roster]\nrequire_consent = yes",
            "4: syntax: write require_consent = true (in small letters), or",
        ),
        ("[roster]\nrequire_consent = on", "4: syntax: write require_consent = true"),
        ("[roster]\nrequire_consent = True", "4: syntax: write require_consent = true"),
        ("[roster]\nrequire_consent = no # never", "4: syntax: write require_consent = false"),
        ("[roster]\nrequire_consent = FALSE", "4: syntax: write require_consent = false"),
        (
            "[roster]\nrequire_consent = \"yes\"",
            "4: roster.require_consent: must be true or false, without quotes",
        ),
        ("[roster]\nrequire_consent = 1", "4: roster.require_consent: must be true or false"),
        ("[recognition]\nmargin = 0,05", "4: syntax: margin is neither a number (5 or 0.5"),
        (
            "[recognition]\nmargin = \"0.05\"",
            "4: recognition.margin: must be a number: write 0.05, without quotes",
        ),
        (
            "[recognition]\nframes_to_agree = \"5\"",
            "must be a whole number: write 5, without quotes",
        ),
        ("[recognition]\nframes_to_agree = \"five\"", "must be a whole number, without quotes"),
        ("[recognition]\nframes_to_agree = 2.5", "must be a whole number"),
        (
            "[recognition]\nframes_to_agree = 300",
            "4: recognition.frames_to_agree: 300 must be from 1 to 10",
        ),
        ("[recognition]\nframes_to_agree = -1", "-1 must be from 1 to 10"),
        ("[alarms]\nlink_down_s = 60s", "4: syntax: link_down_s is neither a number"),
        ("[storage]\nphoto_keep_days = 70000", "70000 must be from 0 to 65535"),
        ("[storage]\nattendance_keep_years = 300", "300 must be from 3 to 255"),
        (
            "[storage]\ndir = \"C:\\gatehouse\"",
            "4: syntax: column 10: in \"text\" a \\ has a meaning of its own",
        ),
        (
            "[storage]\ndir = \"C:\\tmp\\new\"",
            "4: storage.dir: holds a control character: in \"text\" a \\ has",
        ),
        ("[metrics]\nlisten = 127.0.0.1:9464", "4: syntax: text must be in quotes: listen = \"…\""),
        ("[models]\ndir = /usr/share", "4: syntax: text must be in quotes: dir = \"…\""),
        ("[enrolment]\nlight = [45 215]", "4: syntax: "),
        ("[enrolment]\nlight = [45, 215", "4: syntax: a list is [1, 2]: its ] is missing"),
        (
            "[enrolment]\nlight = [45, 215\nmax_aside = 0.3",
            "a comma or its ] is missing, here or above",
        ),
        ("[enrolment]\nlight = [45, 215]]", "4: syntax: there is more after the value"),
        ("[enrolment]\nlight == [45, 215]", "4: syntax: write only one = after light"),
        ("name = \"a\u{7}b\"", "3: syntax: column 10: U+0007 is a control character: delete it"),
        ("[storage]\ndir = \"D:\\x\\users\"", "4: syntax: column 10: in \"text\" a \\ has"),
        ("[recognition]\nframes_to_agree = 99999999999999999999", "is too large a number"),
        ("storage:", "3: syntax: a table is named in brackets: write [storage]"),
        ("[[lane]\nname = \"north\"", "3: syntax: write [[lane]] on a line of its own"),
        ("[lane.turnstile", "3: syntax: write [lane.turnstile] on a line of its own"),
        (
            "[upstream]\n[[upstream]]",
            "4: syntax: write [[upstream]] on line 3 too, in double brackets",
        ),
        (
            "[[upstream]]\nbroker = \"mqtt://localhost\"\nversion = 5",
            "5: upstream[0].version: must be text in quotes",
        ),
        ("[enrolment]\nlight = 45", "4: enrolment.light: must be two numbers in [ ]"),
        ("[enrolment]\nlight = [45]", "4: enrolment.light: must be two numbers in [ ]"),
        ("settled_on = 2026-10-31", "3: site.settled_on: must be text in quotes"),
        ("[[storage]]", "storage: write [storage], in single brackets: there is only one"),
        ("[lane]\nname = \"north\"", "lane: write [[lane]], in double brackets"),
        (
            "[[upstream]]\nbroker = 5",
            "4: upstream[0].broker: must be an address in quotes, or a list",
        ),
        (
            "[[upstream]]\nname = \"a\"",
            "3: upstream[0].broker: is missing: add broker = … under [[upstream]]",
        ),
        (
            "[[lane]]\nname = \"north\"",
            "3: lane[0].turnstile: is missing: add [lane.turnstile] and its keys",
        ),
    ] {
        refuses(&format!("{SITE}{line}\n"), expected);
    }
    for (line, expected) in [
        ("address = 300", "8: lane[0].turnstile.address: 300 must be from 0 to 255"),
        (
            "address = \"5\"",
            "8: lane[0].turnstile.address: must be a whole number: write 5, without quotes",
        ),
        ("baud = 10", "10 must be from 1200 to 921600"),
        ("driver = \"eb\"", "8: syntax: driver occurs twice in this table, first on line 6"),
        (
            "[[lane.camera]]\ndirection = \"in\"\nsource = \"replay:x\"",
            "9: lane[0].camera[0].direction: must be \"entry\" or \"exit\"",
        ),
        (
            "[[lane.camera]]\ndirection = \"exit\"\nsource = \"v4l2:x\"\nsize = [1280, -720]",
            "[1280, -720] must be from [160, 120]",
        ),
        ("[lane.camera]\ndirection = \"exit\"", "write [[lane.camera]], in double brackets"),
    ] {
        refuses(&format!("{SITE}{LANE}{line}\n"), expected);
    }
    let modbus = LANE.replace("\"eb\"", "\"modbus-rtu\"");
    for (line, expected) in [
        ("address = 300", "300 must be from 1 to 247"),
        ("pulse_ms = 20", "20 must be from 50 to 10000"),
        (
            "release_coil = { entry = 70000, exit = 1 }",
            "release_coil.entry: 70000 must be from 0 to 65535",
        ),
        ("release_coil = 5", "release_coil: must be { entry = 0, exit = 1 }"),
        ("passage_input = 5", "passage_input: must be { entry = 0, exit = 1 }"),
        (
            "passage_input = \"no\"",
            "passage_input: must be { entry = 0, exit = 1 }, or \"none\" without sensors",
        ),
        (
            "release_coil = { enter = 0, exit = 1 }",
            "release_coil.enter: unknown key (did you mean entry?)",
        ),
    ] {
        refuses(&format!("{SITE}{modbus}{line}\n"), expected);
    }
}

#[test]
fn an_unknown_key_gets_a_hint_to_its_table_or_its_spelling() {
    for (line, expected) in [
        (
            "Timezone = \"x\"",
            "3: site.Timezone: unknown key (did you mean timezone?), expected `project_code`",
        ),
        ("time-zone = \"x\"", "(did you mean timezone?)"),
        ("threshold = 0.5", "3: site.threshold: unknown key (it belongs under [recognition])"),
        ("mode = \"bench\"", "(it belongs at the top of the file, before any [table])"),
        ("[lanes]\nx = 1", "3: lanes: unknown key (did you mean [[lane]]?)"),
        ("[turnstile]\nx = 1", "3: turnstile: unknown key (write [lane.turnstile])"),
        (
            "[recognition]\ntreshold = 0.5",
            "4: recognition.treshold: unknown key (did you mean threshold?)",
        ),
        ("[recognition]\nbauds = 5", "(did you mean baud, under [[lane.reader]]?)"),
        ("[recognition]\nmin_face = 5", "(did you mean min_face_px?)"),
        (
            "[[upstream]]\nbroekr = \"mqtt://localhost\"\nencoding = \"cbor\"",
            "4: upstream[0].broekr: unknown key (did you mean broker?)",
        ),
        ("colour = 1", "(config/gatehouse.toml explains each key)"),
    ] {
        refuses(&format!("{SITE}{line}\n"), expected);
    }
    let message = refusal(format!("{SITE}{LANE}cool_down_s = 5\n").as_bytes());
    assert!(
        message
            .contains("8: lane[0].turnstile.cool_down_s: unknown key (it belongs under [[lane]])"),
        "{message}"
    );
}

/// The messages list the keys that each table really has.
#[test]
fn the_message_for_an_unknown_key_lists_the_keys_of_its_table() {
    let camera = "[[lane.camera]]\ndirection = \"exit\"\nsource = \"http://10.0.0.9/\"\n\
        [[lane.reader]]\nname = \"r\"\ndirection = \"exit\"\ndriver = \"line\"\nport = \"/dev/ttyUSB7\"\n";
    let rest = "[storage]\n[models]\n[models.liveness]\n[roster]\n[enrolment]\n[recognition]\n[control]\n[metrics]\n[alarms]\n";
    let text = format!("{SITE}{LANE}{camera}[[upstream]]\nbroker = \"mqtt://localhost\"\n{rest}");
    parse(Path::new("/etc/g.toml"), text.as_bytes()).unwrap();
    for (table, keys) in tables::TABLES.iter() {
        let header = [format!("[[{table}]]\n"), format!("[{table}]\n")];
        let probe = match header.iter().find(|header| text.contains(*header)) {
            Some(header) => text.replacen(header, &format!("{header}no_such_key = 1\n"), 1),
            None => format!("no_such_key = 1\n{text}"),
        };
        let message = refusal(probe.as_bytes());
        let (_, listed) = message.split_once("), expected ").unwrap_or_else(|| panic!("{message}"));
        let listed: Vec<_> = listed.split('`').skip(1).step_by(2).collect();
        // The keys of the upstream's profile follow the keys common to all upstreams.
        let own: &[&str] = if *table == "upstream" { &["encoding", "remote_release"] } else { &[] };
        assert_eq!(listed, [&keys.iter().map(String::as_str).collect::<Vec<_>>(), own].concat());
    }
}
