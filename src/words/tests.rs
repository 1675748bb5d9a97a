use super::*;

#[test]
fn a_count_of_one_has_the_singular_and_all_others_the_plural() {
    let said = [counted(0, "worker"), counted(1, "worker"), counted(2_u64, "worker")];
    assert_eq!(said, ["0 workers", "1 worker", "2 workers"]);
    assert_eq!([counted(1, "entry"), counted(3, "entry")], ["1 entry", "3 entries"]);
    assert_eq!(counted(3_usize, "day"), "3 days");
}
