use super::*;

const BASIC: &str = "Basic realm=\"cam\"";
const DIGEST: &str = "Digest realm=\"cam\", nonce=\"n\", qop=\"auth\"";

fn kind(client: Result<PasswordClient, String>) -> Result<&'static str, String> {
    client.map(|client| match client {
        PasswordClient::Digest(_) => "digest",
        _ => "basic",
    })
}

#[test]
fn a_camera_that_asked_for_digest_once_gets_no_answer_to_basic() {
    let asked = Asked::default();
    assert_eq!(kind(asked.answer([BASIC], LoginScheme::Any)).unwrap(), "basic");
    for offered in [&[BASIC, DIGEST][..], &[DIGEST, BASIC], &[DIGEST]] {
        assert_eq!(
            kind(asked.answer(offered.iter().copied(), LoginScheme::Any)).unwrap(),
            "digest"
        );
    }
    let both = format!("{BASIC}, {DIGEST}");
    assert_eq!(kind(asked.answer([&*both], LoginScheme::Any)).unwrap(), "digest");
    let refused = kind(asked.answer([BASIC], LoginScheme::Any)).unwrap_err();
    assert!(refused.contains("asks for basic now"), "{refused}");
    // A digest of an unknown algorithm is no digest that could be answered.
    let unknown = "Digest realm=\"cam\", nonce=\"n\", algorithm=X";
    assert!(kind(asked.answer([unknown, BASIC], LoginScheme::Any)).is_err());
}

#[test]
fn the_configuration_may_insist_on_a_kind_of_login() {
    let answer = |offered: &[&'static str], wanted| {
        kind(Asked::default().answer(offered.iter().copied(), wanted))
    };
    assert_eq!(answer(&[BASIC, DIGEST], LoginScheme::Digest).unwrap(), "digest");
    assert!(answer(&[BASIC], LoginScheme::Digest).unwrap_err().contains("was not sent"));
    assert_eq!(answer(&[BASIC, DIGEST], LoginScheme::Basic).unwrap(), "basic");
    assert!(answer(&[DIGEST], LoginScheme::Basic).unwrap_err().contains("auth = \"any\""));
    assert!(answer(&["Negotiate"], LoginScheme::Any).unwrap_err().contains("unknown kind"));
}

fn value(challenge: &str) -> String {
    let mut client = Asked::default().answer([challenge], LoginScheme::Any).unwrap();
    respond(&mut client, "gate", "word", "DESCRIBE", "rtsp://a/cam").unwrap().to_string()
}

fn part<'a>(value: &'a str, name: &str) -> &'a str {
    let at = value.find(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name} in {value}"));
    let part = value[at + name.len() + 2..].split(", ").next().unwrap();
    part.trim_matches('"')
}

#[test]
fn an_offer_of_auth_int_beside_auth_is_answered_with_auth() {
    for qop in ["auth,auth-int", "auth-int, auth", "auth-int auth", "AUTH-INT,AUTH"] {
        let value = value(&format!("Digest realm=\"r\", nonce=\"n\", qop=\"{qop}\""));
        assert_eq!(part(&value, "qop"), "auth", "{value}");
    }
    // An answer without `qop`, by hand: MD5(MD5(gate:r:word):n:MD5(DESCRIBE:rtsp://a/cam)).
    let old = value("Digest realm=\"r\", nonce=\"n\"");
    for qop in ["qop=\"\"", "qop=\"auth-conf\""] {
        let value = value(&format!("Digest realm=\"r\", nonce=\"n\", {qop}"));
        assert_eq!(part(&value, "response"), part(&old, "response"), "{value}");
    }
    let sha = value("Digest realm=\"r\", nonce=\"n\", algorithm=\"sha-256\"");
    assert!(sha.ends_with("algorithm=SHA-256") && part(&sha, "response").len() == 64, "{sha}");
}

/// Computed with Python's hashlib by RFC 7616, 3.4.3, for the cnonce that the answer holds.
#[test]
fn auth_int_alone_hashes_the_hash_of_the_empty_body() {
    use sha2::{Digest, Sha256};
    let value = value("Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\", algorithm=SHA-256");
    let hash = |parts: &[&str]| hex::encode(Sha256::digest(parts.join(":")));
    let expected = hash(&[
        &hash(&["gate", "r", "word"]),
        "n",
        "00000001",
        part(&value, "cnonce"),
        "auth-int",
        &hash(&["DESCRIBE", "rtsp://a/cam", &hash(&[""])]),
    ]);
    assert_eq!(part(&value, "response"), expected, "{value}");
}

#[test]
fn badly_written_challenges_are_read_where_their_meaning_is_certain() {
    let good = "Digest realm=\"r x\", nonce=\"n\"";
    for written in [
        "Digest realm=\"r x\" nonce=\"n\"",
        "digest  realm = \"r x\",,nonce=n,",
        "Digest realm=\"r x\"; nonce=\"n\";",
        "Digest realm=\"r x\", nonce=\"n\", nonce=\"m\"",
        "DIGEST\trealm=\"r x\"\tnonce='n'",
        "Digest realm=\"r x\", nonce=\"n",
    ] {
        assert_eq!(
            challenges(written),
            challenges(&good.replace("Digest", &written[..6])),
            "{written}"
        );
    }
    let quotes = challenges("Digest realm=\"the \"gate\" cam\", nonce=\"a=b==\", stale=TRUE");
    assert_eq!(quotes, ["Digest realm=\"the \\\"gate\\\" cam\", nonce=\"a=b==\", stale=\"TRUE\""]);
    assert_eq!(
        challenges("Digest realm=Embedded Net DVR nonce=n, qop=auth"),
        challenges("Digest realm=\"Embedded Net DVR\", nonce=\"n\", qop=\"auth\"")
    );
    assert!(client(&challenges("Digest nonce=n")[0]).is_some());
    let session = value("Digest realm=r, nonce=n, algorithm=md5-SESS");
    assert_eq!((part(&session, "qop"), part(&session, "algorithm")), ("auth", "MD5-sess"));
    assert_eq!(challenges("Basic, Digest realm=\"r\" nonce=\"n\" Negotiate").len(), 3);
    assert_eq!(challenges("=,\u{1}\"; é"), Vec::<String>::new());
}

#[test]
fn a_refused_answer_is_not_repeated_and_a_stale_one_is() {
    let login = Login {
        user: "gate".to_owned(),
        password: "word".to_owned().into(),
        auth: LoginScheme::Any,
    };
    let first = "Digest realm=\"r\", nonce=\"1\", qop=\"auth\"";
    let second = "Digest realm=\"r\", nonce=\"2\", qop=\"auth\"";
    let stale = "Digest realm=\"r\", nonce=\"3\", qop=\"auth\", stale=\"true\"";
    let begun = || {
        let mut answers = Answers::new(Some(&login), &Asked::default());
        answers.challenged([first], true).unwrap();
        answers
    };
    let refused =
        |result: Result<(), Unopened>| assert!(matches!(result, Err(Unopened::LoginRefused)));
    refused(begun().challenged([second], true));
    refused(begun().challenged([first], false));
    // The camera closed the connection, and another nonce is valid on the new one.
    let mut moved = begun();
    moved.challenged([second], false).unwrap();
    refused(moved.challenged([first], false));
    let mut old = begun();
    old.challenged([stale], true).unwrap();
    old.challenged([stale], true).unwrap();
    refused(old.challenged([stale], true));
    // A later request may meet a new nonce.
    let mut later = begun();
    later.begin();
    later.challenged([second], true).unwrap();
    let none = Answers::new(None, &Asked::default()).challenged([first], true);
    assert!(matches!(none, Err(Unopened::Other(why)) if why.contains("asks for a login")));
}
