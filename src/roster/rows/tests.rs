use super::*;
use crate::roster::carry_over::tests::enrolment;

#[test]
fn i8_a_full_roster_refuses_a_worker_until_another_is_removed() {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    connection.execute_batch(crate::store::SCHEMA).unwrap();
    let fill = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
        INSERT INTO worker (id, name, team, contractor, trade, identity, identity_lookup, state)
        SELECT 'X' || n, 'x', 'x', 'x', 'x', x'00', n || '', 'active' FROM n";
    connection.execute(&fill.replace("n || ''", "CAST(n AS BLOB)"), [MOST_WORKERS]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let key = crate::config::Secret::File(dir.path().join("key"));
    let sealer = Sealer::load(&key, true).unwrap();
    let tx = connection.transaction().unwrap();
    let refused = enroll(&tx, &sealer, &enrolment(1)).unwrap_err();
    assert!(refused.to_string().contains("10000 workers"), "{refused}");
    remove(&tx, &"X7".parse().unwrap()).unwrap();
    enroll(&tx, &sealer, &enrolment(1)).unwrap();
}

#[test]
fn a_damaged_row_or_template_affects_only_its_own_worker() {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    connection.execute_batch(crate::store::SCHEMA).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let key = crate::config::Secret::File(dir.path().join("key"));
    let sealer = Sealer::load(&key, true).unwrap();
    let tx = connection.transaction().unwrap();
    (0..4).for_each(|n| enroll(&tx, &sealer, &enrolment(n)).unwrap());
    assert_eq!(load(&tx, &sealer, "m").unwrap().damaged, 0);
    let harm = [
        "UPDATE worker SET valid_until = '2026-61-01' WHERE id = 'W001'",
        "UPDATE template SET sealed = zeroblob(90) WHERE worker = 'W002'",
    ];
    harm.iter().for_each(|sql| assert_eq!(tx.execute(sql, []).unwrap(), 1));
    let roster = load(&tx, &sealer, "m").unwrap();
    assert_eq!((roster.damaged, roster.templates()), (2, 2));
    for (n, known) in [(0, true), (1, false), (2, false), (3, true)] {
        let best = roster.best(&enrolment(n).faces[0].template);
        assert_eq!(best.is_some_and(|m| m.score > 0.9), known, "{n}");
    }
    // The damaged worker can be removed.
    let id = "W001".parse().unwrap();
    assert!(matches!(identity(&tx, &sealer, &id), Err(RosterError::Damaged(_))));
    assert_eq!(remove(&tx, &id).unwrap(), Erased { templates: 1, photos: 1 });
    assert!(load_one(&tx, &sealer, "m", &id).unwrap().is_none());
    assert_eq!(load(&tx, &sealer, "m").unwrap().damaged, 1);
}
