//! The sheet as CSV: a line for each worker and day, the sums, the records that are listed
//! separately, the sources and the notes.

use super::{
    Document, direction, hours, legend, marks, note, on, place, remark, rules, showed, sources,
    stretches,
};
use crate::{
    attendance::timesheet::{ListedSeparately, Sum, Totals},
    roster::import::neutral,
};

/// Column headings. The column `row` holds the kind of the line: `day`, `worker`, `team`,
/// `contractor`, `total`, `supplement`, `disputed`, `corrected`, `undated`, `source` or `note`.
const HEADINGS: [&str; 26] = [
    "行 row",
    "分包单位 contractor",
    "班组 team",
    "工号 worker",
    "姓名 name",
    "日期 date",
    "首次进场 first in",
    "末次出场 last out",
    "进出记录 passages",
    "出勤天数 days",
    "工时 hours",
    "分钟 minutes",
    "缺进场 missing in",
    "缺出场 missing out",
    "标记 flags",
    "补记次数 supplements",
    "含补记工时 hours with supplements",
    "说明 remarks",
    "工种 trade",
    "证件号后四位 ID number ends",
    "未确认天数 unconfirmed days",
    "未确认工时 unconfirmed hours",
    "未确认分钟 unconfirmed minutes",
    "异议天数 disputed days",
    "异议工时 disputed hours",
    "异议分钟 disputed minutes",
];

/// Returns the sheet as UTF-8 with a byte order mark, by which Excel recognises UTF-8. Lines end
/// with CRLF (RFC 4180).
pub fn csv(document: &Document) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(b"\xEF\xBB\xBF".to_vec());
    let mut write = |line: Line| writer.write_record(line.cells());
    write(Line(HEADINGS.map(str::to_owned)))?;
    let sheet = &document.sheet;
    for row in &sheet.rows {
        let who = [&row.contractor, &row.team, &row.worker, &row.name].map(|text| text.to_string());
        let whose = |kind| {
            let tail = row.id_tail.as_deref().unwrap_or_default();
            Line::of(kind, &who).with(18, &row.trade).with(19, tail)
        };
        for day in &row.days {
            let mut line = whose("day").with(5, day.date.to_string());
            line = line.with(6, on(day.first_in, day.date)).with(7, on(day.last_out, day.date));
            line = line.with(8, stretches(day)).with(9, u32::from(day.confirmed));
            line = line.with(10, hours(day.minutes)).with(11, day.minutes);
            let unconfirmed = Sum {
                days: u32::from(!day.confirmed && !day.stretches.is_empty()),
                minutes: day.minutes_unconfirmed,
            };
            let days = u32::from(day.is_only_disputed());
            line = line.apart(20, unconfirmed);
            line = line.apart(23, Sum { days, minutes: day.minutes_disputed });
            line = line.with(14, marks(day)).with(15, day.supplements);
            write(line.with(16, day.minutes_with_supplements.map(hours).unwrap_or_default()))?;
        }
        write(whose("worker").sums(&row.totals))?;
    }
    for team in &sheet.teams {
        let who = [&*team.contractor, team.team.as_deref().unwrap_or_default()].map(str::to_owned);
        write(Line::of("team", &who).sums(&team.totals))?;
    }
    for group in &sheet.contractors {
        write(Line::of("contractor", &[group.contractor.to_string()]).sums(&group.totals))?;
    }
    write(Line::of("total", &[]).sums(&sheet.total))?;
    for added in &sheet.supplements {
        let why = [added.by.as_deref(), added.reason.as_deref()].map(Option::unwrap_or_default);
        let when = added.recorded_at.minute();
        write(separate_line("supplement", added, format!("{when} {}: {}", why[0], why[1])))?;
    }
    for disputed in &sheet.disputed {
        let by = disputed.disputed_by().unwrap_or_default();
        write(separate_line("disputed", disputed, format!("异议见 disputed by {by}")))?;
    }
    for corrected in &sheet.corrected {
        let remark = corrected.clock_showed.map(showed).unwrap_or_default();
        write(separate_line("corrected", corrected, remark))?;
    }
    for undated in &sheet.undated {
        let who = [&undated.contractor, &undated.team, &undated.worker, &undated.name];
        let (direction, place) =
            (direction(undated.direction), place(&undated.gateway, undated.lane.as_ref()));
        let line = Line::of("undated", &who.map(|text| text.to_string()))
            .with(8, format!("{direction} seq {} {place}", undated.seq))
            .with(17, remark(undated));
        write(match undated.minutes {
            Some(minutes) => line.with(10, hours(minutes)).with(11, minutes),
            None => line,
        })?;
    }
    for from in sources(document) {
        write(Line::of("source", &[]).with(17, from))?;
    }
    let Document { site, month, project, made_at, .. } = document;
    let title = format!("{site} ({project}) {month}，制表 made {made_at}");
    let notes = document.notes.iter().map(note);
    for note in [title, rules(document), legend()].into_iter().chain(notes) {
        write(Line::of("note", &[]).with(17, note))?;
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

fn separate_line(kind: &str, record: &ListedSeparately, remark: String) -> Line {
    let who = [&record.contractor, &record.team, &record.worker, &record.name]
        .map(|text| text.to_string());
    let passage = format!(
        "{} {} seq {} {}",
        record.at.minute(),
        direction(record.direction),
        record.seq,
        place(&record.gateway, record.lane.as_ref())
    );
    Line::of(kind, &who).with(5, record.date).with(8, passage).with(17, remark)
}

struct Line([String; HEADINGS.len()]);

impl Line {
    /// Returns a line with its kind, and with `who` in the columns after it.
    fn of(kind: &str, who: &[String]) -> Line {
        let mut line = Line(Default::default()).with(0, kind);
        for (n, text) in who.iter().enumerate() {
            line = line.with(n + 1, text);
        }
        line
    }

    fn with(mut self, column: usize, text: impl ToString) -> Line {
        if let Some(cell) = self.0.get_mut(column) {
            *cell = text.to_string();
        }
        self
    }

    fn sums(self, t: &Totals) -> Line {
        let with = t.with_supplements.map(|with| hours(with.minutes)).unwrap_or_default();
        self.with(9, t.days_present)
            .with(10, hours(t.minutes))
            .with(11, t.minutes)
            .with(12, t.missing_in)
            .with(13, t.missing_out)
            .with(15, t.supplements)
            .with(16, with)
            .apart(20, t.unconfirmed)
            .apart(23, t.disputed)
    }

    /// Writes a sum that stands beside the others into three columns.
    fn apart(self, first: usize, sum: Sum) -> Line {
        let (days, minutes) = (sum.days, sum.minutes);
        self.with(first, days).with(first + 1, hours(minutes)).with(first + 2, minutes)
    }

    /// Returns the cells. A cell that Excel would take for a formula becomes a text.
    fn cells(self) -> [String; HEADINGS.len()] {
        self.0.map(|cell| neutral(&cell))
    }
}
