//! What became of each row: on the terminal, as JSON, and as a CSV report.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::super::super::{Context, print_line, table};
use crate::{
    figures::counted,
    roster::import::{Row, masked, neutral},
    services::EnrolResult,
};

/// Rows with one reason, from which on it is said once. Of a missing consent two are enough: the
/// column is empty.
const MANY: usize = 4;
/// Stretches of rows that are named for one reason.
const STRETCHES: usize = 12;
/// Lines passed over that are named one by one.
const PASSED_NAMED: usize = 20;

/// What the daemon, or the file, said of a row.
pub(super) struct Outcome {
    word: Word,
    reason: Option<String>,
    templates: Option<u32>,
    of_consent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    Enrolled,
    Updated,
    Unchanged,
    Refused,
    NotDone,
}

impl Word {
    fn shown(self) -> &'static str {
        match self {
            Word::Enrolled => "enrolled",
            Word::Updated => "updated",
            Word::Unchanged => "unchanged",
            Word::Refused => "refused",
            Word::NotDone => "not done",
        }
    }
}

impl Outcome {
    pub(super) fn well(result: EnrolResult, templates: u32, note: Option<&str>) -> Outcome {
        let word = match result {
            EnrolResult::Enrolled => Word::Enrolled,
            EnrolResult::Updated => Word::Updated,
            EnrolResult::Unchanged => Word::Unchanged,
        };
        Outcome::of(word, note.map(str::to_owned), Some(templates))
    }

    pub(super) fn unchanged(&self) -> bool {
        self.word == Word::Unchanged
    }

    fn of(word: Word, reason: Option<String>, templates: Option<u32>) -> Outcome {
        Outcome { word, reason, templates, of_consent: false }
    }

    pub(super) fn refused(reason: String) -> Outcome {
        Outcome::of(Word::Refused, Some(reason), None)
    }

    /// Refused for want of the number of a consent form.
    pub(super) fn unconsented(reason: String) -> Outcome {
        Outcome { of_consent: true, ..Outcome::refused(reason) }
    }

    pub(super) fn not_done(why: &str) -> Outcome {
        let reason = format!("not done: {why}; run the import again");
        Outcome::of(Word::NotDone, Some(reason), None)
    }
}

/// A row's line in every report. ID numbers are masked wherever they stand.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    row: u32,
    id: String,
    name: String,
    result: Word,
    reason: Option<String>,
    templates: Option<u32>,
    #[serde(skip)]
    of_consent: bool,
}

impl Done {
    pub(super) fn of(row: &Row, outcome: Outcome) -> Done {
        Done {
            row: row.number,
            id: row.shown_id(),
            name: masked(&row.name),
            result: outcome.word,
            reason: outcome.reason.as_deref().map(masked),
            templates: outcome.templates,
            of_consent: outcome.of_consent,
        }
    }

    pub(super) fn well(&self) -> bool {
        !matches!(self.result, Word::Refused | Word::NotDone)
    }

    /// Rows of one key are said together.
    fn key(&self) -> Option<(&str, &str)> {
        self.reason.as_deref().map(|reason| (self.result.shown(), reason))
    }

    fn cells(&self) -> [String; 5] {
        let reason = self.reason.clone().unwrap_or_default();
        let (row, result) = (self.row.to_string(), self.result.shown().to_owned());
        [row, self.id.clone(), self.name.clone(), result, reason]
    }
}

/// All rows as JSON, or those that somebody must look at as a table.
pub(super) fn show(context: &Context, done: &[Done]) -> anyhow::Result<()> {
    if context.json {
        return done.iter().try_for_each(|row| print_line(&serde_json::to_string(row)?));
    }
    let lines = lines(done);
    if lines.is_empty() {
        return Ok(());
    }
    let head = ["ROW", "ID", "NAME", "RESULT", "REASON"];
    print_line(&table(&head, lines))
}

/// The rows that somebody must look at. What is so of many is said once, where the first of them is.
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
        let enough = if row.of_consent { 2 } else { MANY };
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

/// `2, 5 to 9`: rising numbers, the first [`STRETCHES`] stretches of them.
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

/// The lines that are no workers, in one sentence.
pub(super) fn passed_over(lines: &[(u32, String)]) -> String {
    let named =
        lines.iter().take(PASSED_NAMED).map(|(row, text)| format!("{row} ({})", masked(text)));
    let more = (lines.len() > PASSED_NAMED).then(|| "…".to_owned());
    format!(
        "{} passed over, no workers but sums, signatures and the like: {}",
        counted(lines.len(), "line"),
        named.chain(more).collect::<Vec<_>>().join(", ")
    )
}

/// The report's file. Its place is tried before anything is done, and it appears whole.
pub(super) struct Report {
    file: NamedTempFile,
    path: PathBuf,
}

impl Report {
    pub(super) fn prepare(path: PathBuf, roster: &Path) -> anyhow::Result<Report> {
        let same = path.canonicalize().ok().zip(roster.canonicalize().ok());
        ensure!(same.is_none_or(|(a, b)| a != b), "--report would overwrite the roster");
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = NamedTempFile::new_in(folder)
            .with_context(|| format!("--report {}", path.display()))?;
        Ok(Report { file, path })
    }

    pub(super) fn write(self, done: &[Done]) -> anyhow::Result<()> {
        let Report { mut file, path } = self;
        // Excel takes a CSV file for UTF-8 by its mark.
        file.write_all("\u{feff}".as_bytes())?;
        let mut csv = csv::Writer::from_writer(file);
        csv.write_record(["row", "id", "name", "result", "reason", "templates"])?;
        for row in done {
            let templates = row.templates.map_or_else(String::new, |t| t.to_string());
            let cells = row.cells().into_iter().chain([templates]);
            csv.write_record(cells.map(|cell| neutral(&cell)))?;
        }
        let file = csv.into_inner().map_err(|e| e.into_error())?;
        file.persist(&path).with_context(|| format!("--report {}", path.display()))?;
        Ok(())
    }
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Summary {
    rows: usize,
    passed_over: usize,
    of: [usize; 5],
    without_photo: usize,
    photos: usize,
    seconds: f64,
}

impl Summary {
    pub(super) fn of(done: &[Done], passed_over: usize, photos: usize, seconds: f64) -> Summary {
        let words = [Word::Enrolled, Word::Updated, Word::Unchanged, Word::Refused, Word::NotDone];
        Summary {
            rows: done.len(),
            passed_over,
            of: words.map(|word| done.iter().filter(|row| row.result == word).count()),
            without_photo: done.iter().filter(|row| row.templates == Some(0)).count(),
            photos,
            seconds,
        }
    }

    pub(super) fn all_well(&self) -> bool {
        let [.., refused, not_done] = self.of;
        refused == 0 && not_done == 0
    }

    pub(super) fn in_words(&self, dry_run: bool) -> String {
        let [enrolled, updated, unchanged, refused, not_done] = self.of;
        let dry = if dry_run { "dry run, nothing is changed: " } else { "" };
        let mut rest = if not_done > 0 { format!(", {not_done} not done") } else { String::new() };
        if self.passed_over > 0 {
            rest += &format!("; {} passed over", counted(self.passed_over, "line"));
        }
        format!(
            "{dry}{}: {enrolled} enrolled, {updated} updated, {unchanged} unchanged, {refused} \
             refused{rest}; {} without a photo; {:.1} s, {:.1} photos a second",
            counted(self.rows, "row"),
            self.without_photo,
            self.seconds,
            rate(self.photos, self.seconds)
        )
    }
}

pub(super) fn rate(photos: usize, seconds: f64) -> f64 {
    if seconds > 0.0 { photos as f64 / seconds } else { 0.0 }
}
