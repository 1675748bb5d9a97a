//! `gatehouse worker …`: asks the daemon to change or show the roster, and prints its answer.

mod card;
mod confirm;
mod enroll;
pub(super) mod file;
mod id_card;
mod import;
mod qr;
mod sheet;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::civil::Date;
use serde_json::Value;

use super::Context;
use crate::{
    control::Request,
    roster::{Consent, Purpose, State, WaitsWhat, Worker, WorkerId},
    services::{
        ConsentSet, Exempt, MakeCode, Remove, Removed, SetConsent, SetState, Update, WorkerQuery,
        WorkerShown,
    },
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Register a worker, with photos or in front of a lane's camera
    #[command(after_help = "Examples:
  gatehouse worker enroll --id W001 --name \"刘峰\" --id-number 110101199003070011 --team \"钢筋一班\" \\
    --contractor \"福鼎劳务\" --trade \"钢筋工\" --consent C-2026-001 --photo front.jpg --photo side.jpg
  gatehouse worker enroll --id W001 --name \"刘峰\" --id-number 110101199003070011 --team \"钢筋一班\" \\
    --contractor \"福鼎劳务\" --trade \"钢筋工\" --consent C-2026-001 --lane north --direction entry
  gatehouse worker enroll --id W001 --from-reader /dev/ttyUSB1 --team \"钢筋一班\" \\
    --contractor \"福鼎劳务\" --trade \"钢筋工\" --consent C-2026-001 --photo front.jpg")]
    Enroll(Box<enroll::EnrollArgs>),
    /// Register many workers from a CSV or XLSX file and a folder of photos
    #[command(after_help = "Examples:
  gatehouse worker import roster.xlsx --photos photos/ --dry-run --report report.csv
  gatehouse worker import roster.xlsx --photos photos/ --report report.csv")]
    Import(import::Import),
    /// Change a worker's data: only the fields that are given
    #[command(after_help = "Examples:
  gatehouse worker update W001 --team \"木工班\" --valid-until 2027-03-31
  gatehouse worker update W001 --clear valid-until --reason \"the contract goes on\"")]
    Update(Box<Update>),
    /// Add, replace or erase a worker's photos and templates
    #[command(after_help = "Examples:
  gatehouse worker photo W001 --add helmet.jpg
  gatehouse worker photo W001 --lane north --direction entry
  gatehouse worker photo W001 --erase --reason \"the photos show another person\"")]
    Photo(Box<enroll::Photos>),
    /// Record a consent that a worker gave or withdrew: to the face, or to photos for an upstream
    ///
    /// A withdrawal counts at once. Of the face it erases templates and photos. The worker stays on
    /// the roster, and a guard releases the turnstile. After a withdrawal a new form is needed.
    #[command(after_help = "Examples:
  gatehouse worker consent W001 --purpose face --withdrawn 2026-10-31
  gatehouse worker consent W001 --purpose face --given 2026-11-02 --form C-2026-031
  gatehouse worker consent W001 --purpose photo:platform --given 2026-10-01 --form P-2026-001")]
    Consent(SetConsent),
    /// List the workers
    #[command(after_help = "Examples:
  gatehouse worker list --team \"钢筋一班\"
  gatehouse worker list --state removed --json")]
    List(WorkerQuery),
    /// Show one worker; the ID number is masked
    #[command(after_help = "Example:\n  gatehouse worker show W001")]
    Show {
        /// The worker's id
        id: WorkerId,
    },
    /// Show the changes of a worker's data: old value, new value, time and user
    #[command(after_help = "Example:\n  gatehouse worker history W001")]
    History {
        /// The worker's id
        id: WorkerId,
    },
    /// Confirm workers and photos that came from a platform, after you have looked at them
    ///
    /// A worker whom a platform enrolls may not enter until a person at the site confirms the worker.
    /// A new photo of a confirmed worker waits beside the present one. --sheet writes a file with the
    /// photos, names and ids. Compare it with the people and their documents, then confirm.
    #[command(after_help = "Examples:
  gatehouse worker confirm --upstream platform --sheet waiting.html
  gatehouse worker confirm --upstream platform --seen 3f9a17c2b604
  gatehouse worker confirm W001 W002
  gatehouse worker confirm W003 --reject --reason \"not his face\"")]
    Confirm(confirm::ConfirmArgs),
    /// Deny a worker entry for a time. A worker who is on site may leave
    #[command(after_help = "Example:\n  gatehouse worker suspend W001 --reason \"no helmet\"")]
    Suspend(WithReason),
    /// Deny a worker entry permanently. The worker stays on the roster and is recognised
    #[command(after_help = "Example:\n  gatehouse worker bar W001 --reason \"stole copper\"")]
    Bar(WithReason),
    /// Allow a suspended or barred worker to enter again
    #[command(
        after_help = "Example:\n  gatehouse worker resume W001 --reason \"has a helmet now\""
    )]
    Resume {
        /// The worker's id
        id: WorkerId,
        /// The reason, in your own words
        #[arg(long, default_value = "resumed")]
        reason: String,
    },
    /// Exempt a worker from the guard's look, on whom the judgement on a living face errs
    ///
    /// With liveness = "guard", the face of this worker opens as with "watch": also a photo of it. The
    /// judgement is still recorded.
    #[command(after_help = "Examples:
  gatehouse worker exempt W001 --reason \"sent to the guard three mornings, with his face\"
  gatehouse worker exempt W001 --end --reason \"the new camera recognises him\"")]
    Exempt(Exempt),
    /// List a worker's cards, give the worker a card, take it back, or mark it as lost
    #[command(after_help = "Examples:
  gatehouse worker card W001 --add 0000662316
  gatehouse worker card W001 --lost 010,06956
  gatehouse worker card W001")]
    Card(card::Card),
    /// Make a code that opens one passage of a worker within minutes, and show it
    ///
    /// The worker holds the code, on paper or on a phone, to a reader that accepts qr. The clock of
    /// the gateway must be synchronised.
    #[command(after_help = "Examples:
  gatehouse worker qr W001
  gatehouse worker qr W001 --minutes 30 --json")]
    Qr(MakeCode),
    /// Remove a worker from the roster. Templates and photos are erased at once; attendance stays
    #[command(after_help = "Example:\n  gatehouse worker remove W001 --reason \"left the site\"")]
    Remove(Remove),
}

#[derive(Args)]
pub(super) struct WithReason {
    /// The worker's id
    id: WorkerId,
    /// The reason, in your own words
    #[arg(long)]
    reason: String,
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Enroll(enroll) => enroll::enroll(context, *enroll).await?,
        Command::Import(import) => return import::run(context, import).await,
        Command::Update(update) => enroll::update(context, *update).await?,
        Command::Photo(photos) => enroll::photos(context, *photos).await?,
        Command::Consent(set) => consent(context, set).await?,
        Command::List(query) => list(context, query).await?,
        Command::Show { id } => {
            let shown: WorkerShown = context.ask(&Request::Worker { id }).await?;
            context.print(&shown, human)?;
        }
        Command::Confirm(confirm) => confirm::run(context, confirm).await?,
        Command::History { id } => history(context, id).await?,
        Command::Suspend(WithReason { id, reason }) => {
            set_state(context, SetState { id, state: State::Suspended, reason }).await?;
        }
        Command::Bar(WithReason { id, reason }) => {
            set_state(context, SetState { id, state: State::Barred, reason }).await?;
        }
        Command::Resume { id, reason } => {
            set_state(context, SetState { id, state: State::Active, reason }).await?;
        }
        Command::Exempt(exempt) => {
            let set: Exempt = context.ask(&Request::Exempt(exempt)).await?;
            context.print(&set, |Exempt { id, end, .. }| match end {
                false => format!("{id} is exempt: no guard is asked for this worker's face"),
                true => format!("{id} is exempt no longer"),
            })?;
        }
        Command::Card(card) => card::run(context, card).await?,
        Command::Qr(asked) => qr::run(context, asked).await?,
        Command::Remove(remove) => {
            let removed: Removed = context.ask(&Request::Remove(remove)).await?;
            context.print(&removed, |Removed { id, .. }| {
                format!("{id} is removed; templates and photos are erased, attendance stays")
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn set_state(context: &Context, set_state: SetState) -> anyhow::Result<()> {
    let set: SetState = context.ask(&Request::SetState(set_state)).await?;
    context.print(&set, |SetState { id, state, .. }| match state {
        State::Suspended => {
            format!("{id} is suspended and cannot enter until `gatehouse worker resume {id}`")
        }
        State::Barred => {
            format!("{id} is barred and cannot enter until `gatehouse worker resume {id}`")
        }
        State::Pending => format!("{id} waits for `gatehouse worker confirm {id}`"),
        State::Active | State::Removed => format!("{id} may enter again"),
    })
}

async fn consent(context: &Context, set: SetConsent) -> anyhow::Result<()> {
    let set = super::confirmed(set.confirmed, "Is the value right?", async |confirmed| {
        let request = Request::Consent(SetConsent { confirmed, ..set.clone() });
        context.ask::<ConsentSet>(&request).await
    });
    context.print(&set.await?, |ConsentSet { id, consent, .. }| {
        match (&consent.purpose, consent.is_in_force()) {
            (Purpose::Face, true) => format!(
                "{id}: the consent to the face is recorded; `gatehouse worker photo {id}` takes photos"
            ),
            (Purpose::Face, false) => format!(
                "{id}: templates and photos are erased, attendance stays; now the worker needs a card \
                 (`gatehouse worker card {id} --add NUMBER`) or a guard (`gatehouse lane release LANE \
                 --worker {id} …`)"
            ),
            (Purpose::Photo(upstream), true) => {
                format!("{id}: the consent to photos for {upstream} is recorded")
            }
            (Purpose::Photo(upstream), false) => {
                format!("{id}: no photos go to {upstream} from now on")
            }
        }
    })
}

async fn list(context: &Context, query: WorkerQuery) -> anyhow::Result<()> {
    let head = ["ID", "NAME", "TEAM", "CONTRACTOR", "TRADE", "FROM", "UNTIL", "STATE", "TEMPLATES"];
    let date = |d: Option<Date>| d.map_or_else(String::new, |d| d.to_string());
    let row = |w: Worker| {
        let templates = match w.consent(&Purpose::Face) {
            Some(face) if !face.is_in_force() => "consent withdrawn".to_owned(),
            _ => w.templates.to_string(),
        };
        let exempt = if w.liveness_exempt.is_some() { ", exempt" } else { "" };
        let state = confirm::state(&w) + exempt;
        let person = w.person;
        vec![
            person.id.to_string(),
            person.name,
            person.team,
            person.contractor,
            person.trade,
            date(w.terms.valid_from),
            date(w.terms.valid_until),
            state,
            templates,
        ]
    };
    let _: Value = context.list(&Request::Workers(query), &head, row).await?;
    Ok(())
}

async fn history(context: &Context, id: WorkerId) -> anyhow::Result<()> {
    let head = ["SEQ", "AT", "KIND", "WHAT", "BY", "REASON"];
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let row = |e: Value| {
        let changes = e["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut lines: Vec<String> = changes
            .iter()
            .map(|change| {
                let field = text(&change["field"]).replace('_', " ");
                let (from, to) = (&change["from"], text(&change["to"]));
                match from {
                    Value::Null => format!("{field}: {to}"),
                    from => format!("{field}: {} → {to}", text(from)),
                }
            })
            .collect();
        let is_corrected = !e["corrected_at"].is_null() && e["corrected_at"] != e["at"];
        lines.extend(is_corrected.then(|| format!("the clock showed {}", text(&e["at"]))));
        lines.extend((!e["undated"].is_null()).then(|| "the time has no date".to_owned()));
        let what = if e["kind"] == "withdrawal" { "counts again" } else { "disputed" };
        lines.extend(e["disputed"].as_u64().map(|seq| format!("record {seq}: {what}")));
        let why = [&e["reason"], &e["alike_reason"]].into_iter().find(|why| !why.is_null());
        let why = text(why.unwrap_or(&Value::Null));
        vec![
            text(&e["seq"]),
            text(if is_corrected { &e["corrected_at"] } else { &e["at"] }),
            text(&e["kind"]),
            lines.join(
                "
",
            ),
            text(&e["by"]),
            why,
        ]
    };
    let _: Value = context.list(&Request::History { id }, &head, row).await?;
    Ok(())
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
    let face = match worker.consent(&Purpose::Face) {
        Some(face) if !face.is_in_force() => said(face),
        _ => text(&terms.consent),
    };
    let photos = worker.consents.iter().filter_map(|consent| match &consent.purpose {
        Purpose::Photo(upstream) => {
            Some(row("photos go to", &format!("{upstream}: {}", said(consent))))
        }
        Purpose::Face => None,
    });
    let templates = match worker.templates {
        0 if worker.state != State::Removed => {
            "0 (a card or a guard must let the worker in)".to_owned()
        }
        n => n.to_string(),
    };
    let cards = shown.cards.iter().map(|card| {
        row("card", &format!("{}{}", card.number, if card.lost { " (lost)" } else { "" }))
    });
    let exempt = worker.liveness_exempt.as_ref().map_or_else(String::new, |reason| {
        row("guard", &format!("exempt: not asked for this face ({reason})"))
    });
    let waits = worker.waits.as_ref().map_or_else(String::new, |waits| {
        let what = match waits.what {
            WaitsWhat::Worker => "the worker",
            WaitsWhat::Faces => "a new photo",
        };
        let id = &person.id;
        row("waits", &format!("{what}, from {}: `gatehouse worker confirm {id}`", waits.from))
    });
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
        row("consent", &face),
        row("consent signed", &date(terms.consent_on)),
        row("contract signed", &date(terms.contract_signed)),
        row("trained on", &date(terms.trained_on)),
        row("state", &state),
        exempt,
        row("templates", &templates),
        cards.collect(),
        photos.collect(),
        waits,
    ]
    .concat()
}

/// Returns a consent in words: `P-1, signed 2026-10-01`, `withdrawn on 2026-10-31 (P-1)`.
fn said(consent: &Consent) -> String {
    let form = consent.form.as_deref();
    match (consent.withdrawn_on, consent.given_on) {
        (Some(on), _) => format!("withdrawn on {on} ({})", form.unwrap_or("no form before")),
        (None, Some(on)) => format!("{}, signed {on}", form.unwrap_or("-")),
        (None, None) => form.unwrap_or("-").to_owned(),
    }
}
