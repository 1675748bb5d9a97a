//! Tests of the sentences that codes become.

use super::*;

#[test]
fn a_code_becomes_a_sentence_and_an_unknown_code_is_shown_as_it_is() {
    let detail = Detail::new("disk_free").with("mib", 12_u64).with("folder", "/var");
    assert_eq!(detail.to_string(), "12 MiB free in /var");
    let later = Detail::new("flooded").with("cm", 40_u64).with("lane", "north");
    assert_eq!(later.to_string(), "flooded, cm 40, lane north");
    assert_eq!(Detail::new("not_released").to_string(), "not released: ?");
}

#[test]
fn times_and_counts_are_written_out_and_parts_without_a_parameter_are_left_out() {
    let over = Detail::new("records_over").with("lasted_s", 200_u64).with("records", 1_u64);
    assert_eq!(over.to_string(), "over after 3 min; 1 record waited at most");
    let ended = Detail::new("broker_certificate_ended").with("until", "today");
    let said = "the broker's certificate has ended on today: its operator must renew it";
    assert_eq!(ended.to_string(), said);
    let ended = ended.with("path", "/x.pem").to_string();
    assert!(ended.starts_with("the broker's certificate in /x.pem has ended"), "{ended}");
}
