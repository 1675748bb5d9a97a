use super::*;
use crate::roster::IdType;

#[test]
fn a_dry_run_refuses_who_came_by_before() {
    let roster = Roster::default();
    let mut dry = DryRuns::default();
    let identity = |number: &str| {
        Identity::checked(IdType::Passport, number, Default::default(), None).unwrap()
    };
    let mut comes = |id: &str, number: &str| {
        let (id, number) = (id.parse().unwrap(), identity(number));
        let refused = dry.came_by(&roster, id, Some(&number), vec![]);
        refused.map_err(|e| e.to_string()).err().unwrap_or_default()
    };
    assert_eq!(comes("W1", "E1111111"), "");
    assert_eq!(comes("W2", "E2222222"), "");
    assert!(comes("W2", "E3333333").contains("W2 is already enrolled"));
    assert!(comes("W3", "E1111111").contains("as worker W1"));
    for n in 2..MOST_WORKERS {
        assert_eq!(comes(&format!("X{n}"), &format!("X{n:07}")), "");
    }
    assert!(comes("W4", "E4444444").contains("10000 workers"));
}
