//! `gatehouse key …`: replaces the sealing key or the signing key of this gateway. These commands
//! open the database themselves, so the daemon must not run. `key show` asks the daemon.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, Subcommand};
use rusqlite::Transaction;
use serde_json::json;

use super::Context;
use crate::{
    clock::{Clock, SystemClock},
    config::Config,
    control::Request,
    ledger::{KeyChange, Ledger, SigningKeyChange, Via},
    roster::{self, Resealed},
    services::{KeyShown, actor},
    store::{self, Link, NewKey, photo_store},
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
    /// Sign the ledger with a new key, which the present key endorses; stop the daemon first
    ///
    /// Packages hold the endorsement, so a fingerprint that was noted before stays good. If the
    /// present key may be known to others, note the new fingerprint too.
    #[command(after_help = "Example:
  gatehouse key rotate-signing")]
    RotateSigning(Rotate),
    /// Show the public half of the signing key and its fingerprint
    #[command(after_help = "Example:\n  gatehouse key show")]
    Show,
}

#[derive(Args)]
pub(super) struct Rotate {
    /// File for the new key, if the present key is a systemd credential. Afterwards put the new key in
    /// the credential's place
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// File of the present key, if it is a systemd credential and the command does not run
    /// in the environment of the service
    #[arg(long, value_name = "FILE", requires = "to")]
    from: Option<PathBuf>,
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Rotate(rotate) => self::rotate(context, rotate),
        Command::RotateSigning(rotate) => rotate_signing(context, rotate),
        Command::Show => show(context).await,
    }
}

async fn show(context: &Context) -> anyhow::Result<ExitCode> {
    let shown: KeyShown = context.ask(&Request::SigningKey).await?;
    context.print(&shown, |shown| {
        let mut text = format!("key          {}\nfingerprint  {}", shown.key, shown.fingerprint);
        // Writing into a String cannot fail.
        for earlier in &shown.earlier {
            let _ = write!(text, "\nearlier      {earlier}");
        }
        if let Some(replaced) = &shown.replaced {
            let _ = write!(text, "\nreplaced     {replaced}, which has not endorsed this key");
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the log and the failpoints of a command that works on the storage folder.
fn console(context: &Context) -> anyhow::Result<(Config, Arc<dyn Clock>)> {
    let config = context.config()?;
    super::log::start(config.site.timezone.clone())?;
    Ok((config, Arc::new(SystemClock::new()?)))
}

fn rotate_signing(context: &Context, Rotate { to, from }: Rotate) -> anyhow::Result<ExitCode> {
    let (config, clock) = console(context)?;
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    let upstreams: Vec<String> = config.upstreams.iter().map(|u| u.name.clone()).collect();
    let (stamp, by) = (clock.stamp(), actor(nix::unistd::getuid().as_raw(), Via::Console));
    let keys = NewKey { to: to.as_deref(), from: from.as_deref() };
    let record = |tx: &Transaction<'_>, link: &Link, key| {
        let change = SigningKeyChange {
            key,
            predecessor: Some(link.key),
            endorsement: Some(link.endorsement.clone()),
            by: Some(by),
        };
        Ledger::open(tx, upstreams)?.append(tx, stamp, change)?;
        Ok::<_, anyhow::Error>(())
    };
    let rotated = store::rotate_signing(&config.storage, &clock, keys, record)?;
    let fingerprint = hex::encode(rotated.key.fingerprint());
    let shown = json!({
        "key": rotated.key.to_string(),
        "fingerprint": fingerprint,
        "file": rotated.file,
        "in_place": rotated.in_place,
    });
    context.print(&shown, |_| {
        let file = rotated.file.display();
        let next = match rotated.in_place {
            true => "start the daemon".to_owned(),
            false => format!("put {file} in the credential's place, then start the daemon"),
        };
        format!("the old key has endorsed the new key of fingerprint {fingerprint}; {next}")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn rotate(context: &Context, Rotate { to, from }: Rotate) -> anyhow::Result<ExitCode> {
    let (config, clock) = console(context)?;
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
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
