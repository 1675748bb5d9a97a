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

#[test]
fn two_spellings_of_one_name_compare_as_equal() {
    for (one, other) in [
        ("王\u{3000}伟", "王伟"),
        ("李  强", "李强"),
        ("张\u{a0}敏", "张 敏"),
        ("欧阳\u{2003}\u{3000}娜", "欧阳娜"),
        ("阿卜杜拉·买买提", "阿卜杜拉•买买提"),
        ("阿卜杜拉·买买提", "阿卜杜拉・买买提"),
        ("阿卜杜拉·买买提", "阿卜杜拉･买买提"),
        ("阿卜杜拉·买买提", "阿卜杜拉 ‧ 买买提"),
        ("阿卜杜拉·买买提", "阿卜杜拉．买买提"),
        ("阿卜杜拉·买买提", "阿卜杜拉.买买提"),
        ("阿卜杜拉·买买提", "阿卜杜拉⋅买买提"),
        ("刘\u{e863}", "刘䶮"),
        ("王\u{e82b}", "王\u{9fb6}"),
        ("王\u{e831}", "王\u{215d7}"),
        ("金\u{f90a}", "金金"),
        ("⼤山", "大山"),
        ("Ｊohn  Smith", "john smith"),
    ] {
        assert_eq!(folded_name(one), folded_name(other), "{one} {other}");
    }
    for (one, other) in [("王伟", "王玮"), ("John Smith", "JohnSmith"), ("王·伟", "王伟")]
    {
        assert_ne!(folded_name(one), folded_name(other), "{one} {other}");
    }
}

#[test]
fn a_name_is_cleaned_and_a_private_character_is_mapped_or_refused() {
    for (typed, stored) in [
        ("王\u{3000}伟", "王伟"),
        (" 李  强\u{a0}", "李强"),
        ("John\u{a0} Smith", "John Smith"),
        ("阿卜杜拉•买买提", "阿卜杜拉•买买提"),
        ("刘\u{e863}", "刘䶮"),
    ] {
        assert_eq!(unpadded(&one_line(typed).unwrap()), stored);
    }
    // A team's name keeps its blank.
    assert_eq!(one_line("钢筋\u{3000}一班").unwrap(), "钢筋 一班");
    for c in ['\u{e000}', '\u{e865}', '\u{f8ff}', '\u{f0000}', '\u{10fffd}'] {
        let refused = one_line(&format!("刘{c}")).unwrap_err();
        assert!(refused.contains("private-use") && refused.contains("ID document"), "{refused}");
    }
}

#[test]
fn each_private_character_of_gbk_has_a_published_one() {
    let all = ('\u{e815}'..='\u{e864}').map(published).collect::<Vec<_>>();
    assert!(all.iter().all(|c| !is_private(*c)), "{all:?}");
    let known = [(0, '⺁'), (1, '\u{20087}'), (9, '\u{9fb4}'), (0x2e, '\u{9fb9}'), (0x2f, '䜣')];
    for (at, c) in known {
        assert_eq!(all[at], c, "{at:x}");
    }
    assert_eq!((all[0x4e], all[0x4f]), ('䶮', '\u{9fbb}'));
}

#[test]
fn i5_a_number_of_a_person_in_a_text_is_hidden_except_for_its_end() {
    for (text, shown) in [
        ("身份证号522201199003074411 不存在", "身份证号**************4411 不存在"),
        ("11010119900307001X,code -1", "**************001X,code -1"),
        ("2026-11-30 08:00:00 x5", "2026-11-30 08:00:00 x5"),
        ("", ""),
    ] {
        assert_eq!(without_numbers(text), shown);
    }
}
