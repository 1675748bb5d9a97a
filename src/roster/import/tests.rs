use std::{
    ffi::OsStr,
    io::{Cursor, Write as _},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use jiff::civil::date;
use proptest::prelude::*;
use rust_xlsxwriter::{ExcelDateTime, Format, Workbook};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{
    headings::{Field, every_spelling},
    *,
};
use crate::roster::{Gender, IdType, checked_text, identity::tests::with_check};

mod workbooks;

const HEAD: &str = "id,name,id number,team,contractor,trade";

/// Returns a row with all required cells.
fn line(id: &str, name: &str, number: &str) -> String {
    format!("{id},{name},{number},T,C,x")
}

fn number(sequence: u32) -> String {
    with_check(&format!("52220119900307{sequence:03}"))
}

fn taken(file: &RosterFile) -> Vec<&Candidate> {
    file.rows.iter().map(|row| row.candidate.as_ref().unwrap_or_else(|e| panic!("{e}"))).collect()
}

fn wrong(row: &Row) -> &str {
    row.candidate.as_ref().err().map_or("", String::as_str)
}

fn refused(bytes: &[u8]) -> String {
    read(bytes).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn a_typical_chinese_sheet_is_read_in_full() {
    let text = format!(
        "福鼎项目实名制花名册\n\n序号,*工号,姓 名（必填）,证件类型,身份证号码(18位),性别,出生日期,班组,参建单位,\
         工种,手机号,进场日期,有效期（止）,同意书编号,同意书日期,合同签订日期,安全教育日期,工资卡尾号\n\
         1,W001,\"刘\u{3402}峰\",身份证,'{number},男,1990年3月7日,钢筋一班,\"甲, \"\"乙\"\" 公司\",\
         钢筋工,138 0000 1111,2026/10/1,20270930,C-1,2026.9.30,2026-09-30,2026-10-01 00:00:00,0123\n\
         ,,,,,,,,,,,,,,,,,\n\
         2,W002,Jacinda,护照,\u{a0}ｅ１２３４５６７８\u{3000},女,,木工班,丙公司,木工,,,,,,,,\n",
        number = number(441)
    );
    let gb = encoding_rs::GB18030.encode(&text).0.into_owned();
    let marked = format!("\u{feff}{text}").into_bytes();
    let crlf = text.replace('\n', "\r\n").into_bytes();
    let cr = text.replace('\n', "\r").into_bytes();
    for bytes in [text.clone().into_bytes(), marked, gb, crlf, cr] {
        let file = read(&bytes).unwrap();
        assert_eq!(file.ignored, ["序号"]);
        let [first, second] = taken(&file)[..] else { panic!("{file:?}") };
        assert_eq!(file.rows.iter().map(|r| r.number).collect::<Vec<_>>(), [4, 6]);
        assert_eq!((first.person.id.as_str(), &*first.person.name), ("W001", "刘㐂峰"));
        assert_eq!(first.person.contractor, "甲, \"乙\" 公司");
        assert_eq!((first.id_type, &**first.id_number), (IdType::Resident, &*number(441)));
        let particulars = &first.particulars;
        assert_eq!(particulars.gender, Some(Gender::Male));
        assert_eq!(particulars.birth_date, Some(date(1990, 3, 7)));
        assert_eq!(particulars.phone.as_deref(), Some("138 0000 1111"));
        assert_eq!(particulars.bank_tail.as_deref(), Some("0123"));
        let terms = &first.terms;
        assert_eq!(terms.valid_from, Some(date(2026, 10, 1)));
        assert_eq!(terms.valid_until, Some(date(2027, 9, 30)));
        assert_eq!(terms.consent.as_deref(), Some("C-1"));
        assert_eq!(terms.consent_on, Some(date(2026, 9, 30)));
        assert_eq!(terms.contract_signed, Some(date(2026, 9, 30)));
        assert_eq!(terms.trained_on, Some(date(2026, 10, 1)));
        assert_eq!((second.id_type, &**second.id_number), (IdType::Passport, "ｅ１２３４５６７８"));
        assert_eq!(second.terms, crate::roster::Terms::default());
    }
}

#[test]
fn every_spelling_of_a_heading_names_exactly_one_field() {
    // Each of the 18 fields has two spellings that messages show.
    assert_eq!(headings::every_field(), 19);
    for (field, spelling) in every_spelling() {
        let fields: Vec<Field> =
            every_spelling().filter(|(_, s)| *s == spelling).map(|(f, _)| f).collect();
        assert_eq!(fields, [field], "{spelling}");
        // A spelling that is not folded could never match.
        let folded: String = folded(spelling).chars().filter(|c| c.is_alphanumeric()).collect();
        assert_eq!(folded, spelling);
        let wide = spelling.to_uppercase().replace('I', "Ｉ");
        for written in [format!("* {wide} （必填）"), format!("【{spelling}】:")] {
            let columns =
                HEAD.split(',').map(|h| if Field::named(h) == Some(field) { "x" } else { h });
            let head = columns.chain([written.as_str()]).collect::<Vec<_>>().join(",");
            assert!(read(head.as_bytes()).unwrap().ignored.len() <= 1, "{head}");
        }
    }
}

#[test]
fn missing_headings_are_named_with_their_spellings() {
    let said = refused("工号,姓名,工种\nW1,刘峰,x\n".as_bytes());
    for expected in
        ["id-number (身份证号", "team (班组", "contractor (劳务公司", "missing in line 1"]
    {
        assert!(said.contains(expected), "{said}");
    }
    assert!(!said.contains("trade ("), "{said}");
    assert!(refused(b"a,b,c\n1,2,3\n").contains("none of the first 10 lines"));
    assert!(refused(b"").contains("none of the first 10 lines"));
    let said = refused("工号,编号,姓名,身份证号,班组,劳务公司,工种\n".as_bytes());
    assert!(said.contains("2 columns are the id: 工号, 编号"), "{said}");
}

#[test]
fn a_file_in_two_encodings_is_refused_with_the_line() {
    let gb = |text: &str| encoding_rs::GB18030.encode(text).0.into_owned();
    let utf8 = |text: &str| text.as_bytes().to_vec();
    let names = ["刘峰", "王小明", "𠮷野家", "㐂"];
    let file = |of: fn(usize) -> bool, marked: bool| {
        let mut bytes = if marked { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
        bytes.extend(format!("{HEAD}\n").bytes());
        for (at, name) in names.iter().enumerate() {
            let row = format!("W{at},{name},E1234567{at},钢筋一班,丙公司,木工\n");
            bytes.extend(if of(at) { gb(&row) } else { utf8(&row) });
        }
        read(&bytes).map(|file| file.rows.into_iter().map(|r| r.name).collect::<Vec<_>>())
    };
    assert_eq!(file(|_| true, false).unwrap(), names);
    assert_eq!(file(|_| false, false).unwrap(), names);
    assert_eq!(file(|_| false, true).unwrap(), names);
    for (mixed, marked, line) in [
        ((|at| at == 2) as fn(usize) -> bool, false, 4),
        (|at| at == 2, true, 4),
        (|at| at == 0, true, 2),
        (|at| at != 3, false, 5),
        (|at| at != 1, false, 3),
        (|at| at == 0, false, 3),
    ] {
        let said = file(mixed, marked).unwrap_err().to_string();
        assert!(said.starts_with(&format!("line {line}: mixed encodings")), "{said}");
        assert!(said.contains("UTF-8"), "{said}");
    }
    // The line is in neither encoding.
    let neither = [format!("{HEAD}\nW1,").as_bytes(), b"\xff\xff\n"].concat();
    assert!(refused(&neither).starts_with("line 2: mixed encodings"));
}

#[test]
fn a_file_that_is_no_roster_is_refused_with_a_remedy() {
    for (bytes, expected) in [
        (&b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"[..], "old kind (.xls)"),
        (b"\xff\xfei\0d\0", "UTF-16"),
        (b"%PDF-1.7", "neither a CSV"),
        (b"\x89PNG\r\n\x1a\n\0\0", "neither a CSV"),
        (b"PK\x03\x04 and no more", "damaged"),
    ] {
        let said = refused(bytes);
        assert!(said.contains(expected), "{said}");
    }
    let open =
        format!("{HEAD}\n{}\nW2,\"刘,{}\n", line("W1", "x", "E12345678"), "x,x,x,x\n".repeat(9));
    assert!(refused(open.as_bytes()).starts_with("line 3: a quote that is opened"));
}

#[test]
fn the_separator_is_detected_by_the_headings() {
    for separator in [",", ";", "\t"] {
        let text = format!("花名册, 2026;10\n{HEAD}\n{}\n", line("W1", "刘峰", "E12345678"));
        let file = read(text.replace(',', separator).as_bytes()).unwrap();
        assert_eq!(taken(&file)[0].person.name, "刘峰");
    }
}

#[test]
fn all_faults_of_a_row_are_reported_at_once_and_only_that_row_is_refused() {
    let head = format!("{HEAD},valid from,gender,id type,note");
    let good = number(1);
    let rows = [
        line("W1", "a", &good) + ",2026-13-45,x,driving licence",
        format!(",,{},T,,x", number(2)),
        line("W 3", "c", &number(3)),
        line("W4", "=cmd|' /C calc'!A0", &number(4)),
        line("W5", "d", &good),
        line("W1", "e", &number(5)),
        line(&number(6), "f", &number(6)),
        line("W8", "g", &number(8)) + ",,,,a,b",
        line("W9", &"长".repeat(600), &number(9)),
    ];
    let file = read(format!("{head}\n{}\n", rows.join("\n")).as_bytes()).unwrap();
    for (row, expected) in file.rows.iter().zip([
        // This row, and the rows with the same number or id, may each be the wrong one.
        &[
            "valid from: \"2026-13-45\" is no date",
            "gender: \"x\"",
            "id type: \"driving licence\"",
            "id number: is also in row 6",
            "id: is also in row 7",
        ] as &[&str],
        &["id: is missing", "name: is missing", "contractor: is missing"],
        &["id: \"W 3\" must be 1 to 32"],
        &["name: is a formula"],
        &["id number: is also in row 2"],
        &["id: is also in row 2"],
        &["id: is the ID number"],
        &["it has 11 cells below 10 headings"],
        &["name: must have at most"],
    ]) {
        for expected in expected {
            assert!(wrong(row).contains(expected), "{}", wrong(row));
        }
    }
    assert_eq!(file.rows.len(), 9);
    // Excel writes digits as text in this form.
    let text = format!("{HEAD}\nW1,x,\"=\"\"{good}\"\"\",T,C,x\n");
    assert_eq!(**taken(&read(text.as_bytes()).unwrap())[0].id_number, *good);
}

#[test]
fn id_numbers_that_a_spreadsheet_cut_refuse_the_whole_file() {
    let file = |cut: usize, right: usize| {
        let cut = (0..cut).map(|n| format!("11010119{:02}010{}0000", 50 + n / 9, 1 + n % 9));
        let right = (1..=999).map(number).filter(|id| !id.ends_with("000")).take(right);
        let rows = cut.chain(right).enumerate().map(|(n, id)| line(&format!("W{n}"), "x", &id));
        let text = format!("{HEAD}\n{}\n", rows.collect::<Vec<_>>().join("\n"));
        read(text.as_bytes()).map(|_| ()).map_err(|e| e.to_string()).err().unwrap_or_default()
    };
    for (cut, right) in [(43, 0), (2, 0), (3, 0), (3, 100), (20, 900)] {
        let said = file(cut, right);
        assert!(
            said.contains(&format!("{cut} of {} ID numbers end in 000", cut + right)),
            "{said}"
        );
        assert!(said.contains("kept 15 digits") && said.contains("original list"), "{said}");
    }
    for (cut, right) in [(1, 0), (1, 1), (2, 10), (3, 400), (0, 300)] {
        assert_eq!(file(cut, right), "", "{cut} {right}");
    }
}

#[test]
fn a_reason_names_the_heading_of_the_file_and_no_option() {
    let head = "* 人员编号,姓 名（必填）,身份证号码(18位),所属班组,参建单位,工种,证件种类,手机,出生年月日,进场时间";
    let rows = [
        ",,,,,,driving licence,,x,y",
        &format!("W 1,甲,{},钢筋一班,丙,木工,,,,", number(1)),
        &format!("W2,=1+1,{},钢筋一班,丙,木工,,,,", number(2)),
        &format!("W3,丙,{},,丙,木工,,,,", number(3)),
        &format!("W4,丁,{},钢筋一班,丙,木工,,,,", number(3)),
    ];
    let file = read(format!("{head}\n{}\n", rows.join("\n")).as_bytes()).unwrap();
    for (row, expected) in file.rows.iter().zip([
        &[
            "* 人员编号: is missing",
            "姓 名（必填）: is missing",
            "身份证号码(18位): is missing",
            "所属班组: is missing",
            "参建单位: is missing",
            "工种: is missing",
            "证件种类: \"driving licence\" is none of",
            "出生年月日: \"x\" is no date",
            "进场时间: \"y\" is no date",
        ] as &[&str],
        &["* 人员编号: \"W 1\" must be 1 to 32"],
        &["姓 名（必填）: is a formula"],
        &["所属班组: is missing", "身份证号码(18位): is also in row 6"],
        &["身份证号码(18位): is also in row 5"],
    ]) {
        let reasons: Vec<&str> = wrong(row).split("; ").collect();
        for expected in expected {
            assert!(reasons.iter().any(|r| r.starts_with(expected)), "{expected}: {reasons:?}");
        }
    }
    // A refusal of the daemon has the daemon's label; the file has another heading for it.
    for (label, heading) in [
        ("id-number", "身份证号码(18位)"),
        ("phone", "手机"),
        ("birth-date", "出生年月日"),
        // The file has no such column.
        ("consent", "同意书编号 (consent)"),
        ("trained-on", "安全教育日期 (safetytraining)"),
        ("reason", "reason"),
    ] {
        assert_eq!(file.names.called(label), heading);
    }
}

#[test]
fn sums_signatures_and_repeated_headings_are_skipped_and_no_worker_is() {
    let head = "序号,工号,姓名,身份证号,班组,劳务公司,工种,备注";
    let worker = |n: u32| format!("{n},W{n},工人{n},{},钢筋一班,丙,木工,审核：已通过", number(n));
    for closing in [
        "合计,,,,,,,",
        "合　计,12人,,,,,,",
        ",合 计：,,,,,,",
        ",小计,,,,,,3",
        ",,钢筋一班小计,,,,,",
        "丙,钢筋一班,合计,,,,,12",
        "总计：12人,,,,,,,",
        "共计12人,,,,,,,",
        "共 12 人,,,,,,,",
        ",(合计),,,,,,",
        "制表人：张三,,,,审核：李四,,,日期：2026年10月1日",
        ",制表人,张三,,审核人,李四,日期,2026-10-01",
        ",填表人(签字),,,,,,",
        ",,审批：,,,,,",
        "复核,,,,,,,",
        ",,,负责人签字：,,,日期：,",
        ",,项目负责人　　　,,,,,",
        "日期：2026年10月1日,,,,,,,",
        "单位（盖章）,,,,,,,",
        "班组长：王五,,,,,,,",
        "备注：以上人员均已培训,,,,,,,",
        "注：花名册每月更新,,,,,,,",
        "以下空白,,,,,,,",
        "第 1 页 共 3 页,,,,,,,",
        "———,———,———,———,———,———,———,———",
        "TOTAL,,,,,,,",
        ",Total: 12,,,,,,",
        "Sub-total,,,,,,,12",
        ",Prepared by: Zhang,,,Checked by,,Date,",
        "序号,工号,姓名,身份证号,班组,劳务公司,工种,备注",
    ] {
        let text = format!("{head}\n{}\n{closing}\n{}\n", worker(1), worker(2));
        let file = read(text.as_bytes()).unwrap();
        assert_eq!(taken(&file).len(), 2, "{closing}");
        let lines: Vec<u32> = file.passed_over.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [3], "{closing}: {:?}", file.passed_over);
        assert!(!file.passed_over[0].1.is_empty(), "{closing}");
    }
    for (kept, is_good) in [
        // A worker's line with one of these words is still a worker's line.
        (format!("合计,W3,总计,{},小计,制表,审核员,", number(3)), true),
        (format!("1,TOTAL,Total,{},Total,Sum,date,", number(3)), true),
        (format!(",,,{},,,,", number(3)), false),
        ("3,W3,刘峰,,钢筋一班,丙,木工,审核：未通过".to_owned(), false),
        (",W3,刘峰,,钢筋班：一组,丙,木工,".to_owned(), false),
        (",W3,刘峰,,合计班,丙,木工,".to_owned(), false),
        // The daemon checks the number.
        ("3,W3,刘峰,x,钢筋一班,丙,木工,".to_owned(), true),
        (",W3,Page,,钢筋一班,丙,木工,".to_owned(), false),
        (",W3,Sumner,,钢筋一班,丙,木工,".to_owned(), false),
    ] {
        let file = read(format!("{head}\n{kept}\n").as_bytes()).unwrap();
        assert_eq!((file.rows.len(), file.passed_over.len()), (1, 0), "{kept}");
        assert_eq!(file.rows[0].candidate.is_ok(), is_good, "{kept}: {:?}", file.rows);
    }
}

#[test]
fn blanks_in_an_id_number_are_removed_before_each_check() {
    let number = number(441);
    let parts = |by: &str| format!("{}{by}{}{by}{}", &number[..6], &number[6..14], &number[14..]);
    for by in [" ", "  ", "\u{3000}", "\u{a0}", "\u{200b}", "\u{2009}"] {
        let spaced = parts(by);
        let text =
            format!("{HEAD},phone,bank tail\nW1,x,{spaced},T,C,x,138{by}0000 1111,01{by}23\n");
        let file = read(text.as_bytes()).unwrap();
        let candidate = taken(&file)[0];
        let said = candidate.particulars.clone();
        let identity =
            crate::roster::Identity::checked(IdType::Resident, &candidate.id_number, said, None);
        let identity = identity.unwrap();
        assert_eq!(*identity.number, number);
        let phone = identity.particulars.phone.unwrap();
        assert!(phone == "138 0000 1111" || phone == "1380000 1111", "{phone:?}");
        assert_eq!(identity.particulars.bank_tail.as_deref(), Some("0123"));
        // The same number in another spelling.
        let text = format!("{HEAD}\n{}\n{}\n", line("W1", "x", &spaced), line("W2", "y", &number));
        let file = read(text.as_bytes()).unwrap();
        assert!(file.rows.iter().all(|row| wrong(row).contains("id number: is also in row")));
        // Photos of either spelling are this worker's.
        for name in [format!("{spaced}.jpg"), format!("{number}_2.jpg")] {
            let assigned = assign_photos(&[("W1", "x", &spaced)], &[&name]);
            let shown = shown(&assigned.of_rows[0]);
            assert!(shown.len() == 1 && !shown[0].contains(&number[6..10]), "{shown:?}");
        }
        let masked = masked(&format!("name {spaced}, 2026-10-01"));
        assert!(masked.ends_with(&format!("{}, 2026-10-01", &number[14..])), "{masked}");
        assert!(!masked.contains(&number[..6]) && !masked.contains(&number[6..14]), "{masked}");
        let row = format!("{HEAD}\n{}\n", line(&spaced, "x", &number));
        let row = &read(row.as_bytes()).unwrap().rows[0];
        assert!(wrong(row).contains("id: is the ID number"), "{row:?}");
        assert!(!row.shown_id().contains(&number[6..10]), "{}", row.shown_id());
    }
    assert!(!masked(&parts("-")).contains(&number[6..14]));
}

#[test]
fn dates_are_read_as_people_write_them() {
    for text in [
        "2026-10-01",
        "2026/10/1",
        "2026.10.1",
        "20261001",
        "2026年10月1日",
        "2026年10月1",
        "２０２６-10-01",
        " 2026 年 10 月 01 日 ",
        "2026-10-01 00:00:00",
        "2026-10-01T00:00:00.000",
        "2026-10-01 08:30:12",
        "2026/10/1 8:30",
        "2026/10/1 上午 8:30",
        "2026-10-01 8:30:12 PM",
        "2026-10-01T08:30:00Z",
        "2026年10月1号",
        "2026年10月1日 8时30分",
    ] {
        assert_eq!(rows::date(text), Some(date(2026, 10, 1)), "{text}");
    }
    for text in [
        "",
        "2026-10",
        "2026-02-30",
        "26-10-01",
        "10/01/2026",
        "2026-10/01",
        "2026-10-01-01",
        "46296",
        "2026-10-01 noon",
        "2026-10-01 8",
        "10/1/2026",
        "9999-12-31",
        "0001-01-01",
        "长期",
        "2026年月日",
        "--",
        "+2026-1-1",
        "2026--1",
    ] {
        assert_eq!(rows::date(text), None, "{text}");
    }
}

/// A workbook whose second sheet is the roster, below a title.
fn workbook(fill: impl FnOnce(&mut rust_xlsxwriter::Worksheet)) -> Vec<u8> {
    let mut workbook = Workbook::new();
    workbook.add_worksheet().write(0, 0, "说明").unwrap();
    let sheet = workbook.add_worksheet();
    sheet.write(0, 0, "花名册").unwrap();
    for (column, heading) in (0..).zip(HEAD.split(',').chain(["valid from"])) {
        sheet.write(2, column, heading).unwrap();
    }
    fill(sheet);
    workbook.save_to_buffer().unwrap()
}

#[test]
fn numbers_dates_and_formulas_of_a_workbook_are_read_correctly() {
    let day = Format::new().set_num_format("yyyy/m/d");
    let time = Format::new().set_num_format("[h]:mm");
    let bytes = workbook(|sheet| {
        for row in 4..=8 {
            for (column, text) in ["刘峰", "", "T", "C", "x"].iter().enumerate() {
                sheet.write(row, column as u16 + 1, *text).unwrap();
            }
            sheet.write(row, 0, 1000 + row).unwrap();
            sheet.write(row, 2, number(row)).unwrap();
        }
        let date = ExcelDateTime::from_ymd(2026, 10, 1).unwrap();
        sheet.write_with_format(4, 6, &date, &day).unwrap();
        sheet.write(5, 2, 522201199003074411_f64).unwrap();
        sheet.write_with_format(6, 6, 1.5, &time).unwrap();
        sheet.write(7, 6, 46296).unwrap();
        sheet.write(8, 1, rust_xlsxwriter::Formula::new("=A1&B1").set_result("王五")).unwrap();
        sheet.write(8, 40, "a remark").unwrap();
    });
    let file = read(&bytes).unwrap();
    let [first, number_cell, time_cell, serial, formula] = &file.rows[..] else {
        panic!("{file:?}")
    };
    let candidate = first.candidate.as_ref().unwrap();
    assert_eq!((first.number, candidate.person.id.as_str()), (5, "1004"));
    assert_eq!(candidate.terms.valid_from, Some(date(2026, 10, 1)));
    assert!(wrong(number_cell).contains("id number: is stored as a number, so its last digits"));
    assert!(wrong(time_cell).contains("valid from: is formatted as a time"), "{time_cell:?}");
    assert!(wrong(serial).contains("\"46296\" is no date"));
    assert_eq!(formula.candidate.as_ref().unwrap().person.name, "王五");
}

/// Returns a zip with this number of parts, each of this number of blanks.
fn zip_of(parts: usize, bytes: usize) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let blanks = vec![b' '; 1 << 20];
    for part in 0..parts {
        zip.start_file(format!("xl/part{part}.xml"), SimpleFileOptions::default()).unwrap();
        let mut left = bytes;
        while left > 0 {
            left -= zip.write(&blanks[..left.min(blanks.len())]).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn a_zip_bomb_is_refused_before_it_is_opened_also_where_its_sizes_are_wrong() {
    let one_large = zip_of(1, (32 << 20) + 1);
    assert!(one_large.len() < 100_000);
    assert!(refused(&one_large).contains("unpacks to too many bytes"));
    assert!(refused(&zip_of(5, 30 << 20)).contains("unpacks to too many bytes"));
    assert!(refused(&zip_of(1_001, 1)).contains("1001 parts"));
    // The sizes in the zip's own directory, and before the part, now say 1 byte.
    let mut lies = one_large;
    let said = ((32_u32 << 20) + 1).to_le_bytes();
    let places: Vec<usize> =
        lies.windows(4).enumerate().filter(|(_, w)| *w == said).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        lies[at..at + 4].copy_from_slice(&1_u32.to_le_bytes());
    }
    let said = refused(&lies);
    assert!(said.contains("unpacks to too many bytes") || said.contains("damaged"), "{said}");
}

#[test]
fn a_file_beyond_any_bound_is_refused() {
    let mut text = format!("{HEAD}\n");
    for row in 0..ROWS_MAX {
        text += &line(&format!("W{row}"), "x", &format!("E{row:08}"));
        text += "\n";
    }
    assert_eq!(read(text.as_bytes()).unwrap().rows.len(), 10_000);
    text += &line("Wn", "x", "E99999999");
    assert!(refused(text.as_bytes()).contains("the file has too many rows"));
    let wide = format!("{HEAD},{}x\n", ",".repeat(100));
    assert!(refused(wide.as_bytes()).contains("has a cell in column 107"));
    let long = format!("{HEAD}\nW1,{}\n", "x".repeat(CELL_MAX + 1));
    assert!(refused(long.as_bytes()).contains("the text of one cell"));
    // A workbook stores the text once for many cells.
    let text = "x".repeat(32_000);
    let repeats = workbook(|sheet| {
        for row in 3..60 {
            (0..50).for_each(|column| drop(sheet.write(row, column, &text)));
        }
    });
    assert!(repeats.len() < 100_000);
    assert!(refused(&repeats).contains("the text of all cells"));
}

fn listed(path: &str) -> Listed {
    let path = PathBuf::from(path);
    let folder = path.parent().map(|p| p.as_os_str().to_owned()).filter(|p| !p.is_empty());
    let name = path.file_name().unwrap().to_owned();
    Listed { path, folder, name }
}

fn assign_photos(rows: &[(&str, &str, &str)], files: &[&str]) -> Assigned {
    let rows: Vec<String> = rows.iter().map(|(id, name, number)| line(id, name, number)).collect();
    let file = read(format!("{HEAD}\n{}\n", rows.join("\n")).as_bytes()).unwrap();
    assign(&file.rows, files.iter().map(|f| listed(f)).collect())
}

fn shown(photos: &Result<Vec<Photo>, String>) -> Vec<&str> {
    photos.as_ref().unwrap().iter().map(|p| p.shown.as_str()).collect()
}

#[test]
fn photos_are_found_by_id_number_id_or_name() {
    let resident = number(441);
    let assigned = assign_photos(
        &[
            ("W001", "刘峰", &resident),
            ("W-1", "Zo\u{e9}", "E12345678"),
            ("W", "李四", "E22345678"),
            ("W4", "李四", "E32345678"),
            ("W5", "O'Neill \"Bo\"", "E42345678"),
            ("W6", "赵六", "E52345678"),
        ],
        &[
            &format!("{}.JPG", resident.to_lowercase()),
            "w001_2.jpeg",
            "刘峰-3.png",
            "刘峰/a.jpg",
            // macOS writes the name in decomposed form.
            "Zoe\u{301} (1).jpg",
            "W-1.jpg",
            "W-2.jpg",
            "e42345678/front.png",
            "李四.jpg",
            "unknown.jpg",
            "W001.heic",
            "W6.HEIC",
            "W6.mov",
            &format!("{}.jpg", number(77)),
        ],
    );
    let stars = "*".repeat(14) + &resident.to_lowercase()[14..];
    assert_eq!(
        shown(&assigned.of_rows[0]),
        [&format!("{stars}.JPG"), "w001_2.jpeg", "刘峰-3.png", "刘峰/a.jpg"]
    );
    assert_eq!(shown(&assigned.of_rows[1]), ["W-1.jpg", "Zoe\u{301} (1).jpg"]);
    assert_eq!(shown(&assigned.of_rows[2]), ["W-2.jpg"]);
    let unclear = assigned.of_rows[3].as_ref().unwrap_err();
    assert!(unclear.starts_with("photo 李四.jpg: the name is ambiguous"), "{unclear}");
    assert_eq!(shown(&assigned.of_rows[4]), ["*****5678/front.png"]);
    // Without another photo it refuses its row, with the remedy.
    assert_eq!(shown(&assigned.of_rows[5]), ["W6.HEIC"]);
    let mut left: Vec<&str> = assigned.left_over.iter().map(|(name, _)| name.as_str()).collect();
    let stranger = masked(&format!("{}.jpg", number(77)));
    assert!(!stranger.contains("5222"), "{stranger}");
    left.sort_unstable();
    assert_eq!(left, [stranger.as_str(), "W001.heic", "W6.mov", "unknown.jpg", "李四.jpg"]);
}

#[test]
fn a_key_within_a_name_of_a_photo_finds_the_worker_and_what_is_unclear_is_named() {
    let own = number(441);
    let rows = [
        ("W001", "王小明", own.as_str()),
        ("W002", "李强", "E12345678"),
        ("W-003", "阿卜杜拉·买买提", "E22345678"),
        ("12", "刘伟", "E32345678"),
        ("13", "刘伟", "E42345678"),
        ("2026", "John Smith", "E52345678"),
    ];
    let found = |name: &str| {
        let assigned = assign_photos(&rows, &[name]);
        let of =
            assigned.of_rows.iter().position(|photos| photos.as_ref().is_ok_and(|p| p.len() == 1));
        assert!(of.is_some() != (assigned.left_over.len() == 1), "{name}: {assigned:?}");
        for photos in assigned.of_rows.iter().flatten() {
            assert!(photos.iter().all(|p| !p.shown.contains(&own[6..14])), "{photos:?}");
            assert!(photos.iter().all(|p| !p.shown.contains("E12345678")), "{photos:?}");
        }
        (of, assigned.left_over.first().map(|(_, why)| *why))
    };
    for (name, row) in [
        (format!("王小明_{own}.jpg"), 0),
        (format!("{own}王小明.jpg"), 0),
        (format!("王小明+{own}.jpg"), 0),
        (format!("张三不在册 {own}.JFIF"), 0),
        ("W001-王小明.jpg".into(), 0),
        ("W001王小明.jpg".into(), 0),
        ("王小明 - 副本.jpg".into(), 0),
        ("王小明 - 副本 (2).jpg".into(), 0),
        ("W001 - Copy.png".into(), 0),
        ("王小明.jfif".into(), 0),
        ("王小明.webp".into(), 0),
        ("王小明 一寸照.TIF".into(), 0),
        ("W001.jpe".into(), 0),
        ("W001.bmp".into(), 0),
        ("钢筋一班-王小明.jpg".into(), 0),
        ("姓名王　小明照片.jpg".into(), 0),
        ("工号W001姓名王小明.jpg".into(), 0),
        ("2026-10-01_王小明.jpg".into(), 0),
        ("李强_E12345678_正面.jpg".into(), 1),
        ("W-003_阿卜杜拉•买买提.jpg".into(), 2),
        ("阿卜杜拉・买买提(1).jpg".into(), 2),
        ("12-刘伟.jpg".into(), 3),
        ("刘伟13.jpg".into(), 4),
        ("工号13.jpg".into(), 4),
        ("John Smith - Copy.jpg".into(), 5),
        ("W001-王小明/front.jpg".into(), 0),
    ] {
        assert_eq!(found(&name), (Some(row), None), "{name}");
    }
    for (name, why) in [
        (format!("李强_{own}.jpg"), "its name fits several workers"),
        ("王小明和李强/1.jpg".into(), "no row has this ID number, id or name"),
        ("王小明 李强.jpg".into(), "its name fits several workers"),
        ("W002-王小明.jpg".into(), "its name fits several workers"),
        ("刘伟 - 副本.jpg".into(), "several rows have this name"),
        ("王小明明.jpg".into(), "no row has this ID number, id or name"),
        ("小明.jpg".into(), "no row has this ID number, id or name"),
        ("IMG_2026_12.jpg".into(), "no row has this ID number, id or name"),
        (format!("{own}9.jpg"), "no row has the ID number in its name"),
        (format!("王小明_{}.jpg", number(77)), "no row has the ID number in its name"),
    ] {
        let (row, said) = found(&name);
        assert_eq!((row, said), (None, Some(why)), "{name}");
    }
}

#[test]
fn blanks_and_invisible_marks_around_a_name_do_not_hide_its_photos() {
    let rows = [("W1", "\u{3000}刘峰\u{200b} ", "E12345678")];
    let assigned = assign_photos(&rows, &["\u{feff}刘峰.jpg", "刘峰\u{a0}_2.jpg", " 刘峰/a.jpg"]);
    assert_eq!(assigned.of_rows[0].as_ref().unwrap().len(), 3, "{:?}", assigned.left_over);
    let typed = checked_text("name", "\u{3000}刘峰\u{200b} ", 64).unwrap();
    assert_eq!(typed, "刘峰");
}

#[test]
fn too_many_photos_are_refused_and_file_names_in_gb18030_are_read() {
    let many: Vec<String> = (1..=6).map(|n| format!("W1_{n}.jpg")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let assigned = assign_photos(&[("W1", "x", "E12345678")], &many);
    let said = assigned.of_rows[0].as_ref().unwrap_err();
    assert!(said.contains("6 photos of this worker, and the maximum is 5"), "{said}");
    let rows = read(format!("{HEAD}\n{}", line("W1", "刘㐂峰", "E12345678")).as_bytes()).unwrap();
    let gb = encoding_rs::GB18030.encode("刘㐂峰_1.jpg").0.into_owned();
    for (name, ours) in [(gb.as_slice(), true), (b"\xff\xfe\x81.jpg", false)] {
        let name = OsStr::from_bytes(name).to_owned();
        let file = Listed { path: name.clone().into(), folder: None, name };
        let assigned = assign(&rows.rows, vec![file]);
        assert_eq!(assigned.of_rows[0].as_ref().unwrap().len(), usize::from(ours));
        assert_eq!(assigned.left_over.len(), usize::from(!ours));
    }
}

#[test]
fn reports_hold_no_id_number_and_no_formula() {
    let number = number(441);
    for (text, expected) in [
        (
            format!("{number}.jpg: no face"),
            format!("{}{}.jpg: no face", "*".repeat(14), &number[14..]),
        ),
        ("522201198805112 and 20261001".into(), "***********5112 and 20261001".into()),
        ("a\u{1b}[2Jb\n".into(), "a [2Jb ".into()),
        ("xX刘峰".into(), "xX刘峰".into()),
    ] {
        assert_eq!(masked(&text), expected);
    }
    for formula in ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "＝1"] {
        assert_eq!(neutral(formula), format!("'{formula}"));
    }
    assert_eq!(neutral("a=1"), "a=1");
    let file = read(format!("{HEAD}\n{}", line("W1", "x", &number)).as_bytes()).unwrap();
    assert!(!format!("{file:?}").contains(&number));
}

/// Returns a workbook with one sheet of this XML.
fn sheet_of(sheet: &str) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default;
    for (name, text) in [
        ("[Content_Types].xml", "<Types/>".to_owned()),
        ("_rels/.rels", "<Relationships><Relationship Id=\"r1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>".to_owned()),
        ("xl/workbook.xml", "<workbook xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\"><sheets><sheet name=\"a\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>".to_owned()),
        ("xl/_rels/workbook.xml.rels", "<Relationships><Relationship Id=\"r1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet\" Target=\"worksheets/a.xml\"/></Relationships>".to_owned()),
        ("xl/worksheets/a.xml", format!("<worksheet><sheetData>{sheet}</sheetData></worksheet>")),
    ] {
        zip.start_file(name, options()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn a_cell_outside_of_any_sheet_is_a_damaged_workbook() {
    for place in ["A99999999999", "ZZZZZZZZZZZZ1", "1A"] {
        let said = refused(&sheet_of(&format!("<row><c r=\"{place}\"><v>1</v></c></row>")));
        assert!(said.contains("the workbook is damaged"), "{place}: {said}");
    }
}

#[test]
fn a_name_that_is_a_latin_word_for_none_is_a_name() {
    let file =
        read(format!("{HEAD}\nW1,Na,E12345671,T,C,x\nW2,无,E12345672,T,C,x\n").as_bytes()).unwrap();
    assert_eq!(file.rows[0].name, "Na");
    assert!(file.rows[1].candidate.as_ref().is_err_and(|wrong| wrong.contains("is missing")));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
        let _ = read(&[b"PK\x03\x04", &bytes[..]].concat());
        let _ = read(&[format!("{HEAD}\n").as_bytes(), &bytes[..]].concat());
    }

    #[test]
    fn hostile_text_never_panics(text in "[\"',;\t\r\n=0-9A-Z年月日㐂\u{a0}\u{301}().-]{0,80}") {
        let _ = rows::date(&text);
        let shown = masked(&text);
        prop_assert!(!shown.chars().any(char::is_control));
        let rows = read(format!("{HEAD}\n{}\n{text}\n", line("W1", "刘峰", "E12345678")).as_bytes());
        if let Ok(file) = rows {
            let name = text.replace('/', "");
            assign(&file.rows, vec![Listed { path: "x".into(), folder: None, name: name.into() }]);
        }
    }

    /// A name in a CSV writer's quotes is read unchanged, and so are the rows after it.
    #[test]
    fn a_quoted_cell_is_read_unchanged_in_both_encodings(
        name in "[a-z刘㐂\",;\n'=]{0,12}[a-z刘㐂]", gb in any::<bool>(),
    ) {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(HEAD.split(',')).unwrap();
        for (id, name) in [("W1", name.as_str()), ("W2", "王五")] {
            csv.write_record([id, name, &format!("E1234567{id}"), "T", "C", "x"]).unwrap();
        }
        let text = String::from_utf8(csv.into_inner().unwrap()).unwrap();
        let bytes = if gb { encoding_rs::GB18030.encode(&text).0.into_owned() } else { text.into_bytes() };
        let file = read(&bytes).unwrap();
        prop_assert_eq!(file.rows.len(), 2);
        let plain = name.trim();
        if !plain.starts_with(['=', '\'']) {
            prop_assert_eq!(&file.rows[0].name, plain);
        }
        prop_assert_eq!(&file.rows[1].name, "王五");
    }

    /// A workbook with changed bytes is read or refused.
    #[test]
    fn a_damaged_workbook_never_panics(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(), cuts in any::<bool>(),
    ) {
        let mut bytes = workbook(|sheet| {
            sheet.write(3, 0, "W1").unwrap();
        });
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(if cuts { cut.index(bytes.len()) } else { bytes.len() });
        let _ = read(&bytes);
    }

    /// Here the sheet itself is damaged, so the zip's checksum does not detect it first.
    #[test]
    fn a_hostile_sheet_never_panics(
        sheet in "(<(row|c|v|f|is|t|/c|/v|/row|/is|/t|/f)( (r|s|t|si|ref)=\"[A-Z0-9:a-z]{0,12}\"){0,3}/?>|[0-9a-zA-Z&;=]{0,12}){0,30}",
    ) {
        let _ = read(&sheet_of(&sheet));
    }
}

#[test]
fn a_validity_without_an_end_is_none_and_another_word_has_a_remedy() {
    let of = |until: &str| {
        let row = line("W1", "刘峰", &number(441));
        let file = read(format!("{HEAD},退场时间\n{row},{until}\n").as_bytes()).unwrap();
        file.rows[0].candidate.as_ref().map(|c| c.terms.valid_until).map_err(Clone::clone)
    };
    for open in ["长期", "长期有效", "/", "无", "-", "至今", "", "（长期）"] {
        assert_eq!(of(open), Ok(None), "{open}");
    }
    assert_eq!(of("2027-01-31 18:00"), Ok(Some(date(2027, 1, 31))));
    let said = of("完工").unwrap_err();
    assert!(
        said.contains("退场时间: \"完工\" is no date") && said.contains("leave the cell empty"),
        "{said}"
    );
    // A validity has a first day.
    let row = line("W1", "刘峰", &number(441));
    let file = read(format!("{HEAD},进场时间\n{row},长期\n").as_bytes()).unwrap();
    assert!(wrong(&file.rows[0]).contains("进场时间: \"长期\" is no date"));
}

#[test]
fn web_pages_and_xml_under_the_name_xls_are_refused_with_what_they_are() {
    let utf16 = |text: &str| {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [vec![0xff, 0xfe], units.collect()].concat()
    };
    let table = "<table><tr><td>工号</td></tr></table>";
    let xml = "<?xml version=\"1.0\"?>\n<?mso-application progid=\"Excel.Sheet\"?>\n<Workbook \
               xmlns=\"urn:schemas-microsoft-com:office:spreadsheet\"/>";
    for (bytes, what) in [
        (
            format!("<html xmlns:x=\"urn:schemas-microsoft-com:office:excel\">{table}")
                .into_bytes(),
            "HTML",
        ),
        (format!("\u{feff}\n <!DOCTYPE html><body>{table}").into_bytes(), "HTML"),
        (format!("<?xml version=\"1.0\"?><html>{table}").into_bytes(), "HTML"),
        (utf16(&format!("<HTML>{table}")), "HTML"),
        (encoding_rs::GB18030.encode(table).0.into_owned(), "HTML"),
        (b"MIME-Version: 1.0\r\nContent-Type: multipart/related".to_vec(), "HTML"),
        (xml.as_bytes().to_vec(), "XML Spreadsheet 2003"),
        (utf16(xml), "XML Spreadsheet 2003"),
        (b"<?xml version=\"1.0\"?><office:document/>".to_vec(), "XML file"),
    ] {
        let said = refused(&bytes);
        assert!(said.contains(what) && said.contains("save it as .xlsx"), "{what}: {said}");
    }
    // A title in brackets is no markup.
    let text = format!("<花名册>\n{HEAD}\n{}\n", line("W1", "刘峰", "E12345678"));
    assert_eq!(read(text.as_bytes()).unwrap().rows.len(), 1);
}

#[test]
fn headings_over_two_lines_are_read() {
    let number = number(441);
    for (head, row) in [
        (
            "花名册,,,,,,\n工号,姓名,证件信息,,单位信息,,\n,,证件类型,证件号码,劳务公司,班组,工种",
            format!("W1,刘峰,居民身份证,{number},C,T,x"),
        ),
        (
            "工号,姓名,劳务公司,班组,工种,证件,,有效期,\n,,,,,类型,号码,起,止",
            format!("W1,刘峰,C,T,x,身份证,{number},2026-10-01,2026-12-31"),
        ),
        (
            "单位,某公司,,,,\n工号,姓名,身份证号,班组,劳务公司,工种",
            format!("W1,刘峰,{number},T,C,x"),
        ),
    ] {
        let file = read(format!("{head}\n{row}\n").as_bytes()).unwrap();
        let [candidate] = taken(&file)[..] else { panic!("{file:?}") };
        assert_eq!((&*candidate.person.contractor, &*candidate.person.team), ("C", "T"), "{head}");
        assert_eq!(**candidate.id_number, *number);
        assert_eq!(candidate.terms.valid_from.is_some(), head.contains("有效期"));
        assert_eq!(candidate.terms.valid_until.is_some(), head.contains("有效期"));
    }
}

#[test]
fn an_official_form_without_ids_gets_them_from_its_serial_numbers() {
    let head = "项目农民工实名制花名册\n序号,姓名,性别,民族,身份证号码,家庭住址,联系电话,参建单位,用工单位,\
                班组名称,工种,进场时间,退场时间,银行卡号";
    let row = |serial: &str, n: u32| {
        let number = number(n);
        let gender = if n % 2 == 1 { "男" } else { "女" };
        format!(
            "{serial},王小明,{gender},汉,{number},某省,13800000000,总包,劳务,一班,木工,2026-10-01,,6222"
        )
    };
    let text = format!("{head}\n{}\n{}\n", row("1", 441), row("12", 443));
    let said = refused(text.as_bytes());
    let asks = "line 2: 2 columns may be the contractor, who employs the worker: 参建单位, 用工单位; \
                say which with --contractor HEADING, such as --contractor 用工单位";
    assert_eq!(said, asks);
    let said = read_with(text.as_bytes(), Some("劳务公司")).map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("no heading \"劳务公司\"") && said.contains("用工单位"), "{said}");
    for (chosen, contractor) in [("用工单位", "劳务"), (" 参建单位", "总包")] {
        let file = read_with(text.as_bytes(), Some(chosen)).unwrap();
        let taken = taken(&file);
        assert_eq!(
            taken.iter().map(|c| c.person.id.as_str()).collect::<Vec<_>>(),
            ["N0001", "N0012"]
        );
        assert!(taken.iter().all(|c| c.person.contractor == contractor));
        assert!(
            file.notes.iter().any(|note| note.contains("each id is N and the 序号")),
            "{:?}",
            file.notes
        );
    }
    // The same number twice, and no number.
    let text = format!("{head}\n{}\n{}\n{}\n", row("1", 441), row("01", 443), row("甲", 445));
    let file = read_with(text.as_bytes(), Some("用工单位")).unwrap();
    assert!(wrong(&file.rows[1]).contains("序号: is also in row 3"), "{file:?}");
    assert!(wrong(&file.rows[2]).contains("序号: \"甲\" is no number"), "{file:?}");
}

#[test]
fn two_rows_with_one_card_are_both_refused_in_any_spelling_of_its_number() {
    let head = format!("{HEAD},卡号");
    let rows = [
        line("W1", "a", &number(1)) + ",0000662316",
        line("W2", "b", &number(2)) + ",\"1234; 010,06956\"",
        line("W3", "c", &number(3)) + ",5678",
        // A row with another fault, too.
        line("W 4", "d", &number(4)) + ",5678",
        // One worker with one card twice.
        line("W5", "e", &number(5)) + ",\"9999; 9999\"",
    ];
    let file = read(format!("{head}\n{}\n", rows.join("\n")).as_bytes()).unwrap();
    for (at, other) in [(0, 3), (1, 2), (2, 5), (3, 4)] {
        let said = wrong(&file.rows[at]);
        assert!(
            said.contains(&format!("is also in row {other}; one of the two rows is wrong")),
            "{said}"
        );
        assert!(said.contains("卡号"), "{said}");
    }
    assert!(file.rows[4].candidate.is_ok(), "{:?}", file.rows[4]);
}

#[test]
fn a_column_says_who_consents_to_photos_and_another_word_is_refused() {
    let of = |word: &str, on: &str| {
        let row = line("W1", "刘峰", &number(441));
        let head = format!("{HEAD},同意书编号,同意书日期,照片同意（是/否）");
        let file = read(format!("{head}\n{row},C-1,{on},{word}\n").as_bytes()).unwrap();
        let of_row = |c: &Candidate| c.photo_consents.iter().map(|c| c.given).collect::<Vec<_>>();
        file.rows[0].candidate.as_ref().map(of_row).map_err(Clone::clone)
    };
    for yes in ["是", "同意", "√", "Yes", " Y ", "有", "TRUE"] {
        assert_eq!(of(yes, "2026-10-01"), Ok(vec![true]), "{yes}");
    }
    for no in ["否", "不同意", "×", "no", "N", "无", "未签"] {
        assert_eq!(of(no, ""), Ok(vec![false]), "{no}");
    }
    for nothing in ["", "/", " — "] {
        assert_eq!(of(nothing, ""), Ok(vec![]), "{nothing}");
    }
    for other in ["待定", "x", "刘峰", "2026-10-01"] {
        let refused = of(other, "2026-10-01").unwrap_err();
        assert!(
            refused.contains("照片同意（是/否）")
                && refused.contains("neither yes (是) nor no (否)"),
            "{refused}"
        );
    }
    let refused = of("是", "").unwrap_err();
    assert!(
        refused.contains("needs the signed form") && refused.contains("同意书日期"),
        "{refused}"
    );
}

#[test]
fn each_platform_may_have_a_column_of_consents_to_photos() {
    let read = |more: &str, cells: &str| {
        let row = line("W1", "刘峰", &number(441));
        read(
            format!("{HEAD},consent,consent date,{more}\n{row},C-1,2026-10-01,{cells}\n")
                .as_bytes(),
        )
    };
    let file = read("照片同意（Guizhou）,photo consent [county-2]", "是,no").unwrap();
    let said: Vec<_> =
        taken(&file)[0].photo_consents.iter().map(|c| (c.upstream.clone(), c.given)).collect();
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(said, [(named("guizhou"), true), (named("county-2"), false)]);
    for twice in ["照片同意,照片授权", "照片同意（a）,照片同意（A）", "照片同意,照片同意（a）"]
    {
        let refused = read(twice, "是,是").unwrap_err().to_string();
        assert!(refused.contains("2 columns are the photo-consent"), "{twice}: {refused}");
    }
}

#[test]
fn a_word_for_none_is_no_consent_and_a_word_for_yes_is_refused() {
    let of = |consent: &str| {
        let row = line("W1", "刘峰", &number(441));
        let file = read(format!("{HEAD},同意书编号\n{row},{consent}\n").as_bytes()).unwrap();
        file.rows[0].candidate.as_ref().map(|c| c.terms.consent.clone()).map_err(Clone::clone)
    };
    for nothing in ["无", "/", "-", "——", "未签", "否", "没有", "N/A", " 无 ", "（无）", "None"]
    {
        assert_eq!(of(nothing), Ok(None), "{nothing}");
    }
    for yes in ["是", "同意", "已签", "√同意", "yes", "YES", "Y", "OK"] {
        let refused = of(yes).unwrap_err();
        assert!(refused.contains("同意书编号") && refused.contains("is no number"), "{refused}");
    }
    for number in ["同2026-017", "C", "FD-A"] {
        assert_eq!(of(number), Ok(Some(number.to_owned())));
    }
}
