//! The sheet as a workbook: a sheet to sign, the days in detail, and the records that are listed
//! separately.
//!
//! The first sheet prints on A4 landscape, one page wide. A worker has two rows. The first row has
//! the hours as numbers, so that Excel can add them. The second row has the marks.
//!
//! A program that prints a sheet one page wide chooses the scale by the columns' widths. These
//! widths count digits of the workbook's default font. So the page breaks depend on the width of a
//! digit, and the font must be on every machine: Verdana, or DejaVu Sans, whose digits are equally
//! wide.

mod cells;
mod lists;
mod looks;
mod pages;

use std::collections::BTreeMap;

use jiff::civil::{Date, Weekday};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, Worksheet, XlsxError};

use self::{
    cells::{lines, put, put_hours},
    lists::{details, listed_separately},
    looks::Looks,
    pages::{Pages, page},
};
use super::{Document, legend, marks, note, rules, sources};
use crate::attendance::timesheet::{Group, Row, Sum, Text, Totals};

/// The font by whose digits columns are measured, its size in points, and the default height of a
/// row and width of a column, in pixels of 1/96 inch.
const MEASURE: (&str, f64, u32, u32) = ("Verdana", 8.0, 15, 64);
/// Heights of rows, in points.
const TITLE: f64 = 28.0;
const LINE: f64 = 14.0;
const HEADING: f64 = 20.0;
const WORKER: (f64, f64) = (20.0, 15.0);
const SUM: f64 = 17.0;
/// Height of the legend, a blank row and the signatures.
const END: f64 = 3.0 * LINE + LINE + SUM;

/// Returns the bytes of the workbook.
pub fn xlsx(document: &Document) -> Result<Vec<u8>, XlsxError> {
    let mut workbook = Workbook::new();
    let (font, size, row_px, column_px) = MEASURE;
    let measure = Format::new().set_font_name(font).set_font_size(size);
    workbook.set_default_format(&measure, row_px, column_px)?;
    let made = ExcelDateTime::from_timestamp(document.made_at.at.as_second())?;
    let properties = DocProperties::new()
        .set_title(format!("{} {}", document.site, document.month))
        .set_author("Gatehouse")
        .set_creation_datetime(&made);
    workbook.set_properties(&properties);
    let looks = Looks::new();
    sheet(workbook.add_worksheet(), document, &looks)?;
    details(workbook.add_worksheet(), document, &looks)?;
    listed_separately(workbook.add_worksheet(), document, &looks)?;
    workbook.save_to_buffer()
}

/// Number of half-width characters that fit on a line over the whole width.
const WIDE: f64 = 205.0;

/// Writes a line over the whole width. Returns its height, which depends on the text.
fn line(
    sheet: &mut Worksheet,
    row: u32,
    last: u16,
    text: &str,
    look: &Format,
) -> Result<f64, XlsxError> {
    let height = LINE * lines(text, WIDE) as f64 + 1.0;
    sheet.merge_range(row, 0, row, last, text, look)?.set_row_height(row, height)?;
    Ok(height)
}

/// Positions of the columns of the first sheet.
struct Columns {
    days: BTreeMap<Date, u16>,
    /// First of the columns of [`SUMS`].
    sums: u16,
}

/// Headings and widths of a worker's columns before the days.
const WHO: [(&str, f64); 5] = [
    ("序号\nNo.", 4.0),
    ("姓名\nName", 9.0),
    ("工号\nID", 8.0),
    ("工种\nTrade", 8.0),
    ("证件号\n后四位\nID no.", 6.5),
];
const DAY: f64 = 4.0;
const SUMS: [(&str, f64); 8] = [
    ("出勤天数\nDays", 7.0),
    ("工时\nHours", 7.5),
    ("未确认\n天数\nDays", 6.0),
    ("未确认\n工时\nHours", 7.0),
    ("异议\n工时\nHours", 6.0),
    ("缺进/出\nMissing", 7.5),
    ("含补记\n+ added", 8.0),
    ("签名\nSignature", 13.0),
];

fn sheet(sheet: &mut Worksheet, document: &Document, looks: &Looks) -> Result<(), XlsxError> {
    let Document { site, project, month, made_at, .. } = document;
    let first = WHO.len() as u16;
    let days: BTreeMap<Date, u16> = document.dates.iter().copied().zip(first..).collect();
    let sums = first + u16::try_from(days.len()).unwrap_or_default();
    let widths = WHO.iter().chain(&SUMS).map(|(_, width)| *width);
    let widths = widths.chain(days.values().map(|_| DAY)).collect::<Vec<_>>();
    let (columns, last) = (Columns { days, sums }, sums + SUMS.len() as u16 - 1);
    let (year, number) = month.split_once('-').unwrap_or((month, ""));
    let number = number.trim_start_matches('0');
    let title = format!("{site} {year}年{number}月考勤表  Attendance sheet {month}");
    sheet.merge_range(0, 0, 0, last, &title, &looks.title)?.set_row_height(0, TITLE)?;
    let about = format!("项目 Project {project}　制表 Made {}", made_at.minute());
    let mut above = vec![(about, &looks.plain), (rules(document), &looks.plain)];
    above.extend(sources(document).map(|from| (from, &looks.plain)));
    above.extend(document.notes.iter().map(|said| match said.warns() {
        true => (note(said), &looks.red),
        false => (note(said), &looks.plain),
    }));
    let mut row = 1;
    let mut used = TITLE;
    for (text, look) in &above {
        used += line(sheet, row, last, text, look)?;
        row += 1;
    }
    page(sheet, "考勤表 Sheet", (row, row + 1))?;
    headings(sheet, row, &columns, looks)?;
    row += 2;
    let mut pages = Pages::of(widths.into_iter(), used, 2.0 * HEADING);
    let mut number = 0;
    let mut left = document.sheet.rows.len();
    for of_contractor in document.sheet.rows.chunk_by(|a, b| a.contractor == b.contractor) {
        for of_team in of_contractor.chunk_by(|a, b| a.team == b.team) {
            let Some(first) = of_team.first() else { continue };
            pages.put(row, SUM, WORKER.0 + WORKER.1);
            let name =
                format!("分包单位 Contractor: {}　班组 Team: {}", first.contractor, first.team);
            sheet.merge_range(row, 0, row, last, &name, &looks.group)?.set_row_height(row, SUM)?;
            row += 1;
            for (at, worker) in of_team.iter().enumerate() {
                number += 1;
                left -= 1;
                // A page has neither a team's last worker alone with the sum, nor a sum alone.
                let after = of_team.len() - at - 1;
                let ends = of_contractor.last().is_some_and(|last| last.team == first.team);
                let sums = SUM * if ends { 2.0 } else { 1.0 };
                let end = if left == after { SUM + END } else { 0.0 };
                let followed_by = match after {
                    0 => sums + end,
                    1 => WORKER.0 + WORKER.1 + sums + end,
                    _ => 0.0,
                };
                pages.put(row, WORKER.0 + WORKER.1, followed_by);
                of_worker(sheet, row, number, worker, &columns, looks)?;
                row += 2;
            }
            let sums = document.sheet.teams.iter().find(|group| {
                group.contractor == first.contractor && group.team.as_ref() == Some(&first.team)
            });
            pages.put(row, SUM, 0.0);
            row = summed(sheet, row, "班组小计 Team", sums, of_team, &columns, looks)?;
        }
        let contractor = of_contractor.first().map(|row| row.contractor.clone());
        let sums =
            document.sheet.contractors.iter().find(|g| Some(&g.contractor) == contractor.as_ref());
        pages.put(row, SUM, 0.0);
        row = summed(sheet, row, "单位合计 Contractor", sums, of_contractor, &columns, looks)?;
    }
    let all = Group {
        contractor: Text::from(""),
        team: None,
        workers: document.sheet.workers,
        totals: document.sheet.total,
    };
    pages.put(row, SUM, END);
    sheet.set_page_breaks(&pages.breaks)?;
    row = summed(sheet, row, "总计 Total", Some(&all), &document.sheet.rows, &columns, looks)?;
    line(sheet, row, last, &format!("标记 Marks: {}", legend()), &looks.plain)?;
    let signed = "制表人 Made by ________________　　　　复核 Checked by ________________　　　　\
                  负责人 Approved by ________________　　　　日期 Date ________________";
    sheet.set_row_height(row + 1, LINE)?.set_row_height(row + 2, SUM)?;
    sheet.merge_range(row + 2, 0, row + 2, last, signed, &looks.plain)?;
    Ok(())
}

fn headings(
    sheet: &mut Worksheet,
    row: u32,
    columns: &Columns,
    looks: &Looks,
) -> Result<(), XlsxError> {
    let named = (0..).zip(WHO).chain((columns.sums..).zip(SUMS));
    for (column, (name, width)) in named {
        sheet.merge_range(row, column, row + 1, column, name, &looks.heading)?;
        sheet.set_column_width(column, width)?;
    }
    for (date, column) in &columns.days {
        let (name, look) = match date.weekday() {
            Weekday::Monday => ("一", &looks.heading),
            Weekday::Tuesday => ("二", &looks.heading),
            Weekday::Wednesday => ("三", &looks.heading),
            Weekday::Thursday => ("四", &looks.heading),
            Weekday::Friday => ("五", &looks.heading),
            Weekday::Saturday => ("六", &looks.weekend),
            Weekday::Sunday => ("日", &looks.weekend),
        };
        sheet.write_number_with_format(row, *column, date.day(), look)?;
        put(sheet, row + 1, *column, name, look)?;
        sheet.set_column_width(*column, DAY)?;
    }
    sheet.set_row_height(row, HEADING)?.set_row_height(row + 1, HEADING)?;
    Ok(())
}

fn of_worker(
    sheet: &mut Worksheet,
    row: u32,
    number: u32,
    worker: &Row,
    columns: &Columns,
    looks: &Looks,
) -> Result<(), XlsxError> {
    let tall = |sheet: &mut Worksheet, column: u16, look: &Format| {
        sheet.merge_range(row, column, row + 1, column, "", look).map(drop)
    };
    tall(sheet, 0, &looks.cell)?;
    sheet.write_number_with_format(row, 0, number, &looks.cell)?;
    for (column, text) in [(1, &worker.name), (2, &worker.worker), (3, &worker.trade)] {
        tall(sheet, column, &looks.text)?;
        put(sheet, row, column, text, &looks.text)?;
    }
    tall(sheet, 4, &looks.cell)?;
    put(sheet, row, 4, worker.id_tail.as_deref().unwrap_or_default(), &looks.cell)?;
    for column in columns.days.values() {
        sheet.write_blank(row, *column, &looks.hours)?;
        sheet.write_blank(row + 1, *column, &looks.marks)?;
    }
    for day in &worker.days {
        let Some(column) = columns.days.get(&day.date) else { continue };
        if !day.stretches.is_empty() {
            put_hours(sheet, row, *column, day.minutes, &looks.hours)?;
        }
        if !day.flags.is_empty() {
            put(sheet, row + 1, *column, &marks(day), &looks.marks)?;
        }
    }
    for column in columns.sums..columns.sums + SUMS.len() as u16 {
        tall(sheet, column, &looks.cell)?;
    }
    totals(sheet, row, &worker.totals, columns, (&looks.cell, &looks.hours))?;
    sheet.set_row_height(row, WORKER.0)?.set_row_height(row + 1, WORKER.1)?;
    Ok(())
}

fn totals(
    sheet: &mut Worksheet,
    row: u32,
    totals: &Totals,
    columns: &Columns,
    (look, hours): (&Format, &Format),
) -> Result<(), XlsxError> {
    let at = columns.sums;
    sheet.write_number_with_format(row, at, totals.days_present, look)?;
    put_hours(sheet, row, at + 1, totals.minutes, hours)?;
    if totals.unconfirmed != Sum::default() {
        sheet.write_number_with_format(row, at + 2, totals.unconfirmed.days, look)?;
        put_hours(sheet, row, at + 3, totals.unconfirmed.minutes, hours)?;
    }
    if totals.disputed != Sum::default() {
        put_hours(sheet, row, at + 4, totals.disputed.minutes, hours)?;
    }
    if totals.missing_in + totals.missing_out > 0 {
        let missing = format!("{}/{}", totals.missing_in, totals.missing_out);
        put(sheet, row, at + 5, &missing, look)?;
    }
    if let Some(with) = totals.with_supplements {
        put_hours(sheet, row, at + 6, with.minutes, hours)?;
    }
    Ok(())
}

/// Writes a row of sums: the number of workers with a confirmed passage on each day, and the totals.
fn summed(
    sheet: &mut Worksheet,
    row: u32,
    what: &str,
    group: Option<&Group>,
    rows: &[Row],
    columns: &Columns,
    looks: &Looks,
) -> Result<u32, XlsxError> {
    let Some(group) = group else { return Ok(row) };
    let name = format!("{what} ({} 人)", group.workers);
    sheet.merge_range(row, 0, row, WHO.len() as u16 - 1, &name, &looks.sum_text)?;
    let mut present: BTreeMap<Date, u32> = BTreeMap::new();
    for day in rows.iter().flat_map(|row| &row.days).filter(|day| day.confirmed) {
        *present.entry(day.date).or_default() += 1;
    }
    for (date, column) in &columns.days {
        match present.get(date) {
            Some(count) => sheet.write_number_with_format(row, *column, *count, &looks.sum)?,
            None => sheet.write_blank(row, *column, &looks.sum)?,
        };
    }
    for column in columns.sums..columns.sums + SUMS.len() as u16 {
        sheet.write_blank(row, column, &looks.sum)?;
    }
    totals(sheet, row, &group.totals, columns, (&looks.sum, &looks.sum_hours))?;
    sheet.set_row_height(row, SUM)?;
    Ok(row + 1)
}
