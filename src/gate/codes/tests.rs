use super::*;
use crate::{clock::BootId, config::Secret};

const NOW: i64 = 1_795_996_800;

fn at(second: i64, synced: bool) -> Stamp {
    Stamp { wall_ms: second * 1000, synced, boot: BootId([1; 16]), uptime_ms: 5 }
}

fn platform() -> CodeKey {
    CodeKey::new([9; 32])
}

fn codes() -> Codes {
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::load(&Secret::File(dir.path().join("key")), true).unwrap();
    Codes::new(("P-1".into(), "gate-1".into()), &sealer, Some(platform()))
}

fn says(issued: i64, expires: i64) -> Says {
    let text = |text: &str| text.to_owned();
    Says { project: text("P-1"), gateway: text("gate-1"), worker: text("W001"), issued, expires }
}

fn by_platform(says: Says) -> Code {
    Code::make(says, [3; 8], &platform())
}

#[test]
fn an_own_code_and_a_platforms_count_until_they_expire() {
    let (codes, minutes) = (codes(), Duration::from_secs(600));
    let own = codes.make(&"W001".parse().unwrap(), at(NOW, true), minutes, [1; 8]);
    let counts = Ok(("W001".parse().unwrap(), Vec::new()));
    for code in [own, by_platform(says(NOW, NOW + 600))] {
        for direction in Direction::BOTH {
            let judged = |second| codes.judge(&code, direction, at(second, true));
            assert_eq!(judged(NOW), counts);
            assert_eq!(judged(NOW - 120), counts, "the platform's clock is ahead");
            assert_eq!(judged(NOW + 599), counts);
            assert_eq!(judged(NOW + 600), Err(Reason::CodeExpired));
            assert_eq!(judged(NOW - 121), Err(Reason::CodeExpired));
        }
    }
    let long = by_platform(says(NOW, NOW + 3601));
    let judged = codes.judge(&long, Direction::Entry, at(NOW, true));
    assert_eq!(judged, Err(Reason::CodeExpired), "it would count for too long");
    let never = by_platform(says(i64::MIN, i64::MAX));
    assert_eq!(codes.judge(&never, Direction::Exit, at(NOW, true)), Err(Reason::CodeExpired));
}

#[test]
fn a_code_of_another_gateway_or_of_another_key_opens_nothing() {
    let codes = codes();
    let judged = |code: &Code| codes.judge(code, Direction::Exit, at(NOW, true));
    let elsewhere = Says { gateway: "gate-2".into(), ..says(NOW, NOW + 60) };
    assert_eq!(judged(&by_platform(elsewhere)), Err(Reason::CodeElsewhere));
    let elsewhere = Says { project: "P-2".into(), ..says(NOW, NOW + 60) };
    assert_eq!(judged(&by_platform(elsewhere)), Err(Reason::CodeElsewhere));
    let forged = Code::make(says(NOW, NOW + 60), [3; 8], &CodeKey::new([8; 32]));
    assert_eq!(judged(&forged), Err(Reason::CodeUnknown));
}

#[test]
fn i15_without_a_trusted_clock_a_code_opens_no_entry_and_an_exit_is_flagged() {
    let codes = codes();
    let code = by_platform(says(NOW, NOW + 60));
    let judged = |direction| codes.judge(&code, direction, at(0, false));
    assert_eq!(judged(Direction::Entry), Err(Reason::ClockNotTrusted));
    assert_eq!(judged(Direction::Exit), Ok(("W001".parse().unwrap(), vec![Flag::CLOCK])));
}
