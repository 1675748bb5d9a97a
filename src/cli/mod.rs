//! The command line: one file for each command family.
//!
//! In: arguments. Out: results on stdout (`--json` for machines), messages for people on stderr,
//! and an exit code: 0 done, 1 failed, 2 wrong usage, 3 no daemon answers, 78 the configuration
//! is wrong.

mod attendance;
pub mod bench;
mod check;
mod command;
#[cfg(feature = "demo")]
mod demo;
mod evaluate;
mod evidence;
mod key;
mod lane;
mod ledger;
mod log;
#[cfg_attr(not(feature = "demo"), allow(dead_code, reason = "the bench uses only a part of it"))]
mod rig;
mod roster;
mod run;
mod status;
#[cfg(test)]
mod tests;
mod timesheet;
mod upstream;
mod worker;

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use jiff::tz::TimeZone;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    config::{Config, ConfigError, Control},
    control::{Client, ClientError, Request},
    memory,
    services::SiteShown,
};

/// Maximum number of concurrent blocking calls (the store's readers, an enrolment's photo). Further
/// calls wait. The systemd unit allows the process 128 threads in all.
const BLOCKING: usize = 32;
const DEFAULT_CONFIG: &str = "/etc/gatehouse/gatehouse.toml";

/// The heading of the options that every command has.
const EVERYWHERE: &str = "Options of every command";

/// The program in the box at a construction site's gate.
///
/// It reads the face cameras, releases the turnstiles for the workers on the roster, keeps their
/// attendance in a ledger and sends it upstream when the link is up.
///
/// Exit codes: 0 done; 1 the command failed; 2 wrong usage; 3 no daemon answers; 78 the
/// configuration is wrong.
#[derive(Parser)]
#[command(name = "gatehouse", version, max_term_width = 100)]
struct Arguments {
    /// The configuration file [default: $GATEHOUSE_CONFIG, else /etc/gatehouse/gatehouse.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = EVERYWHERE)]
    config: Option<PathBuf>,
    /// Print JSON: one document; for a list, one object on each line
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    #[command(after_help = "Example:\n  gatehouse run --config gatehouse.toml")]
    Run,
    /// Show a complete gate on this machine in under a minute; needs no configuration
    #[cfg(feature = "demo")]
    #[command(after_help = "Example:\n  gatehouse demo")]
    Demo,
    /// Check the configuration, models, devices, storage, clock and upstreams; needs no daemon
    #[command(
        after_help = "Examples:\n  gatehouse check\n  gatehouse check --config gatehouse.toml\n  \
                      gatehouse check --reader north-card"
    )]
    Check(check::Check),
    /// Show the daemon's state and what needs attention
    #[command(after_help = "Examples:\n  gatehouse status\n  gatehouse status --json")]
    Status,
    /// The roster: enroll, import, update, suspend and remove workers
    #[command(subcommand)]
    Worker(worker::Command),
    /// Confirm the roster after the database lost entries
    #[command(subcommand)]
    Roster(roster::Command),
    /// Attendance records: list and export them, see who is on site, add or dispute a passage
    #[command(subcommand)]
    Attendance(attendance::Command),
    /// Make the monthly sheet that workers sign: hours on site by worker and day
    Timesheet(timesheet::Arguments),
    /// Release a turnstile by hand, or set the mode of a lane: normal, free, closed
    #[command(subcommand)]
    Lane(lane::Command),
    /// Prove attendance to others: packages with proofs, signed heads, an audit of the ledger
    #[command(subcommand)]
    Evidence(evidence::Command),
    /// The records that a platform refused: list them, offer them again
    #[command(subcommand)]
    Upstream(upstream::Command),
    /// Sign a platform's commands, to try them
    #[command(subcommand)]
    Command(command::Command),
    /// Read what is legible of a damaged database, or begin a new ledger
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Change the key that encrypts ID numbers, face templates and photos
    #[command(subcommand)]
    Key(key::Command),
    /// Measure the accuracy of the recognition on a folder of photos
    Evaluate(evaluate::Arguments),
    /// Measure the speed of this machine, by stage
    Bench(bench::Arguments),
}

/// The options that every command has.
struct Context {
    /// The configuration file, if `--config` or the environment names one.
    config: Option<PathBuf>,
    json: bool,
}

impl Context {
    fn config(&self) -> Result<Config, ConfigError> {
        let config = Config::load(self.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG)))?;
        crate::uplink::check(&config)?;
        Ok(config)
    }

    /// Connects to the daemon. A user who may not read the configuration uses the default socket.
    async fn client(&self) -> anyhow::Result<Client> {
        let socket = match self.config() {
            Err(ConfigError::Unreadable { source, .. }) if is_denied(&source) => {
                Control::default().socket
            }
            config => config?.control.socket,
        };
        Ok(Client::connect(&socket).await?)
    }

    /// Returns the site. A user who may not read the configuration asks the daemon.
    async fn site(&self) -> anyhow::Result<(SiteShown, TimeZone)> {
        let site: SiteShown = match self.config() {
            Err(ConfigError::Unreadable { source, .. }) if is_denied(&source) => {
                self.ask(&Request::Site).await?
            }
            config => (&config?.site).into(),
        };
        let timezone = TimeZone::get(&site.timezone)?;
        Ok((site, timezone))
    }

    /// Sends one request to the daemon and returns its answer.
    async fn ask<T: DeserializeOwned>(&self, request: &Request) -> anyhow::Result<T> {
        Ok(self.client().await?.ask(request).await?)
    }

    /// Asks the daemon for a list, and prints it: a table, or one JSON object on each line.
    async fn list<I: Serialize + DeserializeOwned, D: DeserializeOwned>(
        &self,
        request: &Request,
        columns: &[&str],
        row: impl Fn(I) -> Vec<String>,
    ) -> anyhow::Result<D> {
        let (mut rows, mut printed) = (Vec::new(), Ok(()));
        let each = |item: I| {
            if !self.json {
                rows.push(row(item));
            } else if printed.is_ok() {
                printed = print_json(&item);
            }
        };
        let done = self.client().await?.list(request, each).await?;
        printed?;
        if !self.json {
            print_line(&table(columns, rows))?;
        }
        Ok(done)
    }

    /// Prints one document: as JSON, or as the text that `human` makes.
    fn print<T: Serialize>(
        &self,
        value: &T,
        human: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        let text = if self.json { serde_json::to_string(value)? } else { human(value) };
        print_line(&text)
    }
}

fn is_denied(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::PermissionDenied
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_line(&serde_json::to_string(value)?)
}

fn print_line(text: &str) -> anyhow::Result<()> {
    print_bytes(format!("{}\n", text.trim_end_matches('\n')).as_bytes())
}

/// Writes to stdout. A closed pipe (`gatehouse … | head`) is not an error.
fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    match std::io::stdout().write_all(bytes) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// Sends a request that the daemon may refuse because a value looks mistyped. On a terminal the
/// user then answers a question. Without a terminal, only `--yes` confirms the value.
async fn confirmed<T>(
    yes: bool,
    question: &str,
    ask: impl AsyncFn(bool) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let done = ask(yes).await;
    let refused = done.as_ref().err().and_then(|e| e.downcast_ref::<ClientError>());
    let failure = match refused {
        Some(ClientError::Refused(failure)) if failure.asks() && !yes => failure.clone(),
        _ => return done,
    };
    let (mut stderr, stdin) = (std::io::stderr(), std::io::stdin());
    anyhow::ensure!(
        stdin.is_terminal() && stderr.is_terminal(),
        "{failure}; nothing is changed. If the value is right, repeat the command with --yes"
    );
    write!(stderr, "{failure}\n{question} [y/N] ")?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    let meant = ["y", "yes", "是"].contains(&answer.trim().to_lowercase().as_str());
    anyhow::ensure!(meant, "nothing is changed");
    ask(true).await
}

/// A file that appears under its name only when it is complete. Only its owner can read it, because
/// it holds personal data.
struct WholeFile<'a> {
    path: &'a Path,
    replaces: bool,
    file: tempfile::NamedTempFile,
}

impl WholeFile<'_> {
    /// Creates a temporary file beside `path`. Fails if `path` exists and `replaces` is false.
    fn begin(path: &Path, replaces: bool) -> anyhow::Result<WholeFile<'_>> {
        if !replaces && path.symlink_metadata().is_ok() {
            anyhow::bail!(
                "{} already exists: choose another file, or give --force to replace it",
                path.display()
            );
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = tempfile::Builder::new()
            .prefix(".gatehouse-")
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(WholeFile { path, replaces, file })
    }

    fn finish(self) -> anyhow::Result<()> {
        let named = || format!("{} cannot be written", self.path.display());
        self.file.as_file().sync_all().with_context(named)?;
        let kept = if self.replaces {
            self.file.persist(self.path)
        } else {
            self.file.persist_noclobber(self.path)
        };
        kept.map(drop).map_err(|e| e.error).with_context(named)
    }
}

/// Returns a table as text. Its columns are aligned also if names are Chinese.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(head.to_vec());
    table.add_rows(rows);
    table.trim_fmt()
}

/// Returns the definition of the whole command line. The tests check the documents' commands with
/// it.
pub fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config =
        arguments.config.or_else(|| std::env::var_os("GATEHOUSE_CONFIG").map(PathBuf::from));
    let context = Context { config, json: arguments.json };
    memory::set_up();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.max_blocking_threads(BLOCKING).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("gatehouse: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match arguments.command {
            Command::Run => run::run(&context).await,
            #[cfg(feature = "demo")]
            Command::Demo => demo::run(&context).await,
            Command::Check(check) => check::run(&context, check).await,
            Command::Status => status::run(&context).await,
            Command::Worker(command) => worker::run(&context, command).await,
            Command::Roster(command) => roster::run(&context, command).await,
            Command::Upstream(command) => upstream::run(&context, command).await,
            Command::Attendance(command) => attendance::run(&context, command).await,
            Command::Timesheet(arguments) => timesheet::run(&context, arguments).await,
            Command::Lane(command) => lane::run(&context, command).await,
            Command::Evidence(command) => evidence::run(&context, command).await,
            Command::Command(command) => command::run(&context, command),
            Command::Ledger(command) => ledger::run(&context, command),
            Command::Key(command) => key::run(&context, command).await,
            Command::Evaluate(arguments) => evaluate::run(&context, arguments),
            Command::Bench(arguments) => bench::run(&context, arguments).await,
        }
    });
    // An abandoned blocking call does not delay the exit.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gatehouse: {}", in_words(&error));
            exit_code(&error)
        }
    }
}

/// Returns the whole chain of causes, without the text that a cause repeats.
fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !words.contains(&cause) {
            if !words.is_empty() {
                words.push_str(": ");
            }
            words.push_str(&cause);
        }
    }
    words
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<ConfigError>().is_some() {
        ExitCode::from(78)
    } else if error.downcast_ref::<log::LogError>().is_some() {
        ExitCode::from(2)
    } else if let Some(ClientError::NoDaemon { .. }) = error.downcast_ref() {
        ExitCode::from(3)
    } else {
        ExitCode::FAILURE
    }
}
