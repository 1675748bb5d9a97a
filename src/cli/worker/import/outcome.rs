//! The outcome of each row: printed as a table or as JSON, and written as a CSV report.

use std::{collections::BTreeMap, io::Write as _, path::Path};

use anyhow::ensure;
use serde::Serialize;

use super::super::super::{Context, WholeFile, print_json, print_line, table};
use crate::{
    roster::import::{Names, Row, masked, neutral},
    services::EnrollResult,
    words::{counted, words},
};

/// Minimum number of rows with the same reason that are printed as one line. For a missing consent
/// two rows are enough, because then the whole column is usually empty.
const MANY: usize = 4;
/// Maximum number of ranges of rows that are named for one reason.
const STRETCHES: usize = 12;
/// Maximum number of skipped lines that are named one by one.
const PASSED_NAMED: usize = 20;

words! {
    /// The result of a row.
    pub enum Word {
        Enrolled = "enrolled",
        Updated = "updated",
        Unchanged = "unchanged",
        Refused = "refused",
        NotDone = "not_done",
    }
}

/// The result of a row with its reason, from the daemon or from reading the file.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) result: Word,
    reason: Option<String>,
    pub(super) templates: Option<u32>,
    /// The row was refused because it has no consent form number.
    #[serde(skip)]
    of_consent: bool,
}

impl Outcome {
    pub(super) fn well(result: EnrollResult, templates: u32, notes: Vec<String>) -> Outcome {
        let result = match result {
            EnrollResult::Enrolled => Word::Enrolled,
            EnrollResult::Updated => Word::Updated,
            EnrollResult::Unchanged => Word::Unchanged,
        };
        let reason = (!notes.is_empty()).then(|| notes.join("; "));
        Outcome { result, reason, templates: Some(templates), of_consent: false }
    }

    pub(super) fn unchanged(&self) -> bool {
        self.result == Word::Unchanged
    }

    pub(super) fn refused(reason: String, of_consent: bool) -> Outcome {
        Outcome { result: Word::Refused, reason: Some(reason), templates: None, of_consent }
    }

    pub(super) fn not_done(why: &str) -> Outcome {
        let reason = format!("not done: {why}; run the import again");
        Outcome { result: Word::NotDone, ..Outcome::refused(reason, false) }
    }
}

/// A row's line in every report. ID numbers are masked in all its texts.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    row: u32,
    id: String,
    name: String,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

impl Done {
    pub(super) fn of(row: &Row, outcome: Outcome) -> Done {
        let reason = outcome.reason.as_deref().map(masked);
        let (id, name) = (row.shown_id(), masked(&row.name));
        Done { row: row.number, id, name, outcome: Outcome { reason, ..outcome } }
    }

    pub(super) fn well(&self) -> bool {
        !matches!(self.outcome.result, Word::Refused | Word::NotDone)
    }

    /// Returns the key by which rows are printed together: result and reason.
    fn key(&self) -> Option<(&str, &str)> {
        let Outcome { result, reason, .. } = &self.outcome;
        reason.as_deref().map(|reason| (result.word(), reason))
    }

    fn cells(&self) -> [String; 5] {
        let reason = self.outcome.reason.clone().unwrap_or_default();
        let (row, result) = (self.row.to_string(), self.outcome.result.word().replace('_', " "));
        [row, self.id.clone(), self.name.clone(), result, reason]
    }
}

/// Prints all rows as JSON, or the rows with a reason as a table.
pub(super) fn show(context: &Context, done: &[Done]) -> anyhow::Result<()> {
    if context.json {
        return done.iter().try_for_each(print_json);
    }
    let lines = lines(done);
    if lines.is_empty() {
        return Ok(());
    }
    let head = ["ROW", "ID", "NAME", "RESULT", "REASON"];
    print_line(&table(&head, lines))
}

/// Returns the table's lines: the rows with a reason. Many rows with the same reason are one line,
/// at the place of the first.
fn lines(done: &[Done]) -> Vec<Vec<String>> {
    let mut alike: BTreeMap<(&str, &str), Vec<u32>> = BTreeMap::new();
    for row in done {
        if let Some(key) = row.key() {
            alike.entry(key).or_default().push(row.row);
        }
    }
    let mut lines = Vec::new();
    for row in done {
        let Some(rows) = row.key().and_then(|key| alike.get(&key)) else { continue };
        let enough = if row.outcome.of_consent { 2 } else { MANY };
        if rows.len() < enough {
            lines.push(row.cells().to_vec());
        } else if rows.first() == Some(&row.row) {
            let [.., result, reason] = row.cells();
            lines.push(vec![
                stretches(rows),
                counted(rows.len(), "row"),
                "…".into(),
                result,
                reason,
            ]);
        }
    }
    lines
}

/// Returns rising row numbers as ranges, such as `2, 5 to 9`: at most [`STRETCHES`] of them.
fn stretches(rows: &[u32]) -> String {
    let all: Vec<String> = rows
        .chunk_by(|a, b| a + 1 == *b)
        .filter_map(|chunk| match chunk {
            [one] => Some(one.to_string()),
            [first, .., last] => Some(format!("{first} to {last}")),
            [] => None,
        })
        .collect();
    let shown = all.iter().take(STRETCHES).map(String::as_str);
    shown.chain((all.len() > STRETCHES).then_some("…")).collect::<Vec<_>>().join(", ")
}

/// Returns a sentence that names the skipped lines.
pub(super) fn passed_over(lines: &[(u32, String)]) -> String {
    let named =
        lines.iter().take(PASSED_NAMED).map(|(row, text)| format!("{row} ({})", masked(text)));
    let more = (lines.len() > PASSED_NAMED).then(|| "…".to_owned());
    format!(
        "{} skipped because they hold sums, signatures or notes, not workers: {}",
        counted(lines.len(), "line"),
        named.chain(more).collect::<Vec<_>>().join(", ")
    )
}

/// Returns a sentence that names the hidden lines.
pub(super) fn hidden(lines: &[u32]) -> String {
    format!(
        "{} not imported because a filter hides them, or they are hidden by hand: {}; if they are \
         workers of this site, show them, save the file and import it again",
        counted(lines.len(), "line"),
        stretches(lines)
    )
}

/// Returns the report's headings: of the id and the name as the roster spells them, and the others in
/// the same language.
fn headings(names: &Names) -> [String; 6] {
    let (id, name) = (names.called("id"), names.called("name"));
    let [row, result, reason, templates] = match name.is_ascii() {
        true => ["row", "result", "reason", "templates"],
        false => ["行号", "结果", "原因", "照片模板数"],
    };
    [row, &id, &name, result, reason, templates].map(str::to_owned)
}

/// Creates the report's file before the import starts, so that a wrong path fails early.
pub(super) fn prepare<'a>(report: &'a Path, roster: &Path) -> anyhow::Result<WholeFile<'a>> {
    let same = report.canonicalize().ok().zip(roster.canonicalize().ok());
    ensure!(same.is_none_or(|(a, b)| a != b), "--report would overwrite the roster");
    WholeFile::begin(report, true)
}

/// Writes the report. Its headings are in the words of the roster.
pub(super) fn report(mut whole: WholeFile<'_>, done: &[Done], names: &Names) -> anyhow::Result<()> {
    // Excel recognises UTF-8 in a CSV file by the byte order mark.
    whole.file.write_all("\u{feff}".as_bytes())?;
    let mut csv = csv::Writer::from_writer(&mut whole.file);
    csv.write_record(headings(names).map(|heading| neutral(&heading)))?;
    for row in done {
        let templates = row.outcome.templates.map_or_else(String::new, |t| t.to_string());
        let cells = row.cells().into_iter().chain([templates]);
        csv.write_record(cells.map(|cell| neutral(&cell)))?;
    }
    csv.flush()?;
    drop(csv);
    whole.finish()
}
