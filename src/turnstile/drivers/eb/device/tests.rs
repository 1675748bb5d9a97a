use super::*;

#[test]
fn a_tripod_never_answers_and_obeys_only_its_own_address() {
    let mut board = Tripod::new(1);
    let right = hex::decode("EB014100AB").unwrap();
    assert_eq!(board.whole(&right), Some(5));
    let heard = board.hear(&right);
    assert_eq!((heard.answer, heard.released), (None, vec![Direction::Exit]));
    assert!(board.hear(&hex::decode("EB024000A9").unwrap()).released.is_empty());
    // The check that the manual prints, against its own rule.
    assert_eq!(board.whole(&hex::decode("EB014200AB").unwrap()), None);
}
