//! Codes become sentences.

use super::*;

#[test]
fn a_code_becomes_a_sentence_and_an_unknown_one_is_shown_as_it_stands() {
    let detail = Detail::new("disk_free").with("mib", 12_u64).with("folder", "/var");
    assert_eq!(detail.to_string(), "12 MiB free in /var");
    let later = Detail::new("flooded").with("cm", 40_u64).with("lane", "north");
    assert_eq!(later.to_string(), "flooded, cm 40, lane north");
    assert_eq!(Detail::new("not_released").to_string(), "not released: ?");
}
