//! `gatehouse worker confirm`: shows what came from afar, and confirms or rejects it.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::{ArgGroup, Args};
use sha2::{Digest, Sha256};

use super::{
    super::{Context, WholeFile},
    sheet,
};
use crate::{
    control::Request,
    ledger::ConfirmationResult,
    roster::{WaitsWhat, Worker, WorkerId},
    services::{Confirm, Confirmed, WaitingItem, WaitingQuery, WaitingWorker},
    words::counted,
};

#[derive(Args)]
#[command(group = ArgGroup::new("looked").args(["sheet", "seen"]))]
pub(in crate::cli) struct ConfirmArgs {
    /// The workers' ids
    #[arg(required_unless_present = "upstream", conflicts_with = "upstream")]
    ids: Vec<WorkerId>,
    /// All workers for whom something from this upstream waits: with --sheet first, then with --seen
    #[arg(long, value_name = "NAME", requires = "looked")]
    upstream: Option<String>,
    /// Write a page with the photos, names and ids to look through or print, and confirm nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["reject", "reason"])]
    sheet: Option<PathBuf>,
    /// Replace the file of --sheet if it exists
    #[arg(long, requires = "sheet")]
    force: bool,
    /// The code on the sheet: confirm what the sheet shows, and nothing that came later
    #[arg(long, value_name = "CODE")]
    seen: Option<String>,
    /// Erase the new photos instead; the present ones stay in force
    #[arg(long, requires = "reason", conflicts_with = "upstream")]
    reject: bool,
    /// The reason, in your own words; recorded. A photo that is little like the worker's first one
    /// needs it
    #[arg(long)]
    reason: Option<String>,
    /// Accept a face that looks like another worker's, for example of twins; recorded
    #[arg(long, requires = "reason", conflicts_with = "upstream")]
    allow_duplicate_face: bool,
}

/// Returns a worker's state for a list.
pub(super) fn state(worker: &Worker) -> String {
    match &worker.waits {
        Some(waits) if waits.what == WaitsWhat::Faces => format!("{}, photo waits", worker.state),
        _ => worker.state.to_string(),
    }
}

/// The code of all that a sheet shows.
#[derive(Default)]
struct Code(Sha256);

impl Code {
    fn add(&mut self, shown: &WaitingWorker) {
        // The id and the digest contain no line feed.
        self.0.update(format!("{}\n{}\n", shown.worker.person.id, shown.seen));
    }

    fn finish(self) -> String {
        hex::encode(self.0.finalize()).chars().take(12).collect()
    }
}

pub(super) async fn run(context: &Context, arguments: ConfirmArgs) -> anyhow::Result<()> {
    match &arguments.sheet {
        Some(path) => make_sheet(context, &arguments, path).await,
        None => confirm(context, arguments).await,
    }
}

fn query(arguments: &ConfirmArgs, photos: bool) -> Request {
    let (ids, upstream) = (arguments.ids.clone(), arguments.upstream.clone());
    Request::Waiting(WaitingQuery { ids, upstream, photos })
}

/// Says that nothing waits.
fn nothing(arguments: &ConfirmArgs) -> String {
    match &arguments.upstream {
        Some(name) => format!(
            "nothing from an upstream {name:?} waits; `gatehouse status` shows the upstreams, and \
             `gatehouse worker list --state pending` the workers who wait"
        ),
        None => "nothing from afar waits".to_owned(),
    }
}

async fn make_sheet(context: &Context, arguments: &ConfirmArgs, path: &Path) -> anyhow::Result<()> {
    let (site, _) = context.site().await?;
    let mut file = WholeFile::begin(path, arguments.force)?;
    let (mut code, mut workers, mut unread) = (Code::default(), 0_u64, Vec::new());
    let mut written = file.file.write_all(sheet::head(&site.name).as_bytes());
    let each = |item: WaitingItem| {
        let part = match item {
            WaitingItem::Worker(shown) => {
                workers += 1;
                code.add(&shown);
                sheet::worker(&shown)
            }
            WaitingItem::Photo { waits, jpeg } => sheet::photo(waits, &jpeg),
            WaitingItem::Unread { id, failure } => {
                unread.push(format!("{id}: {failure}"));
                return;
            }
        };
        if written.is_ok() {
            written = file.file.write_all(part.as_bytes());
        }
    };
    let _: serde_json::Value = context.client().await?.list(&query(arguments, true), each).await?;
    unread.iter().for_each(|why| eprintln!("{why}"));
    anyhow::ensure!(workers > 0, "{}", nothing(arguments));
    written?;
    let code = code.finish();
    let ids: Vec<_> = arguments.ids.iter().map(WorkerId::to_string).collect();
    let which = match &arguments.upstream {
        Some(upstream) => format!("--upstream {upstream}"),
        None => ids.join(" "),
    };
    let command = format!("gatehouse worker confirm {which} --seen {code}");
    file.file.write_all(sheet::foot(&command, workers).as_bytes())?;
    file.finish()?;
    let done = serde_json::json!({ "sheet": path, "workers": workers, "seen": code });
    context.print(&done, |_| {
        let count = counted(workers, "worker");
        format!("{}: {count}; look through it, then: {command}", path.display())
    })
}

async fn confirm(context: &Context, arguments: ConfirmArgs) -> anyhow::Result<()> {
    let mut client = context.client().await?;
    let (mut waiting, mut unread) = (Vec::new(), Vec::new());
    let each = |item: WaitingItem| match item {
        WaitingItem::Worker(shown) => waiting.push(*shown),
        WaitingItem::Photo { .. } => {}
        WaitingItem::Unread { id, failure } => unread.push(format!("{id}: {failure}")),
    };
    let _: serde_json::Value = client.list(&query(&arguments, false), each).await?;
    anyhow::ensure!(!waiting.is_empty() || !unread.is_empty(), "{}", nothing(&arguments));
    if let Some(seen) = &arguments.seen {
        let mut code = Code::default();
        waiting.iter().for_each(|shown| code.add(shown));
        anyhow::ensure!(
            code.finish() == *seen,
            "what waits is not what this sheet shows: something came or changed since, or other ids \
             are given; make the sheet again, with --sheet"
        );
    }
    let all = waiting.len() + unread.len();
    for shown in waiting {
        let request = Request::Confirm(Confirm {
            id: shown.worker.person.id.clone(),
            seen: Some(shown.seen),
            reject: arguments.reject,
            reason: arguments.reason.clone(),
            allow_duplicate_face: arguments.allow_duplicate_face,
        });
        match client.ask::<Confirmed>(&request).await {
            Ok(confirmed) => context.print(&confirmed, human)?,
            Err(error) if all == 1 => return Err(error.into()),
            Err(error) => unread.push(format!("{}: {error}", shown.worker.person.id)),
        }
    }
    unread.iter().for_each(|why| eprintln!("{why}"));
    anyhow::ensure!(unread.is_empty(), "{} of {all} not confirmed", unread.len());
    Ok(())
}

fn human(Confirmed { worker, what, result }: &Confirmed) -> String {
    let (id, name) = (&worker.person.id, &worker.person.name);
    match (what, result) {
        (_, ConfirmationResult::Rejected) => format!("{id} {name}: the new photos are erased"),
        (WaitsWhat::Worker, _) => format!("{id} {name} is confirmed"),
        (WaitsWhat::Faces, _) => format!("{id} {name}: the new photos are in force"),
    }
}
