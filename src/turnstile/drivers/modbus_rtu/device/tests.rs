use proptest::prelude::*;

use super::*;

#[test]
fn frames_on_the_line_are_frozen() {
    let mut slave = Slave::new(1);
    // CRCs from the standard's table, not from `crc16`.
    let on = [0x01, 0x05, 0x00, 0x00, 0xFF, 0x00, 0x8C, 0x3A];
    let off = [0x01, 0x05, 0x00, 0x00, 0x00, 0x00, 0xCD, 0xCA];
    assert_eq!(slave.answer(&on).unwrap(), on);
    assert!(slave.coils[0]);
    let coils = [0x01, 0x01, 0x00, 0x00, 0x00, 0x02, 0xBD, 0xCB];
    assert_eq!(slave.answer(&coils).unwrap(), [0x01, 0x01, 0x01, 0x01, 0x90, 0x48]);
    assert_eq!(slave.answer(&off).unwrap(), off);
    assert!(!slave.coils[0]);
    let inputs = [0x01, 0x02, 0x00, 0x00, 0x00, 0x02, 0xF9, 0xCB];
    assert_eq!(slave.answer(&inputs).unwrap(), [0x01, 0x02, 0x01, 0x00, 0xA1, 0x88]);
}

#[test]
fn a_request_that_a_board_cannot_carry_out_is_answered_by_an_exception() {
    let mut slave = Slave::new(1);
    let mut ask = |body: &[u8]| {
        let answer = slave.answer(&framed(body.to_vec())).unwrap();
        unframed(&answer).unwrap()[1..].to_vec()
    };
    assert_eq!(ask(&[1, 3, 0, 0, 0, 1]), [0x83, ILLEGAL_FUNCTION]);
    assert_eq!(ask(&[1, 16, 0, 0, 0, 1, 2, 0, 0]), [0x90, ILLEGAL_FUNCTION]);
    assert_eq!(ask(&[1, 5, 0, 16, 0xFF, 0]), [0x85, ILLEGAL_ADDRESS]);
    assert_eq!(ask(&[1, 5, 0, 0, 0xFF, 1]), [0x85, ILLEGAL_VALUE]);
    assert_eq!(ask(&[1, 2, 0, 15, 0, 2]), [0x82, ILLEGAL_ADDRESS]);
    assert_eq!(ask(&[1, 1, 0, 0, 0, 0]), [0x81, ILLEGAL_VALUE]);
    assert_eq!(ask(&[1, 1, 0]), [0x81, ILLEGAL_VALUE]);
}

#[test]
fn a_slave_does_not_answer_a_wrong_crc_another_address_or_a_broadcast() {
    let mut slave = Slave::new(1);
    assert_eq!(slave.answer(&[0x01, 0x05, 0x00, 0x00, 0xFF, 0x00, 0x8C, 0x3B]), None);
    assert_eq!(slave.answer(&framed(vec![2, 5, 0, 0, 0xFF, 0])), None);
    assert!(!slave.coils[0]);
    assert_eq!(slave.answer(&framed(vec![0, 5, 0, 0, 0xFF, 0])), None, "broadcast");
    assert!(slave.coils[0]);
}

proptest! {
    #[test]
    fn no_bytes_make_a_slave_panic(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut slave = Slave::new(1);
        slave.answer(&noise);
        let mut addressed = body;
        addressed.insert(0, 1);
        if let Some(answer) = slave.answer(&framed(addressed)) {
            prop_assert!(answer.len() <= 256);
            prop_assert!(unframed(&answer).is_some());
        }
    }

    #[test]
    fn bits_come_back_as_they_were_set(bits in any::<[bool; BITS]>(), at in 0..16_u8, count in 1..16_u8) {
        let mut slave = Slave { coils: bits, ..Slave::new(9) };
        let answer = slave.answer(&framed(vec![9, 1, 0, at, 0, count])).unwrap();
        let body = unframed(&answer).unwrap();
        let (at, count) = (usize::from(at), usize::from(count));
        if at + count > BITS {
            prop_assert_eq!(body, &[9, 0x81, ILLEGAL_ADDRESS][..]);
        } else {
            let read: Vec<bool> = (0..count).map(|n| body[3 + n / 8] >> (n % 8) & 1 == 1).collect();
            prop_assert_eq!(&read, &bits[at..at + count]);
        }
    }
}
