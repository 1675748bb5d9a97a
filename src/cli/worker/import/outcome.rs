//! What became of each row: on the terminal, as JSON, and as a CSV report.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::super::super::{Context, print_line, table};
use crate::{
    control::EnrolResult,
    roster::import::{Row, masked, neutral},
};

/// What the daemon, or the file, said of a row.
pub(super) struct Outcome {
    word: Word,
    reason: Option<String>,
    templates: Option<u32>,
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
        Outcome { word, reason: note.map(str::to_owned), templates: Some(templates) }
    }

    pub(super) fn unchanged(&self) -> bool {
        self.word == Word::Unchanged
    }

    pub(super) fn refused(reason: String) -> Outcome {
        Outcome { word: Word::Refused, reason: Some(reason), templates: None }
    }

    pub(super) fn not_done(why: &str) -> Outcome {
        let reason = format!("not done: {why}; run the import again");
        Outcome { word: Word::NotDone, reason: Some(reason), templates: None }
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
        }
    }

    pub(super) fn well(&self) -> bool {
        !matches!(self.result, Word::Refused | Word::NotDone)
    }

    pub(super) fn refused(&self) -> bool {
        self.result == Word::Refused
    }

    /// As it stands in a log of the import.
    pub(super) fn in_words(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or_default();
        format!("row {} {} {}: {}: {reason}", self.row, self.id, self.name, self.result.shown())
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
    let mut worth_a_look = done.iter().filter(|row| row.reason.is_some()).peekable();
    if worth_a_look.peek().is_none() {
        return Ok(());
    }
    let head = ["ROW", "ID", "NAME", "RESULT", "REASON"];
    print_line(&table(&head, worth_a_look.map(|row| row.cells().to_vec())))
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
    of: [usize; 5],
    without_photo: usize,
    photos: usize,
    seconds: f64,
}

impl Summary {
    pub(super) fn of(done: &[Done], photos: usize, seconds: f64) -> Summary {
        let words = [Word::Enrolled, Word::Updated, Word::Unchanged, Word::Refused, Word::NotDone];
        Summary {
            rows: done.len(),
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
        let rest = if not_done > 0 { format!(", {not_done} not done") } else { String::new() };
        format!(
            "{dry}{} rows: {enrolled} enrolled, {updated} updated, {unchanged} unchanged, {refused} \
             refused{rest}; {} without a photo; {:.1} s, {:.1} photos a second",
            self.rows,
            self.without_photo,
            self.seconds,
            super::progress::rate(self.photos, self.seconds)
        )
    }
}
