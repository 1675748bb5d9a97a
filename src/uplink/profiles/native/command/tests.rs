//! Valid payloads, invalid payloads and arbitrary bytes.

use proptest::prelude::*;

use super::*;
use crate::{attendance::Origin, config::CommandLevel, uplink::authority::Signer};

fn origin() -> Origin {
    let timezone = jiff::tz::TimeZone::UTC;
    Origin { gateway: "gate-1".into(), project: "P-1".into(), timezone }
}

fn authority() -> Authority {
    Authority::unsigned(CommandLevel::All, &origin())
}

fn command() -> Value {
    json!({
        "id": "c-1",
        "verb": "roster.page",
        "args": { "after": "W001", "limit": 10 },
        "issued_at": "2026-10-01T08:00:00+08:00",
        "expires_at": "2026-10-01T08:01:00+08:00",
    })
}

fn with(change: impl FnOnce(&mut Map<String, Value>)) -> Value {
    let mut command = command();
    change(command.as_object_mut().unwrap());
    command
}

fn cbor(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

/// Reads a command from both encodings, which must agree.
fn read(command: &Value) -> Result<Envelope, NoCommand> {
    let from_json = Envelope::read(Encoding::Json, command.to_string().as_bytes(), &authority());
    let from_cbor = Envelope::read(Encoding::Cbor, &cbor(command), &authority());
    let essence = |read: &Result<Envelope, NoCommand>| match read {
        Ok(read) => Ok((read.id.clone(), read.args.clone())),
        Err(no) => Err((no.id.clone(), no.code)),
    };
    assert_eq!(essence(&from_json), essence(&from_cbor));
    from_json
}

#[test]
fn a_command_is_read_from_either_encoding() {
    let read = read(&command()).unwrap();
    assert_eq!((&*read.id, &*read.verb), ("c-1", "roster.page"));
    assert_eq!(read.args["limit"], 10);
    let (issued_at, expires_at) = read.times.unwrap();
    assert_eq!(expires_at.duration_since(issued_at).as_secs(), 60);
    let without = with(|c| drop(c.remove("args")));
    assert!(super::tests::read(&without).unwrap().args.is_empty());
}

#[test]
fn i8_a_refusal_names_the_fault_and_the_id_if_that_can_be_read() {
    let deep = json!({ "x": { "y": [1] } });
    let many: Map<String, Value> = (0..65).map(|n| (n.to_string(), json!(1))).collect();
    let list = vec![1; 65];
    for (wrong, id, said) in [
        (json!([1]), None, "a command is a map"),
        (with(|c| drop(c.remove("id"))), None, "id: must be"),
        (with(|c| c["id"] = json!("")), None, "id: must be"),
        (with(|c| c["id"] = json!("x".repeat(65))), None, "id: must be"),
        (with(|c| c["id"] = json!("a b")), None, "id: must be"),
        (with(|c| c["id"] = json!(7)), None, "id: must be"),
        (with(|c| c["verb"] = json!(7)), Some("c-1"), "verb: must be a text"),
        (with(|c| c["args"] = json!([])), Some("c-1"), "args: must be a map"),
        (with(|c| c["issued_at"] = json!("today")), Some("c-1"), "issued_at: must be a time"),
        (with(|c| c["issued_at"] = json!(1)), Some("c-1"), "issued_at: must be a time"),
        (with(|c| drop(c.remove("expires_at"))), Some("c-1"), "expires_at: must be a time"),
        (
            with(|c| c["expires_at"] = json!("2026-10-01T07:59:59+08:00")),
            Some("c-1"),
            "expires_at: is before",
        ),
        (with(|c| drop(c.insert("more".into(), json!(1)))), Some("c-1"), "more: unknown name"),
        (with(|c| c["args"] = deep), None, "nested too deeply"),
        (with(|c| c["args"] = many.into()), None, "a map has more than 64 names"),
        (with(|c| c["args"]["after"] = list.into()), None, "a list has more than 64 values"),
        (with(|c| c["args"]["after"] = json!(0.5)), None, "must be a whole one"),
    ] {
        let refused = read(&wrong).unwrap_err();
        assert_eq!((refused.id.as_deref(), refused.code), (id, "malformed"), "{refused:?}");
        assert!(refused.message.contains(said), "{refused:?} lacks {said:?}");
    }
}

#[test]
fn i8_repeated_names_trailing_data_and_large_payloads_are_refused() {
    let no_command = |encoding, payload: &[u8]| {
        let refused = Envelope::read(encoding, payload, &authority()).unwrap_err();
        (refused.code, refused.message)
    };
    let twice = command().to_string().replace("{\"after\"", "{\"limit\":1,\"after\"");
    let (code, said) = no_command(Encoding::Json, twice.as_bytes());
    assert!(code == "malformed" && said.contains("limit occurs twice"), "{said}");
    let two = format!("{}{}", command(), command());
    assert_eq!(no_command(Encoding::Json, two.as_bytes()).0, "malformed");
    let two = [cbor(&command()), vec![0]].concat();
    assert!(no_command(Encoding::Cbor, &two).1.contains("after the command: 1 byte"));
    // The command is valid except for its size.
    let mut large = command().to_string().into_bytes();
    large.resize(COMMAND_MAX, b' ');
    assert!(Envelope::read(Encoding::Json, &large, &authority()).is_ok());
    large.push(b' ');
    assert_eq!(no_command(Encoding::Json, &large).0, "too_large");
    // Ten thousand nested lists, and lengths that announce more than the payload holds.
    let nested = [0x81; 10_000];
    assert_eq!(no_command(Encoding::Cbor, &nested).0, "malformed");
    assert_eq!(no_command(Encoding::Json, "[".repeat(10_000).as_bytes()).0, "malformed");
    for lie in [0x9B_u8, 0xBB, 0x7B, 0x5B] {
        let lie = [&[lie][..], &[0xFF; 8]].concat();
        assert_eq!(no_command(Encoding::Cbor, &lie).0, "malformed");
    }
}

#[test]
fn busy_has_the_id_and_a_large_command_gets_no_reply() {
    let payload = command().to_string();
    let said = busy(Encoding::Json, payload.as_bytes()).unwrap();
    let said: Value = serde_json::from_slice(&said).unwrap();
    assert_eq!((&said["id"], &said["ok"]), (&json!("c-1"), &json!(false)));
    assert_eq!(said["error"]["code"], "busy");
    let said: Value =
        ciborium::from_reader(busy(Encoding::Cbor, &cbor(&command())).unwrap().as_slice()).unwrap();
    assert_eq!(said["id"], "c-1");
    assert_eq!(busy(Encoding::Json, b"{}"), None);
    let mut large = payload.into_bytes();
    large.resize(GLANCE_MAX + 1, b' ');
    assert_eq!(busy(Encoding::Json, &large), None);
}

proptest! {
    #[test]
    fn i8_arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        for encoding in [Encoding::Json, Encoding::Cbor] {
            prop_assert!(Envelope::read(encoding, &bytes, &authority()).is_err());
            busy(encoding, &bytes);
        }
    }

    /// A valid command with changed bytes is read as a command or refused. Nothing else happens.
    #[test]
    fn i8_a_command_with_bytes_changed_is_read_or_refused(
        at in prop::collection::vec((0.0..1.0_f64, any::<u8>()), 1..8),
    ) {
        for (encoding, mut bytes) in
            [(Encoding::Json, command().to_string().into_bytes()), (Encoding::Cbor, cbor(&command()))]
        {
            for (place, byte) in &at {
                let place = (place * bytes.len() as f64) as usize;
                bytes[place] = *byte;
            }
            if let Ok(read) = Envelope::read(encoding, &bytes, &authority()) {
                prop_assert!(!read.id.is_empty() && read.id.len() <= 64);
                prop_assert!(read.times.is_some_and(|(issued, expires)| issued <= expires));
            }
        }
    }
}

/// Returns an authority that demands this platform's signatures.
fn demanding(signer: &Signer) -> Authority {
    let public = signer.public().unwrap();
    let keys = format!("broker = \"mqtt://127.0.0.1\"\ncommand_key = \"{public}\"");
    let (authority, problem) = Authority::load(&toml::from_str(&keys).unwrap(), &origin());
    assert_eq!(problem, None);
    authority
}

#[test]
fn i13_a_signed_command_counts_for_one_gateway_and_one_topic_and_every_other_is_refused() {
    let signer = Signer::new(&"0b".repeat(32), true).unwrap();
    let demanding = demanding(&signer);
    let body = |change: fn(&mut Value)| {
        let mut body = with(|c| {
            c.extend(["topic", "project", "gateway"].map(|name| (name.to_owned(), Value::Null)));
        });
        (body["topic"], body["project"], body["gateway"]) =
            ("command".into(), "P-1".into(), "gate-1".into());
        change(&mut body);
        body.to_string()
    };
    let read = |message: &Value, authority: &Authority| {
        let json = Envelope::read(Encoding::Json, message.to_string().as_bytes(), authority);
        let cbor = Envelope::read(Encoding::Cbor, &cbor(message), authority);
        let code = |read: &Result<Envelope, NoCommand>| {
            read.as_ref().map(|e| e.signed).map_err(|no| no.code)
        };
        assert_eq!(code(&json), code(&cbor));
        code(&json)
    };
    let signed = signer.signed(&body(|_| ()));
    assert_eq!(read(&signed, &demanding), Ok(true));
    assert_eq!(read(&signed, &authority()), Err("no_key"));
    assert_eq!(read(&command(), &demanding), Err("unsigned"));
    for (change, code) in [
        ((|b| b["gateway"] = "gate-2".into()) as fn(&mut Value), "misaddressed"),
        (|b| b["project"] = "P-2".into(), "misaddressed"),
        (|b| b["topic"] = "ack".into(), "misaddressed"),
        (|b| drop(b.as_object_mut().unwrap().remove("gateway")), "misaddressed"),
        (|b| b["more"] = 1.into(), "malformed"),
    ] {
        assert_eq!(read(&signer.signed(&body(change)), &demanding), Err(code));
    }
    let wrong = |name: &str, value: &str| {
        let mut wrong = signed.clone();
        wrong[name] = value.into();
        read(&wrong, &demanding)
    };
    let blank = format!("{} ", signed["body"].as_str().unwrap());
    for (name, value) in
        [("body", &*blank), ("alg", "hmac-sha256"), ("alg", "none"), ("sig", ""), ("sig", "zz")]
    {
        assert_eq!(wrong(name, value), Err("bad_signature"), "{name} {value}");
    }
    assert_eq!(wrong("more", "x"), Err("malformed"));
    // The public key is no secret, so it must not count as one.
    let public = signer.public().unwrap();
    let secret = Signer::new(public.strip_prefix("ed25519:").unwrap(), false).unwrap();
    assert_eq!(read(&secret.signed(&body(|_| ())), &demanding), Err("bad_signature"));
    // The reply `busy` finds the id within the body.
    let busy = busy(Encoding::Json, signed.to_string().as_bytes()).unwrap();
    assert!(String::from_utf8(busy).unwrap().contains("\"id\":\"c-1\""));
}
