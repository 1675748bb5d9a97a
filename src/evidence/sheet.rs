//! The sheet of a package, for paper: HTML for A4, in Chinese, in one file.
//!
//! In: what a package proves. Out: a page with the worker's days, the signed head, and a QR code with
//! the digest and the signature of the package's file. So the paper says to which file it belongs.
//! The ID number is masked.

use std::fmt::Write as _;

use jiff::{
    Timestamp,
    civil::{Date, Time, Weekday},
    tz::TimeZone,
};
use qrcode::{EcLevel, QrCode, render::svg};

use super::Report;
use crate::{
    attendance::{
        export::Trust,
        merge::Gathered,
        print::{hours, marks, stretches},
        timesheet::{
            At, Day, Days, Flag, ListedSeparately, Row, SheetFilter, Timesheet, timesheet,
        },
    },
    config::Direction,
    roster::starred,
};

/// The first word of the QR code's text, and the version of its form.
const CODE: &str = "GATEHOUSE-EVIDENCE 1";

/// Why there is no sheet.
#[derive(Debug, thiserror::Error)]
pub enum NoSheet {
    #[error("a day of the package is not in the calendar: {0}")]
    Days(#[from] jiff::Error),
    #[error("a record of the package: {0}")]
    Record(String),
    #[error("the QR code: {0}")]
    Code(#[from] qrcode::types::QrError),
}

/// Returns the text of the QR code: the digest and the signature, in capital hexadecimal digits, of
/// which a code has room for more.
pub fn code(report: &Report) -> String {
    format!("{CODE} {} {}", report.sha256, report.signature).to_uppercase()
}

/// Returns the sheet. `file` is the name of the package's file, and `day_starts_at` the start of the
/// site's working day.
pub fn sheet(report: &Report, file: &str, day_starts_at: Time) -> Result<String, NoSheet> {
    let zone = TimeZone::get(&report.timezone).unwrap_or(TimeZone::UTC);
    let (from, until): (Date, Date) = (report.from.parse()?, report.until.parse()?);
    // A passage of the first night belongs to the working day before.
    let days = Days::new(from.yesterday()?, until, zone.clone(), day_starts_at)?;
    let begin = from.yesterday()?.to_datetime(day_starts_at).to_zoned(zone)?.timestamp();
    let mut gathered = Gathered::new(&days, Trust::default());
    let mut elsewhere = 0;
    for record in &report.attendance {
        gathered.take(record).map_err(NoSheet::Record)?;
        let at: Timestamp = record.at.parse()?;
        elsewhere += u32::from(at < begin || at >= days.end());
    }
    let table = timesheet(gathered.passes, &days, &SheetFilter::default());
    let code = QrCode::with_error_correction_level(code(report), EcLevel::M)?;
    let code = code.render::<svg::Color<'_>>().min_dimensions(228, 228).build();
    // The XML declaration has no place within HTML.
    let code = code.split_once("?>").map_or(code.as_str(), |(_, code)| code);
    let starts = day_starts_at.strftime("%H:%M");
    Ok([
        HEAD.to_owned(),
        worker(report, &table),
        rows(&table),
        outside(elsewhere),
        listed(&table),
        proof(report, file, code),
        format!(
            "<ol class=notes><li>二维码内是证据文件 {} 的 SHA-256 摘要与闸机的签名。核验：<code>gatehouse \
             evidence verify {}</code>，所显示的摘要须与本单相同。<li>请将公钥指纹与另行取得的指纹（平台、\
             工会、本人签过的月度考勤表）核对；未经核对，不能确定签名出自本闸机。<li>本单表明：所列记录在签名\
             时原样存于账本。本单不表明：记录没有遗漏，或闸机识别无误。最后一次向外发出的账本签名之后的内容，\
             掌握设备的人仍可能改写。<li>时刻为闸机当时所记；工时为时:分，按进出场时刻（到分）相减；工作日自 {starts} \
             起至次日 {starts}。期间首尾的夜班可能缺一端，标为“入”或“出”。</ol>\
             <p class=sign><span>工人签名</span><span>用人单位签章</span><span>日期</span></p>\n",
            escaped(file),
            escaped(file),
        ),
    ]
    .concat())
}

const HEAD: &str = "<!doctype html>
<html lang=\"zh-CN\"><meta charset=\"utf-8\"><title>考勤证据单</title>
<style>
@page { size: A4; margin: 10mm 13mm }
* { box-sizing: border-box }
body { font: 9.5pt/1.35 \"Noto Sans CJK SC\", \"Source Han Sans SC\", \"Microsoft YaHei\", \"WenQuanYi Zen Hei\",
  sans-serif; color: #000; margin: 0 auto; max-width: 184mm }
h1 { font-size: 16pt; line-height: 1.2; text-align: center; margin: 0 0 2mm; letter-spacing: .3em }
table { width: 100%; border-collapse: collapse; margin: 0 0 2mm }
th, td { border: .3mm solid #555; padding: .25mm 1.2mm; text-align: center }
th { background: #eee; font-weight: bold }
thead { display: table-header-group }
tr { break-inside: avoid }
.who th { width: 20mm }
.who td { text-align: left; width: 72mm }
.days { font-size: 8.5pt; line-height: 1.15 }
.days td.long { text-align: left }
.days tfoot { display: table-row-group; font-weight: bold }
.proof { display: flex; gap: 4mm; break-inside: avoid; align-items: center; border: .3mm solid #555;
  padding: 0 1mm; margin-bottom: 1.5mm }
.proof svg { width: 37mm; height: 37mm; flex: none }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .5mm 2.5mm; margin: 0; font-size: 8.5pt }
dt { font-weight: bold }
dd { margin: 0; overflow-wrap: anywhere }
code, .hex { font-family: \"DejaVu Sans Mono\", \"Liberation Mono\", Consolas, monospace; font-size: 7.6pt }
.notes { font-size: 7.5pt; line-height: 1.25; margin: 0; padding-left: 5mm; break-inside: avoid }
.legend { font-size: 7.5pt; margin: -1.2mm 0 1.5mm }
.sign { display: flex; gap: 6mm; margin: 2mm 0 0; break-inside: avoid }
.sign span { flex: 1; border-bottom: .3mm solid #000; height: 7mm; line-height: 7mm }
</style>
<h1>考勤证据单</h1>
";

/// Returns a text for HTML. Texts that people typed stand in the sheet.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

fn worker(report: &Report, table: &Timesheet) -> String {
    let each = |part: fn(&Row) -> &str| {
        let mut parts: Vec<&str> = table.rows.iter().map(part).collect();
        parts.dedup();
        if parts.is_empty() { "—".to_owned() } else { escaped(&parts.join("、")) }
    };
    let id_type = match report.id_type.as_deref() {
        Some("resident") => "居民身份证",
        Some("passport") => "护照",
        Some("hk_macao_permit") => "港澳居民来往内地通行证",
        Some("taiwan_permit") => "台湾居民来往大陆通行证",
        _ => "未附",
    };
    let number = report.id_number.as_deref().map(starred).unwrap_or_default();
    let period = format!("{} 至 {}", report.from, report.until);
    let pairs = [
        [
            ("姓名", escaped(report.name.as_deref().unwrap_or("—"))),
            ("工号", escaped(&report.worker)),
        ],
        [("证件", format!("{id_type} {}", escaped(&number))), ("期间", escaped(&period))],
        [("分包单位", each(|row| &row.contractor)), ("班组", each(|row| &row.team))],
        [("项目", escaped(&report.project)), ("闸机", escaped(&report.gateway))],
    ];
    let mut out = "<table class=who>\n".to_owned();
    for [(a, is_a), (b, is_b)] in pairs {
        // Writing into a String cannot fail.
        let _ = writeln!(out, "<tr><th>{a}<td>{is_a}<th>{b}<td>{is_b}");
    }
    out + "</table>\n"
}

fn weekday(date: Date) -> &'static str {
    match date.weekday() {
        Weekday::Monday => "一",
        Weekday::Tuesday => "二",
        Weekday::Wednesday => "三",
        Weekday::Thursday => "四",
        Weekday::Friday => "五",
        Weekday::Saturday => "六",
        Weekday::Sunday => "日",
    }
}

/// Returns minutes as hours. A zero is left out.
fn some(minutes: u64) -> String {
    if minutes > 0 { hours(minutes) } else { String::new() }
}

fn rows(table: &Timesheet) -> String {
    let mut days: Vec<&Day> = table.rows.iter().flat_map(|row| &row.days).collect();
    days.sort_by_key(|day| day.date);
    let mut out =
        "<table class=days><thead><tr><th>日期<th>星期<th>首次进场<th>末次出场<th>进出记录\
                   <th>工时<th>未确认工时<th>标记</thead>\n"
            .to_owned();
    for day in &days {
        let at = |at: Option<At>| at.map(|at| at.on(day.date)).unwrap_or_default();
        let _ = writeln!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{}<td class=long>{}<td>{}<td>{}<td>{}",
            day.date,
            weekday(day.date),
            at(day.first_in),
            at(day.last_out),
            stretches(day),
            if day.stretches.is_empty() { String::new() } else { hours(day.minutes) },
            some(day.minutes_unconfirmed),
            marks(day),
        );
    }
    let total = &table.total;
    let missing = match total.missing_in + total.missing_out {
        0 => String::new(),
        _ => format!("；缺进场 {} 次，缺出场 {} 次", total.missing_in, total.missing_out),
    };
    let with = total.with_supplements.map(|with| format!("；含补记 {}", hours(with.minutes)));
    let unconfirmed = match total.unconfirmed.days {
        0 => String::new(),
        days => format!("，另有未确认 {days} 天"),
    };
    let disputed = match (total.disputed.days, total.disputed.minutes) {
        (0, 0) => String::new(),
        (days, minutes) => format!("；有异议 {days} 天、{} 工时另计", hours(minutes)),
    };
    let _ = writeln!(
        out,
        "<tfoot><tr><td colspan=5 class=long>合计：出勤 {} 天{unconfirmed}{disputed}{missing}{}<td>{}<td>{}<td></tfoot></table>",
        total.days_present,
        with.unwrap_or_default(),
        hours(total.minutes),
        some(total.unconfirmed.minutes),
    );
    let used = Flag::ALL.into_iter().filter(|flag| days.iter().any(|day| day.flags.contains(flag)));
    let used = used.map(|flag| format!("{} {}", flag.sign(), flag.chinese()));
    let mut notes = used.collect::<Vec<_>>();
    notes.extend(table.notes().map(|note| note.chinese()));
    if !notes.is_empty() {
        let _ = writeln!(out, "<p class=legend>标记：{}</p>", escaped(&notes.join("；")));
    }
    out
}

/// Returns a line about records whose recorded time is not of these days: the clock was wrong.
fn outside(records: u32) -> String {
    match records {
        0 => String::new(),
        _ => format!(
            "<p class=legend>另有 {records} 条记录，其原记时刻不在本期间（当时时钟有误），未列于上表，见证据文件。</p>\n"
        ),
    }
}

/// Returns the passages that were added later or are disputed.
fn listed(table: &Timesheet) -> String {
    let added = table.supplements.iter().map(|one| ("补记", one));
    let all: Vec<_> = added.chain(table.disputed.iter().map(|one| ("异议", one))).collect();
    if all.is_empty() {
        return String::new();
    }
    let mut out =
        "<table class=days><thead><tr><th>另列<th>时间<th>方向<th>序号<th>补记人<th>事由</thead>\n"
            .to_owned();
    for (kind, one) in all {
        let ListedSeparately { at, direction, seq, by, reason, .. } = one;
        let direction = if *direction == Direction::Entry { "进场" } else { "出场" };
        let disputed = one.disputed_by().map(|by| format!("异议（工时另计）{by}"));
        let why = reason.as_deref().map(str::to_owned).into_iter().chain(disputed);
        let _ = writeln!(
            out,
            "<tr><td>{kind}<td>{}<td>{direction}<td>{seq}<td>{}<td class=long>{}",
            at.minute(),
            escaped(by.as_deref().unwrap_or_default()),
            escaped(&why.collect::<Vec<_>>().join("；")),
        );
    }
    out + "</table>\n"
}

fn proof(report: &Report, file: &str, code: &str) -> String {
    let Report { ledger, tree_size, root, fingerprint, sha256, .. } = report;
    let clock = if report.synced { "" } else { "（时钟未同步）" };
    format!(
        "<div class=proof>{code}<dl>\
         <dt>证据文件<dd>{}（{} 条账本记录）\
         <dt>文件摘要<dd class=hex>{sha256}\
         <dt>公钥指纹<dd class=hex>{fingerprint}\
         <dt>账本<dd class=hex>{ledger}\
         <dt>账本条数<dd>{tree_size}\
         <dt>账本根值<dd class=hex>{root}\
         <dt>签名时间<dd>{}{clock}\
         </dl></div>\n",
        escaped(file),
        report.entries,
        escaped(&report.signed_at),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_texts_are_no_html() {
        assert_eq!(escaped("<b a=\"x\">&"), "&lt;b a=&quot;x&quot;&gt;&amp;");
    }
}
