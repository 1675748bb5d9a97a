use super::*;

/// Takes readings of 10 ms each. Returns the known length of the sign after each reading.
fn readings(sign: &mut FireSign, readings: &[(u64, bool)]) -> Vec<Option<u64>> {
    let mut lengths = Vec::new();
    for (at, on) in readings {
        let (asked, heard) = (Monotonic::from_millis(*at), Monotonic::from_millis(at + 10));
        assert!(!sign.read(asked, heard, *on), "not yet over for good");
        lengths.push(sign.lasted().map(|lasted| lasted.as_millis() as u64));
    }
    lengths
}

fn read(sign: &mut FireSign, at: u64, on: bool) -> bool {
    sign.read(Monotonic::from_millis(at), Monotonic::from_millis(at + 10), on)
}

#[test]
fn the_length_of_a_sign_is_bounded_by_the_readings_around_it() {
    let mut sign = FireSign::default();
    let lengths = readings(&mut sign, &[(0, false), (50, true), (60, true), (110, false)]);
    assert_eq!(lengths, [None, None, None, Some(120)]);
    // On a slow line one reading "on" may be of a long sign.
    let mut sign = FireSign::default();
    let lengths = readings(&mut sign, &[(0, false), (190, true), (380, false)]);
    assert_eq!(lengths, [None, None, Some(390)]);
}

#[test]
fn a_sign_is_over_for_good_after_five_seconds_of_unbroken_readings_and_once() {
    let mut sign = FireSign::default();
    readings(&mut sign, &[(0, false), (50, true), (100, false), (2_000, false), (5_109, false)]);
    assert!(read(&mut sign, 5_110, false));
    assert!(!read(&mut sign, 20_000, false));
    // A second sign breaks the readings "off".
    readings(&mut sign, &[(20_050, true), (20_100, false), (24_000, true), (24_050, false)]);
    readings(&mut sign, &[(25_200, false), (29_000, false)]);
    assert!(read(&mut sign, 29_060, false));
}

#[test]
fn after_a_lost_line_the_length_of_a_sign_is_not_known_and_it_is_never_over_for_good() {
    // The line is lost before the sign, during it, or after it.
    for lost_at in [1, 2, 3] {
        let mut sign = FireSign::default();
        let of_a_sign = [(0, false), (50, true), (100, false), (150, false)];
        for (n, (at, on)) in of_a_sign.into_iter().enumerate() {
            if n == lost_at {
                sign.lost();
            }
            read(&mut sign, at, on);
        }
        assert_eq!(sign.lasted(), None, "lost at {lost_at}");
        assert!(!read(&mut sign, 6_000, false), "lost at {lost_at}");
    }
    // The input is on at the first connection.
    let mut sign = FireSign::default();
    assert_eq!(readings(&mut sign, &[(0, true), (50, false)]), [None, None]);
}

#[test]
fn a_sign_is_read_again_at_once_while_it_may_be_short() {
    let mut sign = FireSign::default();
    let may = |sign: &FireSign, at| sign.may_be_short(Monotonic::from_millis(at));
    read(&mut sign, 0, false);
    assert!(!may(&sign, 10));
    read(&mut sign, 50, true);
    assert!(may(&sign, 60) && !may(&sign, 200));
    sign.lost();
    assert!(!may(&sign, 60));
}
