//! `gatehouse command …`: signs a platform's commands, to try them. Runs without a daemon and
//! without a configuration, on the platform's machine too.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{Context, print_line};
use crate::{
    clock::{Clock, SystemClock},
    uplink::authority::Signer,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Print a signed command, or a signed acknowledgement, for the topic `command` or `ack`
    ///
    /// It needs neither the daemon nor a configuration. See docs/integrate/signatures.md.
    #[command(after_help = "Examples:
  gatehouse command sign roster.digest --key key --project P-1 --gateway gate-1
  gatehouse command sign roster.page \"{}\" --key key --ed25519 --project P-1 --gateway gate-1")]
    Sign(Sign),
    /// Print the command_key of an Ed25519 private key, for the gateway's configuration
    #[command(after_help = "Example:
  gatehouse command public --key private-key")]
    Public {
        /// The file with the private key: 64 hexadecimal digits (openssl rand -hex 32)
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
}

#[derive(Args)]
pub(super) struct Sign {
    /// The verb, such as worker.suspend; or ack
    verb: String,
    /// The arguments, a JSON object
    #[arg(default_value = "{}")]
    arguments: String,
    /// The file with the key: 64 hexadecimal digits (openssl rand -hex 32)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The project_code of the gateway's configuration
    #[arg(long, value_name = "CODE")]
    project: String,
    /// The gateway's id
    #[arg(long, value_name = "ID")]
    gateway: String,
    /// The key is an Ed25519 private key; without this, a secret that both sides have
    #[arg(long)]
    ed25519: bool,
    /// The command's id; without it a random one
    #[arg(long)]
    id: Option<String>,
    /// For how long the command is valid, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    valid_s: u32,
}

pub(super) fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Public { key } => {
            let public = signer(&key, true)?.public().unwrap_or_default();
            context.print(&json!({ "command_key": public }), |_| public.clone())?;
        }
        Command::Sign(sign) => print_line(&signed(&sign)?.to_string())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn signer(key: &PathBuf, pair: bool) -> anyhow::Result<Signer> {
    let named = || key.display().to_string();
    let digits = zeroize::Zeroizing::new(std::fs::read_to_string(key).with_context(named)?);
    Signer::new(&digits, pair).with_context(named)
}

fn signed(sign: &Sign) -> anyhow::Result<Value> {
    let args: Map<String, Value> =
        serde_json::from_str(&sign.arguments).context("the arguments are no JSON object")?;
    let now = SystemClock::new()?.stamp().timestamp();
    let mut body = json!({
        "project": sign.project, "gateway": sign.gateway, "issued_at": now.to_string(),
    });
    if sign.verb == "ack" {
        body["topic"] = "ack".into();
        args.into_iter().for_each(|(name, value)| body[name] = value);
    } else {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let id = sign.id.clone().unwrap_or_else(|| format!("try-{}", hex::encode(random)));
        let until = now.checked_add(Duration::from_secs(sign.valid_s.into()))?;
        body["topic"] = "command".into();
        body["id"] = id.into();
        body["verb"] = sign.verb.clone().into();
        body["args"] = args.into();
        body["expires_at"] = until.to_string().into();
    }
    Ok(signer(&sign.key, sign.ed25519)?.signed(&body.to_string()))
}
