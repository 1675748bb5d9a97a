//! `gatehouse worker …`: the roster.

mod enrol;
mod import;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::civil::Date;
use serde_json::Value;

use super::Context;
use crate::{
    control::{Request, WorkerQuery, WorkerShown},
    roster::{State, Worker, WorkerId},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Register a worker, from photos or live from a lane's camera
    Enroll(Box<enrol::Enroll>),
    /// Register many workers from a CSV file or an XLSX workbook, with a folder of photos
    Import(import::Import),
    /// Change what is said of a worker: what is given, and no more
    Update(Box<enrol::Update>),
    /// Add, replace or erase a worker's photos and templates
    Photo(Box<enrol::Photos>),
    /// List the workers
    List(List),
    /// Show one worker; the ID number is masked
    Show { id: WorkerId },
    /// Show what was changed of a worker, when and by whom
    History { id: WorkerId },
    /// Keep a worker out for the time being; whoever is inside may leave
    Suspend(Hold),
    /// Keep a worker out for good, on the roster so that they are known
    Bar(Hold),
    /// Admit a worker again who was suspended or barred
    Resume {
        id: WorkerId,
        /// Why, in words
        #[arg(long, default_value = "resumed")]
        reason: String,
    },
    /// Take a worker off the roster: templates and photos are erased at once, attendance stays
    Remove {
        id: WorkerId,
        /// Why, in words
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Args)]
pub(super) struct Hold {
    id: WorkerId,
    /// Why, in words
    #[arg(long)]
    reason: String,
}

#[derive(Args)]
pub(super) struct List {
    #[arg(long)]
    team: Option<String>,
    #[arg(long)]
    contractor: Option<String>,
    /// active, suspended, barred or removed; without it all who are not removed
    #[arg(long, value_parser = state)]
    state: Option<State>,
}

fn state(text: &str) -> Result<State, String> {
    let words = || State::ALL.map(State::word).join(", ");
    State::from_word(text).ok_or_else(|| format!("must be one of {}", words()))
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Enroll(enroll) => enrol::enrol(context, *enroll).await?,
        Command::Import(import) => return import::run(context, import).await,
        Command::Update(update) => enrol::update(context, *update).await?,
        Command::Photo(photos) => enrol::photos(context, *photos).await?,
        Command::List(List { team, contractor, state }) => {
            let request = Request::Workers(WorkerQuery { team, contractor, state });
            let mut workers: Vec<Worker> = Vec::new();
            let _: Value = context.client().await?.ask(&request, |w| workers.push(w)).await?;
            show_list(context, &workers)?;
        }
        Command::Show { id } => {
            let mut client = context.client().await?;
            let shown: WorkerShown = client.ask(&Request::Worker { id }, |_: Value| {}).await?;
            context.print(&shown, human)?;
        }
        Command::History { id } => {
            let mut events: Vec<Value> = Vec::new();
            let mut client = context.client().await?;
            let _: Value = client.ask(&Request::History { id }, |e| events.push(e)).await?;
            show_history(context, &events)?;
        }
        Command::Suspend(Hold { id, reason }) => {
            hold(context, id, State::Suspended, reason).await?;
        }
        Command::Bar(Hold { id, reason }) => hold(context, id, State::Barred, reason).await?,
        Command::Resume { id, reason } => hold(context, id, State::Active, reason).await?,
        Command::Remove { id, reason } => {
            let mut client = context.client().await?;
            let request = Request::Remove { id: id.clone(), reason };
            let done: Value = client.ask(&request, |_: Value| {}).await?;
            context.print(&done, |_| {
                format!("{id} is removed; templates and photos are erased, attendance stays")
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn hold(context: &Context, id: WorkerId, state: State, reason: String) -> anyhow::Result<()> {
    let request = Request::Hold { id: id.clone(), state, reason };
    let done: Value = context.client().await?.ask(&request, |_: Value| {}).await?;
    context.print(&done, |_| match state {
        State::Suspended => format!("{id} is suspended: no entry until `worker resume`"),
        State::Barred => format!("{id} is barred: no entry until `worker resume`"),
        State::Active | State::Removed => format!("{id} is admitted again"),
    })
}

fn show_list(context: &Context, workers: &[Worker]) -> anyhow::Result<()> {
    if context.json {
        return workers.iter().try_for_each(|w| super::print_line(&serde_json::to_string(w)?));
    }
    let date = |d: &Option<Date>| d.map_or_else(String::new, |d| d.to_string());
    let rows = workers.iter().map(|w| {
        let person = w.person.clone();
        vec![
            person.id.into(),
            person.name,
            person.team,
            person.contractor,
            person.trade,
            date(&w.terms.valid_from),
            date(&w.terms.valid_until),
            w.state.word().to_owned(),
            w.templates.to_string(),
        ]
    });
    let head = ["ID", "NAME", "TEAM", "CONTRACTOR", "TRADE", "FROM", "UNTIL", "STATE", "TEMPLATES"];
    super::print_line(&super::table(&head, rows))
}

fn show_history(context: &Context, events: &[Value]) -> anyhow::Result<()> {
    if context.json {
        return events.iter().try_for_each(|e| super::print_line(&e.to_string()));
    }
    let text = |e: &Value, key: &str| match &e[key] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let columns = ["seq", "at", "kind", "state", "faces", "templates", "by", "reason"];
    let rows = events.iter().map(|e| columns.map(|c| text(e, c)).to_vec());
    let head = columns.map(str::to_uppercase);
    super::print_line(&super::table(&head.each_ref().map(String::as_str), rows))
}

fn human(shown: &WorkerShown) -> String {
    let worker = &shown.worker;
    let (person, terms) = (&worker.person, &worker.terms);
    let date = |d: Option<Date>| d.map_or_else(|| "-".to_owned(), |d| d.to_string());
    let text = |t: &Option<String>| t.clone().unwrap_or_else(|| "-".to_owned());
    let row = |name: &str, value: &str| format!("{name:<17}{value}\n");
    let particulars = &shown.particulars;
    let state = match &worker.state_reason {
        Some(reason) if worker.state != State::Active => {
            format!("{} ({reason})", worker.state.word())
        }
        _ => worker.state.word().to_owned(),
    };
    let templates = match worker.templates {
        0 => "0 (a guard vouches)".to_owned(),
        n => n.to_string(),
    };
    [
        row("id", person.id.as_str()),
        row("name", &person.name),
        row("id number", &format!("{} ({})", shown.id_number, shown.id_type.word())),
        row("gender", particulars.gender.map_or("-", |g| g.word())),
        row("birth date", &date(particulars.birth_date)),
        row("phone", &text(&particulars.phone)),
        row(
            "wage account",
            &particulars.bank_tail.as_ref().map_or("-".into(), |t| format!("…{t}")),
        ),
        row("team", &person.team),
        row("contractor", &person.contractor),
        row("trade", &person.trade),
        row("valid from", &date(terms.valid_from)),
        row("valid until", &date(terms.valid_until)),
        row("consent", &text(&terms.consent)),
        row("consent signed", &date(terms.consent_on)),
        row("contract signed", &date(terms.contract_signed)),
        row("trained on", &date(terms.trained_on)),
        row("state", &state),
        row("templates", &templates),
    ]
    .concat()
}
