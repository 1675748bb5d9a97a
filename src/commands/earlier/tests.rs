use rusqlite::Connection;

use super::*;
use crate::config::Secret;

struct Table {
    connection: Connection,
    dir: tempfile::TempDir,
}

impl Table {
    fn new() -> Table {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(crate::store::SCHEMA).unwrap();
        Table { connection, dir: tempfile::tempdir().unwrap() }
    }

    fn sealer(&self, key: &str) -> Sealer {
        Sealer::load(&Secret::File(self.dir.path().join(key)), true).unwrap()
    }

    fn known(&self, upstream: &str, id: &str, contents: &str, issued_ms: i64) -> CommandKey {
        CommandKey::new(&self.sealer("key"), upstream, id, contents, issued_ms, true)
    }

    fn begin(&mut self, known: &CommandKey) -> Earlier {
        let tx = self.connection.transaction().unwrap();
        let earlier = begin(&tx, known).unwrap();
        tx.commit().unwrap();
        earlier
    }

    fn answered(&mut self, known: &CommandKey, reply: &str) {
        let tx = self.connection.transaction().unwrap();
        answered(&tx, known, reply).unwrap();
        tx.commit().unwrap();
    }

    fn count(&self) -> u64 {
        self.connection.query_row("SELECT count(*) FROM command", [], |row| row.get(0)).unwrap()
    }
}

#[test]
fn a_command_is_begun_once_and_a_repetition_gets_its_reply() {
    let mut table = Table::new();
    let command = table.known("a", "c-1", "worker.remove {\"id\":\"W001\"}", 5);
    assert_eq!(table.begin(&command), Earlier::New);
    assert_eq!(table.begin(&command), Earlier::Begun { trusted: true });
    table.answered(&command, "{\"ok\":true}");
    assert_eq!(table.begin(&command), Earlier::Answered("{\"ok\":true}".into()));
    let other = table.known("a", "c-1", "worker.remove {\"id\":\"W002\"}", 5);
    assert_eq!(table.begin(&other), Earlier::Reused);
    // Each platform chooses its own ids.
    assert_eq!(table.begin(&CommandKey { upstream: "b".into(), ..command.clone() }), Earlier::New);
    // After a change of the sealing key the contents cannot be compared, but the id is known.
    let rekeyed = CommandKey::new(
        &table.sealer("key2"),
        "a",
        "c-1",
        "worker.remove {\"id\":\"W001\"}",
        5,
        true,
    );
    assert_eq!(table.begin(&rekeyed), Earlier::Answered("{\"ok\":true}".into()));
    table.answered(&command, &"x".repeat(REPLY_MAX + 1));
    assert_eq!(table.begin(&command), Earlier::Begun { trusted: true });
}

#[test]
fn i8_the_oldest_commands_are_forgotten_and_older_ones_are_not_carried_out() {
    let mut table = Table::new();
    let most = i64::try_from(REMEMBERED).unwrap();
    for n in 1..=most {
        assert_eq!(table.begin(&table.known("a", &format!("c-{n}"), "x", 10 * n)), Earlier::New);
    }
    assert_eq!(table.begin(&table.known("a", "late", "x", 1)), Earlier::New);
    assert_eq!(
        (table.count(), table.begin(&table.known("a", "c-1", "x", 10))),
        (1_000, Earlier::New)
    );
    // `c-1`, issued at 10, was forgotten. Then it came as a new command, and `c-2`, issued at 20,
    // was forgotten.
    assert_eq!(table.begin(&table.known("a", "c-2", "x", 19)), Earlier::Forgotten);
    assert_eq!(table.begin(&table.known("a", "c-3", "x", 30)), Earlier::Begun { trusted: true });
    assert_eq!(table.begin(&table.known("b", "c-2", "x", 19)), Earlier::New);
    assert_eq!(table.count(), 1_001);
    // A time of a clock that is not trusted makes no command old.
    let mut table = Table::new();
    for n in 0..=most {
        let known =
            CommandKey { trusted: false, ..table.known("a", &format!("c-{n}"), "x", 99_999) };
        assert_eq!(table.begin(&known), Earlier::New);
    }
    assert_eq!((table.count(), table.begin(&table.known("a", "y", "x", 1))), (1_000, Earlier::New));
}
