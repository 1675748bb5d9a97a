//! The sheet as a file: XLSX for printing and signing, CSV, JSON.
//!
//! In: a [`Document`]. Out: bytes, the same for the same document. Headings and marks are in
//! Chinese and English. Texts that people typed never become formulas. In XLSX they are text cells.
//! A CSV has no cell types, so a text that a program could take for a formula gets an apostrophe
//! before it.

mod csv;
mod xlsx;

use jiff::civil::Date;
use serde::Serialize;

use super::{
    RecordOutcome,
    export::HeadOf,
    merge::Source,
    timesheet::{At, Day, Flag, Note, Stretch, Text, Timesheet, WithoutDate},
};
use crate::config::Direction;

pub use self::{csv::csv, xlsx::xlsx};
pub use super::days::hours;

/// A sheet with its title, sources and notes.
#[derive(Debug, Serialize)]
pub struct Document {
    pub project: String,
    /// The site's name.
    pub site: String,
    /// The month, such as `2026-10`.
    pub month: String,
    pub timezone: String,
    /// The start of a working day, such as `04:00`.
    pub day_starts_at: String,
    pub made_at: At,
    pub sources: Vec<Source>,
    /// Notes to the reader of the sheet.
    pub notes: Vec<Note>,
    #[serde(skip)]
    pub dates: Vec<Date>,
    #[serde(flatten)]
    pub sheet: Timesheet,
}

/// Returns the signs of a day's flags.
pub fn marks(day: &Day) -> String {
    day.flags.iter().map(|flag| flag.sign()).collect()
}

fn legend() -> String {
    let explained = |flag: Flag| format!("{} {} {}", flag.sign(), flag.chinese(), flag.english());
    Flag::ALL.map(explained).join("；")
}

/// Returns a note as one line, with the mark that it replaces.
fn note(note: &Note) -> String {
    let sign = note.mark().map(|flag| format!("{} ", flag.sign())).unwrap_or_default();
    format!("注意 Note: {sign}{}。{}.", note.chinese(), note.english())
}

/// Returns the rules by which the hours are computed.
fn rules(document: &Document) -> String {
    let starts = &document.day_starts_at;
    format!(
        "工时为时:分，按进出场时刻（到分）相减；工作日自 {starts} 起至次日 {starts}。Hours are h:mm, from \
         the minute of the entry to that of the exit; a working day lasts from {starts} to {starts}. \
         补记单独列出，不计入工时。Passages added later are listed apart and not counted in. \
         异议工时另列。Hours that a dispute takes from a day stand apart."
    )
}

/// Returns a source as one line.
fn source(source: &Source) -> String {
    let seq = match (source.first_seq, source.last_seq) {
        (Some(first), Some(last)) => format!("{first}–{last}"),
        _ => "—".to_owned(),
    };
    let file = source.file.as_ref().map(|file| format!(" · {file}")).unwrap_or_default();
    format!(
        "闸机 Gateway {} · 账本 Ledger {} · 序号 seq {seq} · {} 条 records · 读取于 read {}{file}{}",
        source.gateway,
        source.ledger,
        source.records,
        source.read_at.minute(),
        if source.verified { "" } else { " · 未经验证 not verified" }
    )
}

/// Returns what anchors a source: the signed head of its ledger, and the key's fingerprint.
fn anchor(head: &HeadOf, gateway: &str) -> String {
    let HeadOf { tree_size, root, signed_at, fingerprint } = head;
    format!(
        "账本签名 Signed head of {gateway}: {tree_size} 条 entries · 根 root {root} · 签于 at {signed_at} · \
         公钥指纹 key fingerprint {fingerprint}"
    )
}

/// Returns the lines about the sources, with what anchors them.
fn sources(document: &Document) -> impl Iterator<Item = String> {
    document.sources.iter().flat_map(|from| {
        let head = from.head.as_ref().map(|head| anchor(head, &from.gateway));
        [source(from)].into_iter().chain(head)
    })
}

/// Returns a day's passages, such as `07:58–12:01, 13:00–17:32`. A missing passage is `?`.
pub fn stretches(day: &Day) -> String {
    each_stretch(day).join(", ")
}

fn each_stretch(day: &Day) -> Vec<String> {
    let at = |at: Option<At>| at.map_or_else(|| "?".to_owned(), |at| at.on(day.date));
    let one = |s: &Stretch| format!("{}–{}", at(s.entry), at(s.exit));
    day.stretches.iter().map(one).collect()
}

fn on(at: Option<At>, date: Date) -> String {
    at.map_or_else(String::new, |at| at.on(date))
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Entry => "进 entry",
        Direction::Exit => "出 exit",
    }
}

fn place(gateway: &Text, lane: Option<&Text>) -> String {
    format!("{gateway} / {}", lane.map_or("—", |lane| &**lane))
}

/// Returns the time that a wrong clock had recorded.
fn showed(at: At) -> String {
    format!("时钟示 clock showed {}", at.minute())
}

/// Returns what is known of the time of a record without a date.
fn remark(record: &WithoutDate) -> String {
    let at = |at: Option<At>| at.map_or_else(|| "?".to_owned(), |at| at.minute());
    let outcome = match record.outcome {
        RecordOutcome::Passed => "",
        _ => "；未确认 unconfirmed",
    };
    let disputed = record.disputed.map(|seq| format!("；异议 disputed by seq {seq}"));
    format!(
        "日期不明 no date；{} … {}；{}{outcome}{}",
        at(record.after),
        at(record.before),
        showed(record.clock_showed),
        disputed.unwrap_or_default()
    )
}
