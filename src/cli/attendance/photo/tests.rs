use super::*;

#[test]
fn a_passage_is_given_as_a_seq_or_as_32_digits() {
    assert_eq!(asked("17"), Ok(PassageAsked::Seq(17)));
    let digits = "0123456789abcdef0123456789abcdef";
    assert_eq!(asked(digits), Ok(PassageAsked::Passage(digits.to_owned())));
    assert!(asked("W001").is_err() && asked("-1").is_err() && asked("").is_err());
}
