use proptest::prelude::*;

use super::{device::Device, *};

fn at(ms: u64) -> Monotonic {
    Monotonic::from_millis(ms)
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex.replace(' ', "")).unwrap()
}

fn card() -> IdCard {
    IdCard {
        name: "刘峰".into(),
        sex: "1".into(),
        birth: "19900307".into(),
        number: "110101199003070011".into(),
        until: "长期".into(),
    }
}

/// Plays host and reader against each other until the host reports something but an empty reader.
fn play(sam: &mut Sam, device: &mut Device, from: u64) -> (Vec<Heard>, u64) {
    for now in (from..from + 10_000).step_by(10) {
        let (mut heard, sent) = sam.tick(at(now));
        heard.extend(sam.hear(&device.hear(&sent), at(now)));
        heard.retain(|heard| *heard != Heard::Present);
        if !heard.is_empty() {
            return (heard, now);
        }
    }
    (Vec::new(), from + 10_000)
}

#[test]
fn the_frames_are_those_that_vendors_publish() {
    assert_eq!(Request::Find.frame(), bytes("AA AA AA 96 69 00 03 20 01 22"));
    assert_eq!(Request::Select.frame(), bytes("AA AA AA 96 69 00 03 20 02 21"));
    assert_eq!(Request::Read.frame(), bytes("AA AA AA 96 69 00 03 30 01 32"));
    let mut device = Device::default();
    let ask = |device: &mut Device, request: Request| device.hear(&request.frame());
    assert_eq!(ask(&mut device, Request::Find), bytes("AA AA AA 96 69 00 04 00 00 80 84"));
    device.lay(Some(card()));
    let found = "AA AA AA 96 69 00 08 00 00 9F 00 00 00 00 97";
    assert_eq!(ask(&mut device, Request::Find), bytes(found));
    let selected = "AA AA AA 96 69 00 0C 00 00 90 00 00 00 00 00 00 00 00 9C";
    assert_eq!(ask(&mut device, Request::Select), bytes(selected));
    let read = ask(&mut device, Request::Read);
    assert_eq!(read.len(), 1295);
    assert!(read.starts_with(&bytes("AA AA AA 96 69 05 08 00 00 90 01 00 04 00")));
}

#[test]
fn a_card_is_read_once_until_it_is_lifted() {
    let (mut sam, mut device) = (Sam::default(), Device::default());
    device.lay(Some(card()));
    let (heard, now) = play(&mut sam, &mut device, 0);
    assert_eq!(heard, [Heard::IdCard(Box::new(card()))]);
    let (heard, now) = play(&mut sam, &mut device, now + 10);
    assert_eq!(heard, []);
    device.lay(Some(card()));
    let (heard, _) = play(&mut sam, &mut device, now);
    assert_eq!(heard, [Heard::IdCard(Box::new(card()))]);
}

#[test]
fn an_answer_is_read_at_each_split_and_after_noise() {
    let mut device = Device::default();
    device.lay(Some(card()));
    let answers = [Request::Find, Request::Select, Request::Read].map(|r| device.hear(&r.frame()));
    for split in 0..answers[2].len() {
        let mut sam = Sam::default();
        sam.tick(at(0));
        sam.hear(&[b"\xAA\xAA\x00noise", &answers[0][..]].concat(), at(1));
        sam.tick(at(2));
        sam.hear(&answers[1], at(3));
        sam.tick(at(4));
        let (before, after) = answers[2].split_at(split);
        let mut heard = sam.hear(before, at(5));
        heard.extend(sam.hear(after, at(6)));
        assert_eq!(heard, [Heard::IdCard(Box::new(card()))], "split at {split}");
    }
}

#[test]
fn a_damaged_or_lifted_card_and_a_silent_reader_are_reported() {
    let mut device = Device::default();
    device.lay(Some(card()));
    let mut sam = Sam::default();
    let (_, find) = sam.tick(at(0));
    sam.hear(&device.hear(&find), at(1));
    device.lay(None);
    let (heard, now) = play(&mut sam, &mut device, 10);
    assert!(
        matches!(&heard[..], [Heard::Unreadable(what)] if what.contains("lifted")),
        "{heard:?}"
    );
    // The reader is pulled out.
    let mut heard = Vec::new();
    for now in (now..now + 20_000).step_by(100) {
        heard.extend(sam.tick(at(now)).0);
    }
    assert!(matches!(&heard[..], [Heard::Silent(what)] if what.contains("answer")), "{heard:?}");
    let mut wrong = frame(&[0, 0, FOUND, 0, 0, 0, 0]);
    *wrong.last_mut().unwrap() ^= 1;
    let heard = sam.hear(&wrong, at(90_000));
    assert!(
        matches!(&heard[..], [Heard::Unreadable(what)] if what.contains("checksum")),
        "{heard:?}"
    );
}

#[test]
fn a_foreigners_card_is_named() {
    let mut device = Device::default();
    device.lay(Some(card()));
    let mut answer = device.hear(&Request::Read.frame());
    let mut body = answer.split_off(7);
    body.pop();
    body[7 + 248] = b'I';
    assert!(text(&body).unwrap_err().contains("permanent residence"));
    assert!(text(&body[..100]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_bounded_and_the_next_reading_is_whole(
        noise in prop::collection::vec(any::<u8>(), 0..4000),
    ) {
        let (mut sam, mut device) = (Sam::default(), Device::default());
        sam.tick(at(0));
        sam.hear(&noise, at(1));
        prop_assert!(sam.held.len() <= 7 + LENGTH_MAX);
        // What the noise began ends with its timeout.
        device.lay(Some(card()));
        let mut heard = Vec::new();
        for now in (10_000..40_000).step_by(50) {
            let (more, sent) = sam.tick(at(now));
            heard.extend(more);
            heard.extend(sam.hear(&device.hear(&sent), at(now)));
        }
        prop_assert!(heard.contains(&Heard::IdCard(Box::new(card()))));
    }
}
