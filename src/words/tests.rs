use super::*;

#[test]
fn a_count_of_one_has_the_singular_and_all_others_the_plural() {
    let said = [counted(0, "worker"), counted(1, "worker"), counted(2_u64, "worker")];
    assert_eq!(said, ["0 workers", "1 worker", "2 workers"]);
    assert_eq!([counted(1, "entry"), counted(3, "entry")], ["1 entry", "3 entries"]);
    assert_eq!(counted(3_usize, "day"), "3 days");
}

#[test]
fn a_typed_text_has_one_form_and_no_characters_that_are_not_seen() {
    assert_eq!(one_line("\u{3000}Zoe\u{301} 刘峰\u{200b}\u{feff} ").unwrap(), "Zo\u{e9} 刘峰");
    // A variant's selector, and the dot in names of minorities, belong to the name.
    for name in ["葛\u{e0100}城", "阿卜杜拉·买买提", "𠮷野"] {
        assert_eq!(one_line(name).unwrap(), name);
    }
    for c in "\u{202e}\u{200b}\u{2028}\u{2029}\u{2066}\u{7}\n\u{ad}\u{e0041}\u{3164}".chars() {
        let refused = one_line(&format!("刘{c}峰")).unwrap_err();
        assert!(refused.contains(&format!("U+{:04X}", u32::from(c))), "{refused}");
    }
    assert_eq!(composed("Zoe\u{301}"), composed("Zo\u{e9}"));
}
