//! A power cut at every step of the tree, of its heads, of a migration and of a change of the
//! signing key, and within writes. The audit passes afterwards, and each head that left the gateway
//! is the beginning of the ledger.

use std::{os::unix::process::ExitStatusExt, path::PathBuf, process::Command};

use crate::{
    common::{Daemon, Site, Subscriber, disk::Disk, program, until},
    evidence::{by_others, export, site, verify},
};
use gatehouse::ledger::tree::is_consistent;
use rusqlite::Connection;
use serde_json::Value;

const FAILPOINTS: &str = "FAILPOINTS";

/// Defines one test for each step.
macro_rules! at {
    ($family:ident by $test:ident: $($name:ident: $($argument:expr),+;)+) => {
        mod $family {
            $(#[test] fn $name() { super::$test($($argument),+) })+
        }
    };
}

at! { a_cut_around_a_head_leaves_each_acknowledged_head_true by cut_around_a_head:
    tree_grown: "tree.grown";
    in_its_transaction: "head.written";
    committed: "head.committed";
    published: "head.published";
    acknowledged: "head.acknowledged";
    noted: "head.noted";
}

at! { a_cut_within_a_migration_leaves_each_acknowledged_head_true by cut_within_a_migration:
    tree_in_its_transaction: "migration.3.written";
    tree_committed: "migration.3.committed";
    journal_in_its_transaction: "migration.5.written";
    journal_committed: "migration.5.committed";
}

at! { a_cut_within_a_change_of_the_signing_key_leaves_one_key_that_is_known by cut_within_a_rotation:
    new_key_made: "signing.made", false;
    in_its_transaction: "signing.written", false;
    committed: "signing.committed", true;
    in_its_place: "signing.renamed", true;
}

/// A gateway whose heads a platform and a worker keep.
struct Kept {
    site: Site,
    platform: Subscriber,
    heads: Vec<Value>,
    /// The worker's head, and the fingerprint of that time.
    head: PathBuf,
    fingerprint: String,
}

impl Kept {
    /// Returns a gateway that is stopped and has sent a head.
    fn new() -> Kept {
        let mut site = site();
        site.broker.start();
        let mut platform = site.broker.subscriber();
        let daemon = site.start();
        let heads = vec![platform.next_on("head")];
        let head = site.path("kept.head");
        let arguments = ["--json", "evidence", "head", "--out", head.to_str().unwrap()];
        let said = site.gatehouse(&arguments).json_lines().remove(0);
        let fingerprint = said["fingerprint"].as_str().unwrap().to_owned();
        daemon.stop();
        Kept { site, platform, heads, head, fingerprint }
    }

    fn dies(&self, mut daemon: Daemon, where_to: &str) {
        let ended = until(&format!("the end {where_to}"), || daemon.0.try_wait().unwrap());
        assert_eq!(ended.signal(), Some(libc::SIGKILL), "{where_to}: {}", self.site.log());
    }

    /// Starts the daemon again. The audit passes, and all kept heads bind the ledger.
    fn holds(&mut self) -> Daemon {
        let entries = self.database().query_row("SELECT count(*) FROM entry", [], |row| row.get(0));
        let entries: u64 = entries.unwrap();
        let daemon = self.site.start();
        loop {
            let head = self.platform.next_on("head");
            let fresh = size(&head["tree_size"]) > entries;
            self.heads.push(head);
            if fresh {
                break;
            }
        }
        for head in self.heads.iter().filter(|head| !head["from"].is_null()) {
            let before = self.heads.iter().find(|before| before["tree_size"] == head["from"]);
            let before = before.unwrap_or_else(|| panic!("no head has the size before: {head}"));
            let path: Vec<_> = head["consistency"].as_array().unwrap().iter().map(hash).collect();
            let (old, new) = (hash(&before["root"]), hash(&head["root"]));
            let trees = (size(&before["tree_size"]), size(&head["tree_size"]));
            assert!(is_consistent((trees.0, &old), (trees.1, &new), &path), "{before} {head}");
        }
        let audit = self.site.gatehouse(&["evidence", "audit"]);
        assert_eq!(audit.code, 0, "{audit:?}");
        assert!(!Site::degraded(&self.site.status()).contains(&"ledger"));
        let head = self.head.to_str().unwrap();
        let package = export(&self.site, &["--head", head]);
        let known = ["--fingerprint", &self.fingerprint, "--head", head];
        let report = verify(&self.site, &package, &known).json_lines().remove(0);
        assert_eq!(
            report["anchor"],
            serde_json::json!({"fingerprint": true, "earlier_head": true})
        );
        assert_eq!(report["attendance"].as_array().unwrap().len(), 4);
        assert_eq!(by_others(&package, &known).0, 0);
        daemon
    }

    fn database(&self) -> Connection {
        Connection::open(self.site.path("data/gatehouse.db")).unwrap()
    }
}

fn size(size: &Value) -> u64 {
    size.as_u64().unwrap()
}

fn hash(hash: &Value) -> [u8; 32] {
    hex::decode(hash.as_str().unwrap()).unwrap().try_into().unwrap()
}

fn dies_at(point: &str) -> String {
    format!("{point}=return")
}

fn cut_around_a_head(point: &str) {
    let mut kept = Kept::new();
    let daemon = kept.site.spawn(&[(FAILPOINTS, &dies_at(point))]);
    kept.dies(daemon, point);
    kept.holds().stop();
}

fn cut_within_a_migration(point: &str) {
    let mut kept = Kept::new();
    // The database as it was before the tree and the journal.
    let old = "DROP TRIGGER verdict_of_row; DROP TABLE verdict; DROP TABLE platform_code;
               DROP TABLE photo_due; DROP TABLE used_code; DROP TABLE card; DROP TABLE consent; ALTER TABLE template DROP COLUMN role;
               ALTER TABLE worker DROP COLUMN pending; ALTER TABLE worker DROP COLUMN pending_from;
               ALTER TABLE worker DROP COLUMN face_erased;
               ALTER TABLE worker DROP COLUMN liveness_exempt; DROP INDEX entry_health;
               DROP INDEX entry_clock; DROP TABLE subtree; PRAGMA user_version = 2;
               DELETE FROM meta WHERE key IN ('tree_edge', 'head') OR key LIKE 'head_sent/%'";
    kept.database().execute_batch(old).unwrap();
    let daemon = kept.site.spawn(&[(FAILPOINTS, &dies_at(point))]);
    kept.dies(daemon, point);
    kept.holds().stop();
}

fn cut_within_a_rotation(point: &str, new: bool) {
    let mut kept = Kept::new();
    let ended = Command::new(program())
        .args(["key", "rotate-signing"])
        .env("GATEHOUSE_CONFIG", kept.site.path("gatehouse.toml"))
        .env(FAILPOINTS, dies_at(point))
        .status()
        .unwrap();
    assert_eq!(ended.signal(), Some(libc::SIGKILL), "{point}: {ended}");
    let daemon = kept.holds();
    let said = kept.site.gatehouse(&["--json", "key", "show"]).json_lines().remove(0);
    assert_eq!(said["fingerprint"] != kept.fingerprint.as_str(), new, "{said}");
    assert_eq!(said["replaced"], Value::Null);
    assert!(!kept.site.path("data/signing.key.next").exists());
    daemon.stop();
    // A further change works.
    let said = kept.site.gatehouse(&["key", "rotate-signing"]);
    assert_eq!(said.code, 0, "{said:?}");
    kept.holds().stop();
}

/// The first writes of a start are of its transaction, the later ones of the log's way into the
/// database, of the tree and of the heads.
#[test]
fn a_write_that_a_power_cut_tears_leaves_each_acknowledged_head_true() {
    let mut kept = Kept::new();
    let disk = Disk::under(&kept.site.path("data"));
    for nth in [1, 2, 3, 6, 10, 16, 25, 40] {
        disk.torn(nth);
        let mut daemon = kept.site.spawn(&disk.environment());
        let signal = until(&format!("the cut within write {nth}"), || {
            // Each head is a further transaction.
            kept.site.gatehouse(&["evidence", "head"]);
            daemon.0.try_wait().unwrap().map(|ended| ended.signal())
        });
        assert_eq!(signal, Some(libc::SIGKILL), "{nth}: {}", kept.site.log());
        disk.well();
        kept.holds().stop();
    }
}
