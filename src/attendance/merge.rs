//! What one gateway's `attendance export` wrote, and how several of them become one sheet.
//!
//! An export is lines of JSON: a [`Heading`], records, an [`Ending`], without which it was cut off.
//! In: its bytes. Out: [`Gathered`] passes with where they come from, or what is wrong, with file and
//! line. A site's gateways have rosters of their own: one id with two names is refused, because two
//! people's hours on one line would be wrong for both.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, Read},
};

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Record,
    timesheet::{At, Crossing, Days, Note, Passes, Text},
};
use crate::timing::counted;

/// What an export's first line says it is.
const FORMAT: &str = "gatehouse attendance";
const VERSION: u32 = 1;
/// A record is under 4 KiB.
const LINE_MAX: u64 = 64 * 1024;
const FILE_MAX: u64 = 1 << 30;
/// Of one sheet: 3,000 workers who pass nine times a day.
const RECORDS_MAX: usize = 1_000_000;
/// Characters of a text; what people type has at most 200.
const TEXT_MAX: usize = 256;

/// What was read of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    pub project: String,
    pub gateway: String,
    pub ledger: String,
    pub count: u64,
    /// The lowest and the highest of these records.
    pub first_seq: Option<u64>,
    pub last_seq: Option<u64>,
    /// When it was read.
    pub at: Timestamp,
    /// When its first entry was made, where that can be read.
    #[serde(default)]
    pub begins: Option<Timestamp>,
    /// The folder of the damaged database whose place it took, if it did.
    #[serde(default)]
    pub set_aside: Option<String>,
}

impl Extent {
    pub fn saw(&mut self, seq: u64) {
        self.count += 1;
        self.first_seq = Some(self.first_seq.map_or(seq, |first| first.min(seq)));
        self.last_seq = Some(self.last_seq.map_or(seq, |last| last.max(seq)));
    }

    pub fn ending(&self) -> Ending {
        let Extent { count, first_seq, last_seq, .. } = *self;
        Ending { count, first_seq, last_seq }
    }
}

/// An export's first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    pub format: String,
    pub version: u32,
    pub project: String,
    pub gateway: String,
    pub ledger: String,
    /// From midnight of the first day to midnight after the last one.
    pub from: Date,
    pub to: Date,
    pub exported_at: String,
    pub timezone: Option<String>,
}

impl Heading {
    pub fn new(
        extent: &Extent,
        (from, to): (Date, Date),
        exported_at: String,
        timezone: Option<&str>,
    ) -> Heading {
        Heading {
            format: FORMAT.to_owned(),
            version: VERSION,
            project: extent.project.clone(),
            gateway: extent.gateway.clone(),
            ledger: extent.ledger.clone(),
            from,
            to,
            exported_at,
            timezone: timezone.map(str::to_owned),
        }
    }
}

/// An export's last line. It is no record: that has other fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    pub count: u64,
    pub first_seq: Option<u64>,
    pub last_seq: Option<u64>,
}

/// Why a file cannot be a part of the sheet.
#[derive(Debug, thiserror::Error)]
#[error("{file}, line {line}: {problem}")]
pub struct WrongExport {
    pub file: String,
    pub line: u64,
    pub problem: String,
}

/// Where a sheet's records come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    pub gateway: String,
    pub ledger: String,
    /// Of the records that were used, or would have been had they not come from elsewhere too.
    pub records: u64,
    pub first_seq: Option<u64>,
    pub last_seq: Option<u64>,
    /// When they were read from the ledger.
    pub read_at: At,
    /// The export's name; `null` for the gateway that made the sheet.
    pub file: Option<String>,
}

/// Everything for one sheet.
pub struct Gathered<'a> {
    days: &'a Days,
    texts: Passes,
    pub passes: Vec<Crossing>,
    /// Where each record is.
    places: HashMap<(Text, u64), usize>,
    most: usize,
    pub sources: Vec<Source>,
    /// What whoever reads the sheet should know.
    pub notes: Vec<Note>,
    /// When the first of the sources was read: what was later may be missing.
    pub read_at: Option<Timestamp>,
}

impl<'a> Gathered<'a> {
    pub fn new(days: &'a Days) -> Gathered<'a> {
        Gathered {
            days,
            texts: Passes::default(),
            passes: Vec::new(),
            places: HashMap::new(),
            most: RECORDS_MAX,
            sources: Vec::new(),
            notes: Vec::new(),
            read_at: None,
        }
    }

    /// Takes a record in; true where it is of the days that are needed. Who has it already takes from
    /// it no more than that it is disputed.
    pub fn take(&mut self, record: &Record) -> Result<bool, String> {
        let new = self.texts.of(record).map_err(|e| format!("no time of a record: {e}"))?;
        if !self.days.need(new.at) {
            return Ok(false);
        }
        let place = (new.ledger.clone(), new.seq);
        if let Some(known) = self.places.get(&place).and_then(|at| self.passes.get_mut(*at)) {
            let disputed = known.disputed.or(new.disputed);
            if *known != (Crossing { disputed: known.disputed, ..new }) {
                let (ledger, seq) = place;
                return Err(format!("record {seq} of ledger {ledger} was read otherwise before"));
            }
            known.disputed = disputed;
            return Ok(true);
        }
        if self.passes.len() >= self.most {
            return Err(format!("more than {} records for one sheet", self.most));
        }
        self.places.insert(place, self.passes.len());
        self.passes.push(new);
        Ok(true)
    }

    /// The gateway's own records were taken.
    pub fn own(&mut self, extent: &Extent) {
        if let Some(begins) = extent.begins.filter(|begins| *begins > self.days.range().0) {
            let (chinese, english) = match &extent.set_aside {
                Some(place) => (
                    format!("（原账本已损坏，存于 {place}）"),
                    format!(", in place of a damaged one that lies in {place}"),
                ),
                None => (String::new(), String::new()),
            };
            let (gateway, begins) = (&extent.gateway, self.days.at(begins).minute());
            self.notes.push(Note::new(
                format!("{gateway} 的账本自 {begins} 起{chinese}，此前的记录不在本表"),
                format!(
                    "{gateway}: its ledger begins on {begins}{english}; what was before is not on this \
                     sheet"
                ),
            ));
        }
        if extent.at < self.days.end() {
            let (gateway, at) = (&extent.gateway, self.days.at(extent.at).minute());
            self.notes.push(Note::new(
                format!("{gateway} 的记录读取于 {at}，当时本月尚未结束"),
                format!("{gateway}: read on {at}, before all of the month was past"),
            ));
        }
        self.source(extent, None);
    }

    fn source(&mut self, extent: &Extent, file: Option<&str>) {
        self.read_at = Some(self.read_at.map_or(extent.at, |first| first.min(extent.at)));
        self.sources.push(Source {
            gateway: extent.gateway.clone(),
            ledger: extent.ledger.clone(),
            records: extent.count,
            first_seq: extent.first_seq,
            last_seq: extent.last_seq,
            read_at: self.days.at(extent.at),
            file: file.map(str::to_owned),
        });
    }

    /// Takes in what another gateway of this project exported.
    pub fn export(
        &mut self,
        file: &str,
        bytes: impl BufRead,
        project: &str,
    ) -> Result<(), WrongExport> {
        let mut lines = Lines { file, line: 0, bytes: bytes.take(FILE_MAX) };
        let not_one = "this is not what `gatehouse attendance export` writes";
        let heading: Heading = match lines.next()?.map(|line| serde_json::from_slice(&line)) {
            Some(Ok(heading)) => heading,
            Some(Err(e)) => return Err(lines.wrong(format!("{not_one}: {e}"))),
            None => return Err(lines.wrong(format!("{not_one}: it is empty"))),
        };
        let Heading { version, from, to, .. } = heading;
        if heading.format != FORMAT {
            return Err(lines.wrong(not_one));
        }
        if version != VERSION {
            let problem = format!("an export of version {version}; this program reads {VERSION}");
            return Err(lines.wrong(problem));
        }
        for text in [&heading.project, &heading.gateway, &heading.ledger] {
            checked(text).map_err(|problem| lines.wrong(problem))?;
        }
        if heading.project != project {
            let problem = format!("of project {}, and this is {project}", heading.project);
            return Err(lines.wrong(problem));
        }
        if to < self.days.first || from > self.days.last {
            let problem = format!("holds {from} to {to}, and nothing of this month");
            return Err(lines.wrong(problem));
        }
        let at = heading.exported_at.parse();
        let at = at.map_err(|e| lines.wrong(format!("exported_at: {e}")))?;
        let Heading { project, gateway, ledger, .. } = heading;
        let mut extent = Extent { project, gateway, ledger, at, ..Extent::default() };
        let mut used = extent.clone();
        loop {
            let Some(line) = lines.next()? else {
                let problem = "it was cut off: the last line, with the count, is missing";
                return Err(lines.wrong(problem));
            };
            if let Ok(ending) = serde_json::from_slice::<Ending>(&line) {
                if ending != extent.ending() {
                    let problem = format!(
                        "the last line counts {}, and there are {}: some are missing",
                        counted(ending.count, "record"),
                        extent.count
                    );
                    return Err(lines.wrong(problem));
                }
                break;
            }
            let record: Record = lines.parse(&line)?;
            let whose = (&record.project, &record.gateway, &record.ledger);
            if whose != (&extent.project, &extent.gateway, &extent.ledger) {
                return Err(lines.wrong("a record that is not of the heading's gateway and ledger"));
            }
            let Record { worker, name, team, contractor, trade, lane, reason, by, .. } = &record;
            let typed = [worker, name, team, contractor, trade].into_iter();
            for text in typed.chain(lane).chain(reason).chain(by) {
                checked(text).map_err(|problem| lines.wrong(problem))?;
            }
            extent.saw(record.seq);
            if self.take(&record).map_err(|problem| lines.wrong(problem))? {
                used.saw(record.seq);
            }
        }
        if lines.next()?.is_some() {
            return Err(lines.wrong("something stands behind the end"));
        }
        let after = self.days.last.tomorrow().unwrap_or(self.days.last);
        let before = self.days.first.yesterday().unwrap_or(self.days.first);
        if from > before || to < after {
            let gateway = &used.gateway;
            self.notes.push(Note::new(
                format!(
                    "{gateway}（{file}）只含 {from} 至 {to}；整月及月首月末的夜班须导出 {before} 至 {after}"
                ),
                format!(
                    "{gateway} ({file}): holds {from} to {to}; export {before} to {after} for the whole \
                     month with the night shifts at its ends"
                ),
            ));
        } else if used.at < self.days.end() {
            let (gateway, at) = (&used.gateway, self.days.at(used.at).minute());
            self.notes.push(Note::new(
                format!("{gateway}（{file}）导出于 {at}，当时本月尚未结束"),
                format!("{gateway} ({file}): exported on {at}, before all of the month was past"),
            ));
        }
        self.source(&used, Some(file));
        Ok(())
    }

    /// Itself, once each id is one person. `same`: ids of which somebody says so.
    pub fn one_person_each(mut self, same: &[String]) -> Result<Gathered<'a>, String> {
        self.passes.sort_by_key(|crossing| crossing.at);
        // A name may have been corrected; the latest in each ledger counts.
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
                    "worker {worker} is {} at {} and {} at {}: where they are two people, the sheets \
                     must be made apart; where they are one, give --same-person {worker}",
                    one.name, one.gateway, other.name, other.gateway
                ));
            }
        }
        Ok(self)
    }
}

/// No honest record has a text that the roster would not take.
fn checked(text: &str) -> Result<(), &'static str> {
    if text.chars().count() > TEXT_MAX || text.chars().any(char::is_control) {
        return Err("a text that no gateway writes: too long, or with control characters");
    }
    Ok(())
}

/// The lines of a file, of bounded length.
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
            _ => Err(self.wrong("it was cut off: the line has no end")),
        }
    }

    fn parse<T: DeserializeOwned>(&self, line: &[u8]) -> Result<T, WrongExport> {
        serde_json::from_slice(line).map_err(|e| self.wrong(e.to_string()))
    }
}

#[cfg(test)]
mod tests;
