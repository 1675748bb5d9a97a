//! Tests that addresses with wrongly written passwords are refused, and no part of them is shown.

use std::path::Path;

use super::super::*;

/// Pieces of every secret below, which no message may contain.
const PIECES: [&str; 6] = ["s3cr", "w0rd", "Tr0u", "4dor", "admin", "10.0.0.9"];

fn refusal(text: &str) -> String {
    let parsed = Config::parse(Path::new("/etc/g.toml"), text);
    let message = parsed.and_then(|c| crate::uplink::check(&c)).unwrap_err().to_string();
    let message = message.replace("admin_group", "").replace("or 10.0.0.9", "");
    for piece in PIECES {
        assert!(!message.contains(piece), "{piece} of {text:?} is in {message:?}");
    }
    message
}

fn camera(source: &str) -> String {
    format!(
        "[site]\nproject_code = \"P1\"\n[[lane]]\nname = \"north\"\n[lane.turnstile]\ndriver = \"eb\"\n\
         port = \"tty\"\n[[lane.camera]]\ndirection = \"exit\"\nsource = {source}\n"
    )
}

fn upstream(broker: &str) -> String {
    format!("[site]\nproject_code = \"P1\"\n[[upstream]]\nbroker = {broker}\n")
}

#[test]
fn an_ambiguous_address_is_refused_with_a_remedy_and_not_shown() {
    for (address, expected) in [
        ("rtsp://admin:s3cr@w0rd/Tr0u@10.0.0.9/1", "write / as %2F (and @ as %40)"),
        ("rtsp://admin:s3cr@w0rd?Tr0u@10.0.0.9/1", "write ? as %3F (and"),
        ("rtsp://admin:s3cr@w0rd#Tr0u@10.0.0.9/1", "write # as %23 (and"),
        ("http://admin:s3cr/w0rd@10.0.0.9/1", "has / before its last @"),
        ("http://admin:s3cr#w0rd/Tr0u@10.0.0.9/1", "write # as %23, / as %2F"),
        ("http://10.0.0.9/cgi?user=s3cr@w0rd", "after the host write @ as %40"),
        ("rtsp://10.0.0.9/s3cr@w0rd", "after the host write @ as %40"),
        ("http:///admin:s3cr@10.0.0.9/", "before its last @"),
        ("http://admin:s3cr\\\\w0rd@10.0.0.9/1", "holds a \\: delete it, or write %5C"),
        ("rtsp://admin:s3cr w0rd@10.0.0.9/1", "holds a space: delete it, or write %20"),
        (" rtsp://admin:s3crw0rd@10.0.0.9/1", "it is not a kind of source"),
        ("rtsp://admin:s3crw0rd@10.0.0.9/1 ", "holds a space"),
        (
            "rtsp://admin:s3cr\\tw0rd@10.0.0.9/1",
            "a control character (U+0009): delete it, or write %09",
        ),
        (
            "rtsp://admin:s3cr\\nw0rd@10.0.0.9/1",
            "a control character (U+000A): delete it, or write %0A",
        ),
        (
            "rtsp://admin:s3crw0rd＠10.0.0.9/1",
            "＠ (U+FF20) is a full-width character: type @ instead",
        ),
        ("rtsp：//admin:s3crw0rd@10.0.0.9/1", "： (U+FF1A) is a full-width colon: type : instead"),
        ("rtsp://admin%3As3crw0rd%4010.0.0.9/1", "has a % in its host"),
        ("rtsp://admin:s3crw0rd%4010.0.0.9/1", "not the address of a camera"),
        ("http://admin%3As3crw0rd%4010.0.0.9/1", "not the address of a camera"),
        ("rtsp://admin:s3crw0rd@", "not the address of a camera"),
        ("rtsp://admin:s3crw0rd", "not the address of a camera"),
        ("rtsp://admin:s3cr%E4w0rd@10.0.0.9/1", "write % as %25"),
        ("admin:s3crw0rd@10.0.0.9/1", "it is not a kind of source"),
        ("s3crw0rd@10.0.0.9", "it is not a kind of source"),
        ("//admin:s3crw0rd@10.0.0.9", "it is not a kind of source"),
        ("http:/admin:s3crw0rd@10.0.0.9", "it is not a kind of source"),
        ("https://admin:s3crw0rd@10.0.0.9/1", "\"https\" is not a kind of source"),
        ("RTSP://admin:s3crw0rd@10.0.0.9/1", "\"RTSP\" is not a kind of source"),
        ("replay:rtsp://admin:s3crw0rd@10.0.0.9/1", "take a path"),
    ] {
        let message = refusal(&camera(&format!("\"{address}\"")));
        assert!(message.contains("10: lane[0].camera[0].source: "), "{address}: {message}");
        assert!(message.contains(expected), "{address}: {message:?} lacks {expected:?}");
        // A broker's address never has a login.
        for listed in [format!("\"{address}\""), format!("[\"mqtt://localhost\", \"{address}\"]")] {
            refusal(&upstream(&listed.replace("rtsp", "mqtts").replace("http", "mqtt")));
        }
        refusal(&format!("[site]\nproject_code = \"P1\"\n[metrics]\nlisten = \"{address}\"\n"));
    }
    for broker in
        ["mqtts://gate:s3crw0rd", "mqtts://gate:s3crw0rd＠b.example", "gate:s3crw0rd@b.example"]
    {
        refusal(&upstream(&format!("{broker:?}")));
    }
}

#[test]
fn an_address_at_a_wrong_place_or_without_quotes_is_not_shown_either() {
    let address = "rtsp://admin:s3cr@w0rd/Tr0u@10.0.0.9/1";
    refusal(&camera(address));
    refusal(&camera(&format!("\"{address}")));
    refusal(&camera(&format!("“{address}”")));
    refusal(&camera(&format!("[\"{address}\"]")));
    refusal(&camera(&format!("\"{address}\" \"{address}\"")));
    refusal(&camera(&format!("{{ url = \"{address}\" }}")));
    refusal(&camera(&format!("\"replay:x\"\n{address}")));
    refusal(&camera(&format!("\"replay:x\"\nsource = \"{address}\"")));
    refusal(&camera(&format!("\"replay:x\"\nfps = \"{address}\"")));
    refusal(&camera(&format!("\"replay:x\"\nsize = [\"{address}\", 5]")));
    refusal(&camera(&format!("\"replay:x\"\nloop = \"{address}\"")));
    refusal(&camera("\"replay:x\"").replace("\"exit\"", &format!("\"{address}\"")));
    refusal(&camera("\"replay:x\"").replace("\"eb\"", &format!("\"{address}\"")));
    refusal(&camera("\"replay:x\"").replace("\"north\"", &format!("\"{address}\"")));
    refusal(&upstream(address));
    for key in ["profile", "encoding", "ack", "version", "client_id", "name", "allow_plaintext"] {
        refusal(&upstream(&format!("\"mqtt://localhost\"\n{key} = \"{address}\"")));
    }
    for (table, key) in [
        ("site", "timezone"),
        ("site", "settled_on"),
        ("site", "day_starts_at"),
        ("site", "gateway_id"),
        ("recognition", "liveness"),
        ("recognition", "threshold"),
        ("roster", "admin_group"),
        ("control", "group"),
        ("metrics", "listen"),
        ("alarms", "unknown_faces"),
    ] {
        let site = if table == "site" { "" } else { "[site]\nproject_code = \"P1\"\n" };
        let code = if table == "site" { "project_code = \"P1\"\n" } else { "" };
        refusal(&format!("{site}[{table}]\n{code}{key} = \"{address}\"\n"));
    }
}

#[test]
fn a_correctly_written_password_is_accepted() {
    for (address, password, shown) in [
        ("rtsp://admin:p%40ss%2Fword@10.0.0.9/1", "p@ss/word", "rtsp://10.0.0.9/1"),
        ("rtsp://admin:p@ss@10.0.0.9/1", "p@ss", "rtsp://10.0.0.9/1"),
        ("http://admin:50%@10.0.0.9/1", "50%", "http://10.0.0.9/1"),
        ("http://admin:%20a%5Cb%23c%3Fd@10.0.0.9/1", " a\\b#c?d", "http://10.0.0.9/1"),
        (
            "http://admin:密码:!$&'()*+,;=^|<>@10.0.0.9/1",
            "密码:!$&'()*+,;=^|<>",
            "http://10.0.0.9/1",
        ),
        ("http://admin:x@10.0.0.9/cgi?user=a%40b", "x", "http://10.0.0.9/cgi?user=***"),
    ] {
        let config = Config::parse(Path::new("/etc/g.toml"), &camera(&format!("{address:?}")));
        let config = config.unwrap_or_else(|e| panic!("{address}: {e}"));
        let (CameraSource::Http(url) | CameraSource::Rtsp(url)) =
            &config.lanes[0].cameras[0].source
        else {
            panic!("{address}");
        };
        let login = url.login.as_ref().unwrap();
        assert_eq!(
            (login.user.as_str(), login.password.read().unwrap().as_str()),
            ("admin", password)
        );
        assert_eq!(url.to_string(), shown);
    }
}
