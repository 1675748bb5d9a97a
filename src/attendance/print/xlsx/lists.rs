//! The further sheets of the workbook: the days in detail, and the records that are listed
//! separately.

use rust_xlsxwriter::{Worksheet, XlsxError};

use super::{
    cells::{half_widths, lines, put, put_hours},
    looks::Looks,
    pages::page,
};
use crate::attendance::{
    print::{Document, direction, each_stretch, hours, marks, on, place, remark, showed},
    timesheet::{ListedSeparately, WithoutDate},
};

/// Height of a line of a list, and the maximum height of a row in Excel, in points.
const LIST_LINE: f64 = 13.5;
const ROW_MAX: f64 = 409.0;

/// Sets up a sheet with a list: its page, headings and column widths.
fn list(
    sheet: &mut Worksheet,
    name: &str,
    headings: &[(&str, f64)],
    looks: &Looks,
) -> Result<(), XlsxError> {
    page(sheet, name, (0, 0))?;
    for (column, (heading, width)) in (0..).zip(headings) {
        put(sheet, 0, column, heading, &looks.heading)?;
        sheet.set_column_width(column, *width)?;
    }
    sheet.set_row_height(0, 30).map(drop)
}

/// Width of the column of passages. Two pairs of a night shift fit on a line.
const PASSAGES: f64 = 36.0;
const REASON: f64 = 34.0;

/// Sets the height of a row by its number of lines.
fn high(sheet: &mut Worksheet, row: u32, lines: usize) -> Result<(), XlsxError> {
    let height = (LIST_LINE * lines as f64 + 3.0).min(ROW_MAX);
    sheet.set_row_height(row, height).map(drop)
}

pub(super) fn details(
    sheet: &mut Worksheet,
    document: &Document,
    looks: &Looks,
) -> Result<(), XlsxError> {
    let headings = [
        ("分包单位\nContractor", 22.0),
        ("班组\nTeam", 14.0),
        ("工号\nID", 10.0),
        ("姓名\nName", 12.0),
        ("日期\nDate", 11.0),
        ("首次进场\nFirst in", 9.0),
        ("末次出场\nLast out", 9.0),
        ("进出记录\nPassages", PASSAGES),
        ("工时\nHours", 8.0),
        ("未确认\nUnconf.", 8.0),
        ("异议\nDisputed", 8.0),
        ("含补记\nWith added", 9.0),
        ("标记\nFlags", 8.0),
    ];
    list(sheet, "明细 Details", &headings, looks)?;
    let days =
        document.sheet.rows.iter().flat_map(|row| row.days.iter().map(move |day| (row, day)));
    for (at, (row, day)) in (1..).zip(days) {
        let texts = [&row.contractor, &row.team, &row.worker, &row.name];
        for (column, text) in (0..).zip(texts) {
            put(sheet, at, column, text, &looks.text)?;
        }
        put(sheet, at, 4, &day.date.to_string(), &looks.cell)?;
        put(sheet, at, 5, &on(day.first_in, day.date), &looks.cell)?;
        put(sheet, at, 6, &on(day.last_out, day.date), &looks.cell)?;
        let passages = each_stretch(day);
        let passages: Vec<String> = passages.chunks(2).map(|two| two.join(", ")).collect();
        put(sheet, at, 7, &passages.join(",\n"), &looks.wrapped)?;
        high(sheet, at, passages.len().max(1))?;
        put_hours(sheet, at, 8, day.minutes, &looks.hours)?;
        let shown = |minutes: u64| Some(minutes).filter(|minutes| *minutes > 0);
        let (unconfirmed, disputed) = (shown(day.minutes_unconfirmed), shown(day.minutes_disputed));
        let apart = [(9, unconfirmed), (10, disputed), (11, day.minutes_with_supplements)];
        for (column, minutes) in apart {
            match minutes {
                Some(minutes) => put_hours(sheet, at, column, minutes, &looks.hours)?,
                None => drop(sheet.write_blank(at, column, &looks.cell)?),
            }
        }
        put(sheet, at, 12, &marks(day), &looks.marks)?;
    }
    Ok(())
}

pub(super) fn listed_separately(
    sheet: &mut Worksheet,
    document: &Document,
    looks: &Looks,
) -> Result<(), XlsxError> {
    let headings = [
        ("种类\nKind", 13.0),
        ("分包单位\nContractor", 20.0),
        ("班组\nTeam", 13.0),
        ("工号\nID", 10.0),
        ("姓名\nName", 12.0),
        ("时间\nTime", 15.0),
        ("方向\nDirection", 9.0),
        ("闸机/通道\nGateway / lane", 16.0),
        ("序号\nseq", 8.0),
        ("补记人\nAdded by", 11.0),
        ("补记时间\nAdded on", 15.0),
        ("事由 Reason; 异议 disputed by", REASON),
    ];
    list(sheet, "补记与异议 Apart", &headings, looks)?;
    let added = document.sheet.supplements.iter().map(|record| ("补记 added", record));
    let disputed = document.sheet.disputed.iter().map(|record| ("异议 disputed", record));
    let corrected = document.sheet.corrected.iter().map(|record| ("更正 corrected", record));
    let mut next = 1;
    for (at, (kind, record)) in (1..).zip(added.chain(disputed).chain(corrected)) {
        next = at + 1;
        let ListedSeparately { contractor, team, worker, name, gateway, lane, .. } = record;
        put(sheet, at, 0, kind, &looks.text)?;
        for (column, text) in (1..).zip([contractor, team, worker, name]) {
            put(sheet, at, column, text, &looks.text)?;
        }
        put(sheet, at, 5, &record.at.minute(), &looks.cell)?;
        put(sheet, at, 6, direction(record.direction), &looks.cell)?;
        put(sheet, at, 7, &place(gateway, lane.as_ref()), &looks.text)?;
        sheet.write_number_with_format(at, 8, record.seq as f64, &looks.cell)?;
        put(sheet, at, 9, record.by.as_deref().unwrap_or_default(), &looks.text)?;
        let recorded = record.by.as_ref().map(|_| record.recorded_at.minute()).unwrap_or_default();
        put(sheet, at, 10, &recorded, &looks.cell)?;
        let by = record.disputed_by().map(|by| format!("异议 disputed by {by}"));
        let showed = record.clock_showed.map(showed);
        let reason = record.reason.iter().map(|reason| reason.to_string()).chain(by).chain(showed);
        let reason = reason.collect::<Vec<_>>().join("; ");
        put(sheet, at, 11, &reason, &looks.wrapped)?;
        high(sheet, at, lines(&reason, half_widths(REASON)))?;
    }
    for (at, record) in (next..).zip(&document.sheet.undated) {
        let WithoutDate { contractor, team, worker, name, gateway, lane, .. } = record;
        put(sheet, at, 0, "无日期 undated", &looks.text)?;
        for (column, text) in (1..).zip([contractor, team, worker, name]) {
            put(sheet, at, column, text, &looks.text)?;
        }
        put(sheet, at, 5, "?", &looks.cell)?;
        put(sheet, at, 6, direction(record.direction), &looks.cell)?;
        put(sheet, at, 7, &place(gateway, lane.as_ref()), &looks.text)?;
        sheet.write_number_with_format(at, 8, record.seq as f64, &looks.cell)?;
        put(sheet, at, 9, "", &looks.text)?;
        let hours = record.minutes.map(|minutes| format!("{} h", hours(minutes)));
        put(sheet, at, 10, &hours.unwrap_or_default(), &looks.cell)?;
        let known = remark(record);
        put(sheet, at, 11, &known, &looks.wrapped)?;
        high(sheet, at, lines(&known, half_widths(REASON)))?;
    }
    Ok(())
}
