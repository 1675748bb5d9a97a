use super::*;
use crate::turnstile::simulation::Hands;

#[test]
fn a_counters_state_is_frozen() {
    let mut board = Counter::new(1);
    board.set_counted(Direction::Entry, 0x101);
    board.set_counted(Direction::Exit, 3);
    board.step(Direction::Entry, true);
    let status = hex::decode("7E00011000000070").unwrap();
    let answer = board.hear(&status).answer.unwrap();
    assert_eq!(hex::encode_upper(answer), "7F010100000000010200000300000C00006C");
    let left = hex::decode("7E000180010000FF").unwrap();
    assert_eq!(board.hear(&left).released, [Direction::Entry]);
    assert!(board.is_open(Direction::Entry) && !board.is_open(Direction::Exit));
}
