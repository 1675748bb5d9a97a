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
