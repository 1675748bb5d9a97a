use super::*;
use jiff::civil::date;
use proptest::prelude::*;

/// Appends the check character, computed with the table of weights of GB 11643.
pub fn with_check(seventeen: &str) -> String {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = seventeen.bytes().zip(WEIGHTS).map(|(b, w)| u32::from(b - b'0') * w).sum();
    let check = b"10X98765432"[(sum % 11) as usize];
    format!("{seventeen}{}", char::from(check))
}

fn check(id_type: IdType, number: &str) -> Result<Identity, String> {
    let today = Some(date(2026, 11, 22));
    Identity::checked(id_type, number, Particulars::default(), today).map_err(|e| e.to_string())
}

#[test]
fn the_example_number_of_the_standard_is_accepted() {
    // GB 11643-1999, the example of its appendix.
    let identity = check(IdType::Resident, " 11010519491231002x ").unwrap();
    assert_eq!(identity.particulars.birth_date, Some(date(1949, 12, 31)));
    assert_eq!(identity.particulars.gender, Some(Gender::Female));
    assert_eq!(identity.masked(), "**************002X");
    let full_width = check(IdType::Resident, "１１０１０５１９４９１２３１００２Ｘ").unwrap();
    assert!(full_width.same_document(&identity));
}

#[test]
fn a_wrong_number_is_refused_and_the_message_names_the_fault() {
    for (number, problem) in [
        ("110105194912310021", "check digit"),
        ("110105491231002", "15 digits"),
        ("11010519491231002", "17 characters"),
        ("1.10105E+17", "as text"),
        ("", "is missing"),
        ("000105194912310025", "region"),
        ("990105194912310025", "region"),
        (&with_check("11010519490231002"), "birth date"),
        (&with_check("11010520991231002"), "birth date"),
        (&with_check("11010518991231002"), "birth date"),
        ("1101051949123100é", "characters"),
    ] {
        let refused = check(IdType::Resident, number).unwrap_err();
        assert!(refused.contains(problem), "{number}: {refused}");
        assert!(number.len() < 6 || !refused.contains(number), "{refused}");
    }
}

#[test]
fn the_number_of_each_document_type_has_its_own_form() {
    for (id_type, good, bad) in [
        (IdType::Passport, "E12345678", "E1"),
        (IdType::HkMacaoPermit, "H12345678", "12345678"),
        (IdType::HkMacaoPermit, "M1234567890", "H123456789"),
        (IdType::TaiwanPermit, "12345678", "1234567"),
    ] {
        assert!(check(id_type, good).is_ok(), "{good}");
        assert!(check(id_type, bad).is_err(), "{bad}");
        assert_eq!(IdType::from_word(id_type.word()), Some(id_type));
    }
}

#[test]
fn particulars_must_agree_with_the_number() {
    let said = |particulars| {
        let checked = Identity::checked(IdType::Resident, "11010519491231002X", particulars, None);
        checked.map(|i| i.particulars).map_err(|e| e.to_string())
    };
    let none = Particulars::default;
    assert!(said(Particulars { gender: Some(Gender::Female), ..none() }).is_ok());
    for (wrong, field) in [
        (Particulars { gender: Some(Gender::Male), ..none() }, "gender"),
        (Particulars { birth_date: Some(date(1949, 12, 30)), ..none() }, "birth-date"),
        (Particulars { phone: Some("call me".into()), ..none() }, "phone"),
        (Particulars { bank_tail: Some("62170001234".into()), ..none() }, "bank-tail"),
    ] {
        let refused = said(wrong).unwrap_err();
        assert!(refused.starts_with(field), "{refused}");
    }
}

#[test]
fn an_identity_sealed_by_version_1_can_be_read() {
    // The fields of `Identity` before it had particulars.
    #[derive(Serialize)]
    struct Old {
        id_type: String,
        number: String,
        salt: [u8; 32],
    }
    let old = Old { id_type: "resident".into(), number: "52220119".into(), salt: [7; 32] };
    let mut bytes = Vec::new();
    ciborium::into_writer(&old, &mut bytes).unwrap();
    let read: Identity = ciborium::from_reader(bytes.as_slice()).unwrap();
    assert_eq!((&**read.number, read.salt), ("52220119", [7; 32]));
    assert_eq!(read.particulars, Particulars::default());
}

proptest! {
    /// MOD 11-2 detects each single wrong digit and each swap of two neighbours.
    #[test]
    fn a_mistyped_number_is_refused(
        days in 0..40_000_i32, tail in 0..1000_u32, region in 0..PROVINCES.len(),
        at in 0..18_usize, other in 0..10_u8,
    ) {
        let born = date(1900, 1, 1).checked_add(jiff::Span::new().days(days)).unwrap();
        let seventeen = format!("{}0102{}{tail:03}", PROVINCES[region], born.strftime("%Y%m%d"));
        let number = with_check(&seventeen);
        prop_assert!(check(IdType::Resident, &number).is_ok());
        let mut wrong = number.clone().into_bytes();
        wrong[at] = b'0' + other;
        let wrong = String::from_utf8(wrong).unwrap();
        prop_assert_eq!(check(IdType::Resident, &wrong).is_ok(), wrong == number);
        let mut swapped = number.clone().into_bytes();
        let at = at.min(16);
        swapped.swap(at, at + 1);
        let swapped = String::from_utf8(swapped).unwrap();
        prop_assert_eq!(check(IdType::Resident, &swapped).is_ok(), swapped == number);
    }

    #[test]
    fn hostile_text_never_panics(text in ".{0,30}") {
        for id_type in IdType::ALL {
            let _ = check(id_type, &text);
        }
    }
}

#[test]
fn all_faults_of_an_identity_are_reported_at_once() {
    let given = Particulars {
        phone: Some("12".into()),
        bank_tail: Some("12345".into()),
        ..Particulars::default()
    };
    let of = |number| Identity::checked(IdType::Resident, number, given.clone(), None).unwrap_err();
    let RosterError::Several(faults) = of("110105194912310021") else { panic!() };
    let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let fields = ["id-number: does not fit", "phone: must be", "bank-tail: must be"];
    assert_eq!(said.len(), fields.len(), "{said:?}");
    assert!(said.iter().zip(fields).all(|(said, field)| said.starts_with(field)), "{said:?}");
}

#[test]
fn a_check_character_that_looks_like_x_is_an_x() {
    let right = (1..100).map(|n| with_check(&format!("52220119900307{n:03}")));
    let right = right.into_iter().find(|number| number.ends_with('X')).unwrap();
    for x in ['x', 'Ｘ', 'ｘ', '\u{425}', '\u{445}', '\u{3a7}', '\u{3c7}', '×'] {
        let typed = right.replace('X', &x.to_string());
        let checked = Identity::checked(IdType::Resident, &typed, Particulars::default(), None);
        assert_eq!(*checked.unwrap().number, right, "{x}");
    }
}
