use super::*;
use crate::{clock::BootId, store::SCHEMA};

fn at(second: i64, synced: bool) -> Stamp {
    Stamp { wall_ms: second * 1000, synced, boot: BootId([1; 16]), uptime_ms: 5 }
}

fn code(n: u32, expires: i64) -> UsedCode {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&n.to_be_bytes());
    UsedCode { id, expires }
}

#[test]
fn a_code_counts_once_and_at_the_bound_only_an_expired_one_makes_room() {
    let mut database = Connection::open_in_memory().unwrap();
    database.execute_batch(SCHEMA).unwrap();
    let tx = database.transaction().unwrap();
    for n in 0..USED_MAX {
        use_code(&tx, code(n, if n == 7 { 100 } else { 200 }), at(50, true)).unwrap();
    }
    assert!(matches!(use_code(&tx, code(3, 200), at(50, true)), Err(CodeRefused::Used)));
    let fresh = code(USED_MAX, 200);
    let full = |now| use_code(&tx, fresh, now);
    assert!(matches!(full(at(99, true)), Err(CodeRefused::TooMany)));
    // A clock that is not trusted makes nothing forgotten.
    assert!(matches!(full(at(900, false)), Err(CodeRefused::TooMany)));
    full(at(100, true)).unwrap();
    assert!(was_used(&tx, &fresh.id).unwrap() && !was_used(&tx, &code(7, 0).id).unwrap());
    assert!(was_used(&tx, &code(0, 0).id).unwrap());
}
