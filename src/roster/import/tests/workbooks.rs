//! Workbooks as their programs show them.

use rust_xlsxwriter::{Format, Worksheet};

use super::*;

/// Fills a sheet with the headings and one worker for each of these ids.
fn filled<'w>(sheet: &'w mut Worksheet, ids: &[&str]) -> &'w mut Worksheet {
    for (column, heading) in (0..).zip(HEAD.split(',')) {
        sheet.write(0, column, heading).unwrap();
    }
    for (row, id) in (1..).zip(ids) {
        let number = number(u32::from(id.bytes().last().unwrap()) * 7 + row);
        for (column, text) in (0..).zip([id, "刘峰", &number, "T", "C", "x"]) {
            sheet.write(row, column, text).unwrap();
        }
    }
    sheet
}

fn ids(file: &RosterFile) -> Vec<&str> {
    taken(file).iter().map(|candidate| candidate.person.id.as_str()).collect()
}

#[test]
fn the_visible_sheet_is_read_and_other_sheets_with_headings_are_named() {
    let mut workbook = Workbook::new();
    let sheets =
        [("9月", &["W1", "W2"][..], true), ("10月", &["W3"], false), ("11月", &["W4"], false)];
    for (name, ids, hidden) in sheets {
        let sheet = workbook.add_worksheet().set_name(name).unwrap();
        filled(sheet, ids).set_hidden(hidden);
    }
    workbook.add_worksheet().set_name("说明").unwrap().write(0, 0, "x").unwrap();
    // Excel shows an active sheet at the start, and does not open a book without one.
    workbook.worksheet_from_index(1).unwrap().set_active(true);
    let file = read(&workbook.save_to_buffer().unwrap()).unwrap();
    assert_eq!(ids(&file), ["W3"]);
    assert_eq!(file.notes.len(), 2, "{:?}", file.notes);
    assert_eq!(file.notes[0], "sheet 10月 is imported");
    assert!(file.notes[1].contains("not imported: 11月, 9月 (hidden);"), "{:?}", file.notes);

    let mut workbook = Workbook::new();
    filled(workbook.add_worksheet().set_name("甲").unwrap(), &["W1"]).set_very_hidden(true);
    workbook.add_worksheet().set_name("说明").unwrap().set_active(true);
    let said = refused(&workbook.save_to_buffer().unwrap());
    assert!(said.contains("a hidden sheet has them: 甲; unhide"), "{said}");
}

#[test]
fn hidden_rows_are_not_imported_and_are_reported() {
    let mut workbook = Workbook::new();
    let sheet = filled(workbook.add_worksheet(), &["W1", "W2", "W3", "W4"]);
    sheet.set_row_hidden(2).unwrap();
    sheet.set_row_hidden(4).unwrap();
    sheet.set_row_hidden(9).unwrap();
    let file = read(&workbook.save_to_buffer().unwrap()).unwrap();
    assert_eq!(ids(&file), ["W1", "W3"]);
    assert_eq!(file.hidden, [3, 5]);
}

#[test]
fn numbers_are_read_as_their_cells_show_them() {
    let head = format!("{HEAD},phone,bank tail,valid from");
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet();
    for (column, heading) in (0..).zip(head.split(',')) {
        sheet.write(0, column, heading).unwrap();
    }
    for (row, format) in [(1, "0000"), (2, "\"GH-\"0000"), (3, "General"), (4, "#,##0.00")] {
        for (column, text) in (0..).zip(["", "刘峰", &number(row), "T", "C", "x"]) {
            sheet.write(row, column, text).unwrap();
        }
        let mut as_shown = |column, number: f64, format: &str| {
            let format = Format::new().set_num_format(format);
            sheet.write_with_format(row, column, number, &format).unwrap();
        };
        as_shown(0, f64::from(row + 11), format);
        as_shown(6, 13_800_001_111.0, "000 0000 0000");
        as_shown(7, 123.0, "0000_ ;[Red]-0000");
        as_shown(8, 20_261_001.0, "0000-00-00");
    }
    let file = read(&workbook.save_to_buffer().unwrap()).unwrap();
    assert_eq!(ids(&file), ["0012", "GH-0013", "14", "15"]);
    for candidate in taken(&file) {
        assert_eq!(candidate.particulars.phone.as_deref(), Some("138 0000 1111"));
        assert_eq!(candidate.particulars.bank_tail.as_deref(), Some("0123"));
        assert_eq!(candidate.terms.valid_from, Some(date(2026, 10, 1)));
    }
    for (number, code, shown) in [
        (7.0, "000", Some("007")),
        (1234.0, "00-00", Some("12-34")),
        (12345.0, "00-00", Some("123-45")),
        (5.0, "\\W0000", Some("W0005")),
        (0.0, "#", Some("0")),
        (7.0, "[$-804]0\"号\"", Some("7号")),
        (7.5, "000", None),
        (-7.0, "000", None),
        (7.0, "0.00", None),
        (7.0, "0%", None),
        (7.0, "@", None),
        (7.0, "[>100]000;0", None),
        (7.0, "\"open", None),
        (7.0, "", None),
    ] {
        assert_eq!(number_format::shown(number, code).as_deref(), shown, "{code}");
    }
}

#[test]
fn a_merged_cell_holds_for_each_of_its_rows() {
    let mut workbook = Workbook::new();
    let sheet = filled(workbook.add_worksheet(), &["W1", "W2", "W3", "W4"]);
    let plain = Format::new();
    for column in [3, 4] {
        for row in 1..=4 {
            sheet.write_blank(row, column, &plain).unwrap();
        }
        sheet.merge_range(1, column, 3, column, "钢筋", &plain).unwrap();
    }
    let file = read(&workbook.save_to_buffer().unwrap()).unwrap();
    for row in &file.rows[..3] {
        let person = &row.candidate.as_ref().unwrap().person;
        assert_eq!((&*person.team, &*person.contractor), ("钢筋", "钢筋"));
    }
    assert_eq!(wrong(&file.rows[3]), "team: is missing; contractor: is missing");
}

#[test]
fn a_formula_that_no_program_has_computed_is_refused_with_the_remedy() {
    let cell = |column: &str, inner: &str| format!("<c r=\"{column}2\" {inner}</c>");
    let head: String = ('A'..)
        .zip(HEAD.split(','))
        .map(|(c, h)| format!("<c r=\"{c}1\" t=\"inlineStr\"><is><t>{h}</t></is></c>"))
        .collect();
    for (formula, open) in [
        ("><f>A1&amp;B1</f><v/>", true),
        ("><f>A1</f>", true),
        ("><f>A1</f><v></v>", true),
        ("t=\"str\"><f>A1</f><v></v>", false),
        ("t=\"str\"><f>A1</f><v>x</v>", false),
    ] {
        let row = format!("<row r=\"1\">{head}</row><row r=\"2\">{}</row>", cell("D", formula));
        let read = read(&sheet_of(&row));
        let said = read.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert_eq!(
            said.contains("sheet a: the formula D2 has no value"),
            open,
            "{formula}: {said}"
        );
        assert_eq!(said.contains("open the file in a spreadsheet program and save it"), open);
    }
    // A library writes 0 for a formula, and asks the program to compute it.
    let mut workbook = Workbook::new();
    filled(workbook.add_worksheet(), &["W1"]).write_formula(1, 3, "=A1").unwrap();
    assert!(refused(&workbook.save_to_buffer().unwrap()).contains("the formula D2 has no value"));
}

/// Returns a zip of these parts.
fn zip(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Returns an OpenDocument spreadsheet with these tables.
fn ods(tables: &str) -> Vec<u8> {
    let content = format!(
        "<office:document-content><office:automatic-styles><style:style style:name=\"h\">\
         <style:table-properties table:display=\"false\"/></style:style></office:automatic-styles>\
         <office:body><office:spreadsheet>{tables}</office:spreadsheet></office:body>\
         </office:document-content>"
    );
    zip(&[
        ("mimetype", b"application/vnd.oasis.opendocument.spreadsheet"),
        ("content.xml", content.as_bytes()),
        ("META-INF/manifest.xml", b"<manifest:manifest/>"),
    ])
}

fn ods_row(cells: &[&str], attributes: &str) -> String {
    let cell = |text: &&str| match text.strip_prefix('<') {
        Some(raw) => format!("<{raw}"),
        None => format!(
            "<table:table-cell office:value-type=\"string\"><text:p>{text}</text:p></table:table-cell>"
        ),
    };
    let cells: String = cells.iter().map(cell).collect();
    format!("<table:table-row {attributes}>{cells}</table:table-row>")
}

#[test]
fn an_open_document_is_read_as_its_program_shows_it() {
    let head: Vec<&str> = HEAD.split(',').chain(["valid from"]).collect();
    let numbers: Vec<String> = (1..=9).map(number).collect();
    let id = "<table:table-cell office:value-type=\"float\" office:value=\"12\"><text:p>0012</text:p>\
              </table:table-cell>";
    let team = "<table:table-cell office:value-type=\"string\" table:number-rows-spanned=\"2\">\
                <office:annotation><text:p>a remark</text:p></office:annotation><text:p>T&amp;<text:s/>1\
                </text:p></table:table-cell>";
    let day = "<table:table-cell office:value-type=\"date\" office:date-value=\"2026-10-01T08:30:00\">\
               <text:p>1. Oct</text:p></table:table-cell>";
    let empty = "<table:covered-table-cell/>";
    let wide = "<table:table-cell table:number-columns-repeated=\"16370\"/>";
    let rows = [
        ods_row(&head, ""),
        ods_row(&[id, "刘峰", &numbers[0], team, "C", "x", day, wide], ""),
        ods_row(&["W2", "王五", &numbers[1], empty, "C", "x"], ""),
        ods_row(&["W3", "李四", &numbers[2], "T", "C", "x"], "table:visibility=\"filter\""),
        ods_row(&[wide], "table:number-rows-repeated=\"1048572\""),
    ]
    .concat();
    let hidden = format!(
        "<table:table table:name=\"9月\" table:style-name=\"h\">{}{}</table:table>",
        ods_row(&head, ""),
        ods_row(&["W9", "甲", &numbers[8], "T", "C", "x"], "")
    );
    let bytes = ods(&format!("{hidden}<table:table table:name=\"10月\">{rows}</table:table>"));
    let file = read(&bytes).unwrap();
    assert_eq!((ids(&file), &*file.hidden), (vec!["0012", "W2"], &[4][..]));
    let [first, second] = taken(&file)[..] else { panic!() };
    assert_eq!((&*first.person.team, &*second.person.team), ("T& 1", "T& 1"));
    assert_eq!(first.terms.valid_from, Some(date(2026, 10, 1)));
    assert_eq!(file.notes[0], "sheet 10月 is imported");
    assert!(file.notes[1].contains("9月 (hidden)"), "{:?}", file.notes);

    // A formula without a value, a password, and a line that is repeated without end.
    let formula = "<table:table-cell table:formula=\"of:=[.A1]\"/>";
    let table = |row: String| {
        let head = ods_row(&head, "");
        ods(&format!("<table:table table:name=\"a\">{head}{row}</table:table>"))
    };
    let row = ["W1", "刘峰", &numbers[0], formula, "C", "x"];
    let said = refused(&table(ods_row(&row, "")));
    assert!(said.contains("sheet a: the formula in column 4 of line 2 has no value"), "{said}");
    let row = ["W1", "刘峰", &numbers[0], "T", "C", "x"];
    let endless = table(ods_row(&row, "table:number-rows-repeated=\"1048575\""));
    assert!(refused(&endless).contains("too many rows"));
    let manifest = b"<manifest:encryption-data/>";
    let locked = zip(&[("content.xml", b"x"), ("META-INF/manifest.xml", manifest)]);
    assert!(refused(&locked).contains("has a password"));
}

/// Returns a record of a binary workbook (MS-XLSB 2.1.4).
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = match u8::try_from(kind) {
        Ok(kind) if kind < 0x80 => vec![kind],
        _ => vec![(kind & 0x7f) as u8 | 0x80, (kind >> 7) as u8],
    };
    bytes.extend([(data.len() & 0x7f) as u8 | 0x80, (data.len() >> 7) as u8]);
    bytes.extend(data);
    bytes
}

fn wide(text: &str) -> Vec<u8> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let count = (units.len() as u32).to_le_bytes();
    count.into_iter().chain(units.into_iter().flat_map(u16::to_le_bytes)).collect()
}

#[test]
fn a_binary_workbook_is_read_and_its_limits_are_told() {
    let mut sheet = [record(0x94, &[0; 16]), record(0x91, &[])].concat();
    let own = number(1);
    let worker = ["W1", "刘峰", &own, "T", "C", "x"];
    for (row, cells) in [HEAD.split(',').collect::<Vec<_>>(), worker.to_vec()].iter().enumerate() {
        sheet.extend(record(0, &(row as u32).to_le_bytes()));
        for (column, text) in (0_u32..).zip(cells) {
            let data = [column.to_le_bytes().to_vec(), vec![0; 4], wide(text)].concat();
            sheet.extend(record(6, &data));
        }
    }
    sheet.extend(record(0x92, &[]));
    let bundle = [vec![0; 4], vec![1, 0, 0, 0], wide("r1"), wide("10月")].concat();
    let book = [record(0x9c, &bundle), record(0x90, &[]), record(0x9d, &[]), record(0x84, &[])];
    let rels =
        "<Relationships><Relationship Id=\"r1\" Target=\"worksheets/sheet1.bin\"/></Relationships>";
    let bytes = zip(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("xl/workbook.bin", &book.concat()),
        ("xl/_rels/workbook.bin.rels", rels.as_bytes()),
        ("xl/worksheets/sheet1.bin", &sheet),
    ]);
    let file = read(&bytes).unwrap();
    assert_eq!(ids(&file), ["W1"]);
    assert_eq!(file.notes[0], "sheet 10月 is imported");
    assert!(file.notes[1].contains("hidden rows are imported too"), "{:?}", file.notes);
}
