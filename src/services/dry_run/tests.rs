use super::*;
use crate::roster::IdType;

#[test]
fn a_dry_run_refuses_a_repeated_worker() {
    let roster = Roster::default();
    let mut dry = DryRuns::default();
    let identity = |number: &str| {
        Identity::checked(IdType::Passport, number, Default::default(), None).unwrap()
    };
    let mut added = |id: &str, number: &str| {
        let (id, number) = (id.parse().unwrap(), identity(number));
        let refused = dry.add(&roster, id, Some(&number), vec![]);
        refused.map_err(|e| e.to_string()).err().unwrap_or_default()
    };
    assert_eq!(added("W1", "E1111111"), "");
    assert_eq!(added("W2", "E2222222"), "");
    assert!(added("W2", "E3333333").contains("W2 is already enrolled"));
    assert!(added("W3", "E1111111").contains("as worker W1"));
    for n in 2..MOST_WORKERS {
        assert_eq!(added(&format!("X{n}"), &format!("X{n:07}")), "");
    }
    assert!(added("W4", "E4444444").contains("10000 workers"));
}
