//! The format of an export, and how the records of several gateways become one sheet.
//!
//! An export is lines of JSON: a [`Heading`], records with their proofs ([`proven`](super::proven)),
//! and an [`Ending`]. A file without an ending was cut off. Version 1 had no proofs. In: the bytes of
//! exports. Out: [`Gathered`] passes with their sources, or an error with file and line. Records that
//! are not verified are refused, or noted where the user takes them all the same. Each gateway of a
//! site has its own roster. One id with two names is refused, because two people's hours on one line
//! would be wrong for both.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, Read},
};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Record,
    export::{Doubt, Ending, Extent, FORMAT, HeadOf, Heading, Span, Trust, UNPROVEN, VERSION},
    proven::Proof,
    timesheet::{At, Crossing, Days, Note, Passes, Text},
};
use crate::words::counted;

/// Maximum length of a line. A record has less than 4 KiB.
const LINE_MAX: u64 = 64 * 1024;
const FILE_MAX: u64 = 1 << 30;
/// Maximum number of records of one sheet: 3,000 workers who pass nine times a day.
const RECORDS_MAX: usize = 1_000_000;
/// Maximum number of characters of a text. The roster takes at most 200.
const TEXT_MAX: usize = 256;

/// Why a file cannot be a part of the sheet.
#[derive(Debug, thiserror::Error)]
#[error("{file}, line {line}: {problem}")]
pub struct WrongExport {
    pub file: String,
    pub line: u64,
    pub problem: String,
}

/// A source of a sheet's records: a ledger, read directly or from an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    pub gateway: String,
    pub ledger: String,
    /// Number of this source's records within the sheet's days, also of those that another source
    /// had already.
    pub records: u64,
    pub first_seq: Option<u64>,
    pub last_seq: Option<u64>,
    /// Time when the records were read from the ledger.
    pub read_at: At,
    /// The export's name; `null` for the gateway that made the sheet.
    pub file: Option<String>,
    /// Whether the proofs hold, and the user named the key. The daemon's own records need no proof.
    pub verified: bool,
    /// The signed head of the source's whole ledger, after the records were read.
    pub head: Option<HeadOf>,
}

/// All records for one sheet, with their sources and the notes to the reader.
pub struct Gathered<'a> {
    days: &'a Days,
    texts: Passes,
    pub passes: Vec<Crossing>,
    /// Index into `passes` of each record, by ledger and seq; of a correction, by the seq of the
    /// record that it corrects.
    places: HashMap<(Text, u64), usize>,
    most: usize,
    pub sources: Vec<Source>,
    /// Notes to the reader of the sheet.
    pub notes: Vec<Note>,
    /// Time when the first source was read. Records after it may be missing.
    pub read_at: Option<Timestamp>,
    trust: Trust,
}

impl<'a> Gathered<'a> {
    pub fn new(days: &'a Days, trust: Trust) -> Gathered<'a> {
        Gathered {
            days,
            trust,
            texts: Passes::default(),
            passes: Vec::new(),
            places: HashMap::new(),
            most: RECORDS_MAX,
            sources: Vec::new(),
            notes: Vec::new(),
            read_at: None,
        }
    }

    /// Adds a record. Returns whether it is within the days that are needed. From a record that is
    /// there already, only `disputed` is taken, and a date that it had not. The last correction of a
    /// record takes its place.
    pub fn take(&mut self, record: &Record) -> Result<bool, String> {
        let new = self.texts.of(record).map_err(|e| format!("a record has no valid time: {e}"))?;
        let is_needed = match &new.undated {
            Some(between) => between.meets(self.days.range()),
            None => self.days.need(new.at),
        };
        if !is_needed {
            return Ok(false);
        }
        let place = (new.ledger.clone(), record.corrects.unwrap_or(record.seq));
        if let Some(known) = self.places.get(&place).and_then(|at| self.passes.get_mut(*at)) {
            let (seq, dispute) = match known.disputed {
                Some(_) => (known.disputed, known.dispute.clone()),
                None => (new.disputed, new.dispute.clone()),
            };
            let mut new =
                Crossing { disputed: known.disputed, dispute: known.dispute.clone(), ..new };
            // One of the two may have been read before the clock was synchronised.
            if known.recorded() == new.recorded() {
                match known.synced {
                    true => new.date_as(known),
                    false => known.date_as(&new),
                }
            }
            if known.seq == new.seq && *known != new {
                return Err(format!(
                    "record {} of ledger {} was read before with other contents: export the records \
                     again",
                    new.seq, new.ledger
                ));
            }
            if known.seq < new.seq {
                *known = new;
            }
            (known.disputed, known.dispute) = (seq, dispute);
            return Ok(true);
        }
        if self.passes.len() >= self.most {
            return Err(format!(
                "one sheet has at most {} records: give fewer --with files",
                self.most
            ));
        }
        self.places.insert(place, self.passes.len());
        self.passes.push(new);
        Ok(true)
    }

    /// Adds the source of the gateway's own records, after they were taken. `head` is signed after
    /// that; `None` if the gateway cannot sign its ledger.
    pub fn own(&mut self, extent: &Extent, head: Option<HeadOf>) {
        if let Some(begins) = extent.begins.filter(|begins| *begins > self.days.range().0) {
            self.notes.push(Note::LedgerBegins {
                gateway: extent.gateway.to_string(),
                begins: self.days.at(begins).minute(),
                set_aside: extent.set_aside.clone(),
            });
        }
        if extent.at < self.days.end() {
            let (gateway, at) = (extent.gateway.to_string(), self.days.at(extent.at).minute());
            self.notes.push(Note::ReadEarly { gateway, at });
        }
        let doubt = head.is_none().then_some(Doubt::Unsigned);
        self.source(extent, None, (head, doubt));
    }

    fn source(
        &mut self,
        extent: &Extent,
        file: Option<&str>,
        (head, doubt): (Option<HeadOf>, Option<Doubt>),
    ) {
        if extent.unread > 0 {
            let (gateway, records) = (extent.gateway.to_string(), extent.unread);
            let entries = extent.unread_entries.clone();
            self.notes.push(Note::Unread { gateway, records, entries });
        }
        self.read_at = Some(self.read_at.map_or(extent.at, |first| first.min(extent.at)));
        self.sources.push(Source {
            gateway: extent.gateway.clone(),
            ledger: extent.ledger.clone(),
            records: extent.count,
            first_seq: extent.first_seq,
            last_seq: extent.last_seq,
            read_at: self.days.at(extent.at),
            file: file.map(str::to_owned),
            verified: doubt.is_none(),
            head,
        });
        for (ledger, Span { count, first_seq, last_seq }) in &extent.earlier {
            self.sources.push(Source {
                gateway: extent.gateway.clone(),
                ledger: ledger.clone(),
                records: *count,
                first_seq: Some(*first_seq),
                last_seq: Some(*last_seq),
                read_at: self.days.at(extent.at),
                file: file.map(str::to_owned),
                verified: file.is_none(),
                head: None,
            });
        }
        for place in &extent.illegible {
            let (gateway, place) = (extent.gateway.to_string(), place.clone());
            self.notes.push(Note::Illegible { gateway, place });
        }
        if !extent.earlier.is_empty() && file.is_some() {
            let (gateway, file) = (extent.gateway.clone(), file.map(str::to_owned));
            self.notes.push(Note::Unverified { gateway, file, doubt: Doubt::SetAside });
        }
        if let Some(doubt) = doubt {
            let (gateway, file) = (extent.gateway.clone(), file.map(str::to_owned));
            self.notes.push(Note::Unverified { gateway, file, doubt });
        }
    }

    /// Adds the records of an export that another gateway of this project wrote.
    pub fn export(
        &mut self,
        file: &str,
        bytes: impl BufRead,
        project: &str,
    ) -> Result<(), WrongExport> {
        let mut lines = Lines { file, line: 0, bytes: bytes.take(FILE_MAX) };
        let not_one = "this is not a file of `gatehouse attendance export`";
        let Some(first) = lines.next()? else {
            return Err(lines.wrong(format!("{not_one}: it is empty")));
        };
        let heading: Heading =
            serde_json::from_slice(&first).map_err(|e| lines.wrong(format!("{not_one}: {e}")))?;
        let Heading { version, from, to, .. } = heading;
        if heading.format != FORMAT {
            return Err(lines.wrong(not_one));
        }
        let mut proof = (version == VERSION).then(|| Proof::new(&heading, &first));
        if proof.is_none() && version != UNPROVEN {
            let problem = format!(
                "the export has version {version}, and this program reads version {VERSION}: use the \
                 same version of Gatehouse on both gateways"
            );
            return Err(lines.wrong(problem));
        }
        for text in [&heading.project, &heading.gateway, &heading.ledger] {
            checked(text).map_err(|problem| lines.wrong(problem))?;
        }
        if heading.project != project {
            let problem = format!(
                "the export is of project {}, and this gateway is of project {project}",
                heading.project
            );
            return Err(lines.wrong(problem));
        }
        if to < self.days.first || from > self.days.last {
            let problem =
                format!("the export holds {from} to {to}, and no day of this month: export again");
            return Err(lines.wrong(problem));
        }
        let at = heading.exported_at.parse();
        let at = at.map_err(|e| lines.wrong(format!("exported_at: {e}")))?;
        let Heading { project, gateway, ledger, .. } = heading;
        let mut extent = Extent { project, gateway, ledger, at, ..Extent::default() };
        let mut used = extent.clone();
        loop {
            let Some(line) = lines.next()? else {
                let problem = "the file was cut off: its last line, with the count, is missing; copy \
                               or export it again";
                return Err(lines.wrong(problem));
            };
            let (record, ending) = match &mut proof {
                None => match serde_json::from_slice::<Ending>(&line) {
                    Ok(ending) => (None, Some(ending)),
                    Err(_) => (Some(lines.parse(&line)?), None),
                },
                Some(proof) => {
                    let record = proof.line(&line).map_err(|problem| lines.wrong(problem))?;
                    (record, proof.ending.clone().filter(|_| proof.is_over()))
                }
            };
            if let Some(ending) = ending {
                (used.unread, used.unread_entries) = (ending.unread, ending.unread_entries.clone());
                (extent.unread, extent.unread_entries) =
                    (ending.unread, ending.unread_entries.clone());
                if ending != extent.ending() {
                    let problem = format!(
                        "the last line counts {}, and the file has {}: copy or export it again",
                        counted(ending.count, "record"),
                        extent.ending().count
                    );
                    return Err(lines.wrong(problem));
                }
                break;
            }
            let Some(record) = record else { continue };
            // A gateway whose database was set aside has records of several ledgers.
            if (&record.project, &record.gateway) != (&extent.project, &extent.gateway) {
                return Err(lines.wrong("the record is of another gateway than the heading"));
            }
            checked(&record.ledger).map_err(|problem| lines.wrong(problem))?;
            let Record { worker, name, team, contractor, trade, lane, reason, by, .. } = &record;
            let typed = [worker, name, team, contractor, trade].into_iter();
            let dispute = record.dispute.iter().flat_map(|d| [&d.by, &d.at, &d.reason]);
            for text in typed.chain(lane).chain(reason).chain(by).chain(dispute) {
                checked(text).map_err(|problem| lines.wrong(problem))?;
            }
            extent.saw(&record);
            if self.take(&record).map_err(|problem| lines.wrong(problem))? {
                used.saw(&record);
            }
        }
        if lines.next()?.is_some() {
            return Err(lines.wrong("the file has lines after its last line with the count"));
        }
        let (head, doubt) = match proof {
            Some(proof) => proof.check(&self.trust),
            None => (None, Some(Doubt::NoProof)),
        };
        if let Some(doubt) = doubt.as_ref().filter(|_| !self.trust.unverified) {
            return Err(lines.wrong(doubt.refusal(&used.gateway)));
        }
        let after = self.days.last.tomorrow().unwrap_or(self.days.last);
        let before = self.days.first.yesterday().unwrap_or(self.days.first);
        let gateway = used.gateway.to_string();
        if from > before || to < after {
            let (has, needs) = ((from, to), (before, after));
            self.notes.push(Note::ExportedPart { gateway, file: file.to_owned(), has, needs });
        } else if used.at < self.days.end() {
            let (file, at) = (file.to_owned(), self.days.at(used.at).minute());
            self.notes.push(Note::ExportedEarly { gateway, file, at });
        }
        self.source(&used, Some(file), (head, doubt));
        Ok(())
    }

    /// Checks that each id has one name. `same`: ids that the user named with --same-person.
    pub fn one_person_each(mut self, same: &[String]) -> Result<Gathered<'a>, String> {
        self.passes.sort_by_key(|crossing| crossing.at);
        // A name may have been corrected, so the latest name in each ledger counts.
        let mut names: BTreeMap<&str, BTreeMap<&str, &Crossing>> = BTreeMap::new();
        for crossing in &self.passes {
            names.entry(&crossing.worker).or_default().insert(&crossing.ledger, crossing);
        }
        for (worker, latest) in names {
            let mut latest = latest.into_values();
            let Some(one) = latest.next() else { continue };
            let other = latest.find(|other| other.name != one.name);
            if let Some(other) = other.filter(|_| same.iter().all(|id| id != worker)) {
                return Err(format!(
                    "worker {worker} is {} at {} and {} at {}: if this is one person, give \
                     --same-person {worker}; if these are two people, make a sheet on each gateway",
                    one.name, one.gateway, other.name, other.gateway
                ));
            }
        }
        Ok(self)
    }
}

/// Refuses a text that the roster would refuse, because no gateway writes it.
fn checked(text: &str) -> Result<(), &'static str> {
    if text.chars().count() > TEXT_MAX || text.chars().any(char::is_control) {
        return Err("a text is too long or has control characters, which no gateway writes");
    }
    Ok(())
}

/// Reads the lines of a file, each up to a maximum length.
struct Lines<'a, R> {
    file: &'a str,
    line: u64,
    bytes: std::io::Take<R>,
}

impl<R: BufRead> Lines<'_, R> {
    fn wrong(&self, problem: impl Into<String>) -> WrongExport {
        WrongExport { file: self.file.to_owned(), line: self.line, problem: problem.into() }
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, WrongExport> {
        self.line += 1;
        let mut line = Vec::new();
        let read = self.bytes.by_ref().take(LINE_MAX + 1).read_until(b'\n', &mut line);
        read.map_err(|e| self.wrong(e.to_string()))?;
        if line.pop_if(|last| *last == b'\n').is_some() {
            return Ok(Some(line));
        }
        match line.len() as u64 {
            _ if self.bytes.limit() == 0 => Err(self.wrong("the file has more than 1 GiB")),
            0 => Ok(None),
            length if length > LINE_MAX => {
                Err(self.wrong(format!("the line has more than {} KiB", LINE_MAX / 1024)))
            }
            _ => Err(self.wrong("the file was cut off within this line: copy or export it again")),
        }
    }

    fn parse<T: DeserializeOwned>(&self, line: &[u8]) -> Result<T, WrongExport> {
        serde_json::from_slice(line).map_err(|e| self.wrong(e.to_string()))
    }
}

#[cfg(test)]
mod tests;
