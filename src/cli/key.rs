//! `gatehouse key …`: replaces the sealing key of this gateway. It opens the database itself, so
//! the daemon must not run.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, Subcommand};
use serde_json::json;

use super::Context;
use crate::{
    clock::{Clock, SystemClock},
    ledger::{KeyChange, Ledger, Via},
    roster::{self, Resealed},
    services::actor,
    store::{self, NewKey, photo_store},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Encrypt all personal data again with a new key; stop the daemon first
    ///
    /// The old key still opens old copies of the database, and nothing else. Back up the new key,
    /// and keep this copy apart from the database.
    #[command(after_help = "Examples:
  gatehouse key rotate
  gatehouse key rotate --from /etc/gatehouse/secrets/key --to /etc/gatehouse/secrets/key.new")]
    Rotate(Rotate),
}

#[derive(Args)]
pub(super) struct Rotate {
    /// File for the new key, if storage.key is a systemd credential. Afterwards put the new key in
    /// the credential's place
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// File of the present key, if storage.key is a systemd credential and the command does not run
    /// in the environment of the service
    #[arg(long, value_name = "FILE", requires = "to")]
    from: Option<PathBuf>,
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let Command::Rotate(Rotate { to, from }) = command;
    let config = context.config()?;
    super::log::start(config.site.timezone.clone())?;
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new()?);
    let upstreams: Vec<String> = config.upstreams.iter().map(|u| u.name.clone()).collect();
    let (stamp, by) = (clock.stamp(), actor(nix::unistd::getuid().as_raw(), Via::Console));
    let keys = NewKey { to: to.as_deref(), from: from.as_deref() };
    let mut done = Resealed::default();
    let rotated = store::rotate(&config.storage, &clock, keys, |tx, old, new| {
        done = roster::reseal(tx, old, new)?;
        done.values += photo_store::reseal(tx, old, new)?;
        let ledger = Ledger::open(tx, upstreams)?;
        ledger.append(tx, stamp, KeyChange { resealed: done.values, by })?;
        Ok::<_, anyhow::Error>(())
    })?;
    let key = rotated.key.display();
    if done.damaged > 0 {
        let values = crate::words::counted(done.damaged, "damaged value");
        eprintln!(
            "{values} could not be changed to the new key: the daemon's log names the workers at the \
             next start"
        );
    }
    if !rotated.emptied {
        eprintln!(
            "another program reads the database: end that program, then start the daemon. The start \
             removes the last old copies from the database's log"
        );
    }
    let shown = json!({
        "resealed": done.values,
        "damaged": done.damaged,
        "key": rotated.key,
        "in_place": rotated.in_place,
    });
    context.print(&shown, |_| {
        let next = if rotated.in_place {
            format!("back up {key} apart from the database; then start the daemon")
        } else {
            format!("put {key} in the credential's place, back it up, then start the daemon")
        };
        let values = crate::words::counted(done.values, "value");
        format!("{values} sealed with the new key {key}; {next}")
    })?;
    Ok(ExitCode::SUCCESS)
}
