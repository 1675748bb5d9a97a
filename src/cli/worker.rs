//! `gatehouse worker …`: the roster.

mod import;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::civil::Date;
use serde_json::Value;

use super::Context;
use crate::{
    control::{Enrol, Enrolled, PHOTOS_MAX, Photo, Request, WorkerQuery, WorkerShown},
    roster::{IdType, Person, State, Terms, Worker, WorkerId},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Register a worker from photos
    Enroll(Box<Enroll>),
    /// Register many workers from a CSV file or an XLSX workbook, with a folder of photos
    Import(import::Import),
    /// List the workers
    List(List),
    /// Show one worker; the ID number is masked
    Show { id: WorkerId },
    /// Take a worker off the roster: templates and photos are erased at once, attendance stays
    Remove { id: WorkerId },
}

#[derive(Args)]
pub(super) struct Enroll {
    /// The worker's id at this site: A-Z a-z 0-9 - _ . and never used again
    #[arg(long)]
    id: WorkerId,
    #[arg(long)]
    name: String,
    /// The number of the resident identity card; kept encrypted
    #[arg(long)]
    id_number: String,
    #[arg(long)]
    team: String,
    #[arg(long)]
    contractor: String,
    #[arg(long)]
    trade: String,
    /// First day of admission, such as 2026-10-01
    #[arg(long, value_name = "DATE", value_parser = super::day)]
    valid_from: Option<Date>,
    /// Last day of admission
    #[arg(long, value_name = "DATE", value_parser = super::day)]
    valid_until: Option<Date>,
    /// Number of the consent form that the worker signed; required unless the configuration says
    /// otherwise
    #[arg(long, value_name = "FORM-NUMBER")]
    consent: Option<String>,
    /// A JPEG or PNG with the worker alone on it; up to five
    #[arg(long, required = true, value_name = "FILE")]
    photo: Vec<PathBuf>,
}

#[derive(Args)]
pub(super) struct List {
    #[arg(long)]
    team: Option<String>,
    #[arg(long)]
    contractor: Option<String>,
    /// active (the default) or removed
    #[arg(long, value_parser = state)]
    state: Option<State>,
}

fn state(text: &str) -> Result<State, String> {
    let words = || State::ALL.map(State::word).join(", ");
    State::from_word(text).ok_or_else(|| format!("must be one of {}", words()))
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Enroll(enroll) => enrol(context, *enroll).await?,
        Command::Import(import) => return import::run(context, import).await,
        Command::List(list) => {
            let List { team, contractor, state } = list;
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
        Command::Remove { id } => {
            let mut client = context.client().await?;
            let request = Request::Remove { id: id.clone(), reason: None };
            let done: Value = client.ask(&request, |_: Value| {}).await?;
            context.print(&done, |_| {
                format!("{id} is removed; templates and photos are erased, attendance stays")
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn enrol(context: &Context, enroll: Enroll) -> anyhow::Result<()> {
    anyhow::ensure!(enroll.photo.len() <= PHOTOS_MAX, "give at most {PHOTOS_MAX} photos");
    let mut photos = Vec::new();
    let mut announced = Vec::new();
    for path in &enroll.photo {
        let bytes = std::fs::read(path).with_context(|| format!("photo {}", path.display()))?;
        announced.push(Photo { name: path.display().to_string(), bytes: bytes.len() as u64 });
        photos.push(bytes);
    }
    let Enroll { id, name, team, contractor, trade, .. } = enroll;
    let person = Person { id, name, team, contractor, trade };
    let mut enrol = Enrol::new(person, IdType::Resident, enroll.id_number);
    enrol.terms = Terms {
        valid_from: enroll.valid_from,
        valid_until: enroll.valid_until,
        consent: enroll.consent,
        ..Terms::default()
    };
    enrol.photos = announced;
    let request = Request::Enrol(Box::new(enrol));
    let mut client = context.client().await?;
    let enrolled: Enrolled = client.ask_with(&request, &photos, |_: Value| {}).await?;
    context.print(&enrolled.worker, |w| {
        let templates = if w.templates == 1 { "template" } else { "templates" };
        format!("{} {} is enrolled, with {} {templates}", w.person.id, w.person.name, w.templates)
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
            w.templates.to_string(),
        ]
    });
    let head = ["ID", "NAME", "TEAM", "CONTRACTOR", "TRADE", "FROM", "UNTIL", "TEMPLATES"];
    super::print_line(&super::table(&head, rows))
}

fn human(shown: &WorkerShown) -> String {
    let worker = &shown.worker;
    let person = &worker.person;
    let date = |d: Option<Date>| d.map_or_else(|| "-".to_owned(), |d| d.to_string());
    let row = |name: &str, value: &str| format!("{name:<12}{value}\n");
    [
        row("id", person.id.as_str()),
        row("name", &person.name),
        row("id number", &format!("{} ({})", shown.id_number, shown.id_type.word())),
        row("team", &person.team),
        row("contractor", &person.contractor),
        row("trade", &person.trade),
        row("valid from", &date(worker.terms.valid_from)),
        row("valid until", &date(worker.terms.valid_until)),
        row("consent", worker.terms.consent.as_deref().unwrap_or("-")),
        row("state", worker.state.word()),
        row("templates", &worker.templates.to_string()),
    ]
    .concat()
}
