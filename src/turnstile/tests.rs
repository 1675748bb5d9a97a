use std::time::Duration;

use super::*;

#[test]
fn a_passage_id_reads_back_as_it_is_written() {
    let id = PassageId([0xAB, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01]);
    assert_eq!(id.to_string(), "ab000000000000000000000000000001");
    assert_eq!(id.to_string().parse(), Ok(id));
    let json = serde_json::to_string(&id).unwrap();
    assert_eq!(serde_json::from_str::<PassageId>(&json).unwrap(), id);
    let random = PassageId::random().unwrap();
    assert_ne!(random, PassageId::random().unwrap());
    assert_eq!(random.to_string().parse(), Ok(random));
}

#[test]
fn a_text_that_is_not_32_hex_digits_is_refused() {
    for text in ["", "ab", "+b000000000000000000000000000001", &"g".repeat(32), &"0".repeat(33)] {
        assert_eq!(text.parse::<PassageId>(), Err(BadPassageId), "{text}");
    }
}

#[test]
fn a_release_may_have_acted_unless_the_board_plainly_refused_it() {
    let refused = |code| TurnstileError::Refused {
        port: "/dev/ttyUSB0".into(),
        address: 1,
        request: "switch coil 0 on".into(),
        code,
        remedy: "",
    };
    assert!(!refused(2).may_have_acted());
    assert!(refused(4).may_have_acted());
    let silent = TurnstileError::NoAnswer {
        port: "/dev/ttyUSB0".into(),
        address: 1,
        within: Duration::from_millis(300),
        echoed: false,
    };
    assert!(silent.may_have_acted());
    assert_eq!(
        silent.to_string(),
        "no answer from address 1 on /dev/ttyUSB0 within 300 ms: check wiring A/B, baud and \
         address"
    );
}
