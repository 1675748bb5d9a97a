//! `gatehouse key …`: the sealing key of this install.

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
    /// Seal everything with a new key; the daemon must not run
    ///
    /// Whoever has the old key can open old copies of the database with it, and nothing else. Back the
    /// new key up apart from the database.
    #[command(after_help = "Examples:
  gatehouse key rotate
  gatehouse key rotate --from /etc/gatehouse/secrets/key --to /etc/gatehouse/secrets/key.new")]
    Rotate(Rotate),
}

#[derive(Args)]
pub(super) struct Rotate {
    /// Where the new key goes, if storage.key is a credential: put it in the credential's place then
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Where the present key is, if storage.key is a credential and this is not the service's own
    /// environment
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
        let values = crate::timing::counted(done.damaged, "damaged value");
        eprintln!("{values} stayed as before: `gatehouse status` names the workers");
    }
    if !rotated.emptied {
        eprintln!(
            "another program reads the database: start the daemon once it has ended, which \
                   takes the last old copies out of the database's log"
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
            format!("back {key} up, apart from the database; then start the daemon")
        } else {
            format!("put {key} in the credential's place, back it up, then start the daemon")
        };
        let values = crate::timing::counted(done.values, "value");
        format!("{values} sealed with the new key {key}; {next}")
    })?;
    Ok(ExitCode::SUCCESS)
}
