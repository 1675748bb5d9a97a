//! Turns a line of the file into a candidate for the roster, or into its faults.

use std::collections::HashMap;

use jiff::civil::Date;
use zeroize::Zeroizing;

use super::{
    CUT_MIN, CUT_SHARE, Cell, ImportError, Line, Names, ROWS_MAX, RosterFile, Sheet,
    cells::{plain, trimmed},
    closing, compact, folded,
    headings::{Field, Layout, PhotoColumn},
    too_many_rows,
};
use crate::{
    reader::CardNumber,
    roster::{
        Gender, IdType, Particulars, Person, RosterError, Terms, WorkerId, identity::starred,
    },
    words::folded_name,
};

/// The rule for the ids of a file without ids.
const NUMBERED: &str = "the file has no column of worker ids (工号): each id is N and the 序号, such as \
                        N0001; keep the 序号 of each worker in later files, or add a column 工号";

/// A worker whose data in the file has no fault.
#[derive(Clone)]
pub struct Candidate {
    pub person: Person,
    pub id_type: IdType,
    pub id_number: Zeroizing<String>,
    pub particulars: Particulars,
    pub terms: Terms,
    /// The numbers of the worker's cards, as the file has them.
    pub cards: Vec<String>,
    /// The consents to photos for platforms, or that there is none.
    pub photo_consents: Vec<PhotoConsent>,
}

/// What a cell says of a consent to photos for a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhotoConsent {
    /// The heading of the column.
    pub heading: String,
    /// The upstream that the heading names, in small letters.
    pub upstream: Option<String>,
    /// Whether the worker consents.
    pub given: bool,
}

/// A worker's row.
pub struct Row {
    /// Its line in the file.
    pub number: u32,
    /// The id as the file has it, valid or not.
    pub id: String,
    pub name: String,
    /// For the photos that are named by it.
    pub(super) id_number: Zeroizing<String>,
    /// The worker's cards, also of a row with faults.
    cards: Vec<CardNumber>,
    pub candidate: Result<Candidate, String>,
}

impl Row {
    /// Returns the id for people and reports. An ID number in the wrong column becomes stars.
    pub fn shown_id(&self) -> String {
        let is_number = !self.id.is_empty() && compact(&self.id) == compact(&self.id_number);
        let shown = if is_number { starred(&self.id) } else { self.id.clone() };
        super::masked(&shown)
    }
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wrong = self.candidate.as_ref().err().map(|e| super::masked(e));
        write!(f, "Row({}, {:?})", self.number, wrong)
    }
}

/// Reads the rows below the headings. `separated`: the cells are separated by a sign that a cell
/// may contain too, so an extra cell shifts the cells after it.
pub(super) fn read(
    sheet: Sheet,
    layout: Layout,
    separated: bool,
) -> Result<RosterFile, ImportError> {
    let (mut rows, mut passed_over): (Vec<Row>, _) = (Vec::new(), Vec::new());
    let mut hidden = Vec::new();
    for line in sheet.lines.iter().skip(layout.above) {
        if sheet.hidden.contains(&line.number) {
            hidden.push(line.number);
        } else if let Some(what) = closing::first_text(line, &layout) {
            passed_over.push((line.number, what));
        } else if let Some(row) = row(line, &layout, separated) {
            if rows.len() == ROWS_MAX {
                return Err(too_many_rows());
            }
            rows.push(row);
        }
    }
    refuse_cut_numbers(&rows)?;
    refuse_duplicates(&mut rows, &layout.names);
    let Layout { ignored, names, numbered, .. } = layout;
    let mut notes = sheet.notes;
    if numbered {
        notes.push(NUMBERED.to_owned());
    }
    Ok(RosterFile { rows, ignored, passed_over, hidden, notes, names })
}

/// Refuses a file whose ID numbers a spreadsheet program has cut to 15 digits. The check digit of
/// one cut number in eleven is right by chance, so the rows cannot be judged one by one.
fn refuse_cut_numbers(rows: &[Row]) -> Result<(), ImportError> {
    let numbers = rows.iter().map(|row| Zeroizing::new(compact(&row.id_number)));
    let whole = |number: &Zeroizing<String>| {
        let digits = number.strip_suffix('x').unwrap_or(number);
        number.len() == 18 && digits.bytes().all(|b| b.is_ascii_digit())
    };
    let (mut cut, mut all) = (0, 0);
    for number in numbers.filter(whole) {
        all += 1;
        cut += usize::from(number.ends_with("000"));
    }
    let every = cut == all && all > 1;
    if every || (cut >= CUT_MIN && cut * CUT_SHARE > all) {
        return Err(ImportError::CutNumbers { cut, all });
    }
    Ok(())
}

/// Refuses the second row of a worker. Where two rows with the same id, ID number or card are not
/// the same worker, it refuses both: it is not known which row is wrong, nor which row a photo belongs
/// to.
fn refuse_duplicates(rows: &mut [Row], names: &Names) {
    let (mut ids, mut numbers, mut cards) = (HashMap::new(), HashMap::new(), HashMap::new());
    let (id, id_number) = (names.of(Field::Id), names.of(Field::IdNumber));
    let card_name = names.of(Field::Card);
    let mut wrong: Vec<(usize, String)> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let number = compact(&row.id_number);
        let papers = [(row.id.clone(), &id, &mut ids), (number, &id_number, &mut numbers)];
        let papers = papers.into_iter().filter(|(key, ..)| !key.is_empty());
        let mut keys: Vec<_> = papers
            .map(|(key, name, known)| (name.clone(), *known.entry(key).or_insert(at)))
            .collect();
        keys.extend(row.cards.iter().map(|card| {
            (format!("{card_name} {}", card.shown()), *cards.entry(*card).or_insert(at))
        }));
        for (name, first) in keys {
            let Some(other) = rows.get(first).filter(|_| first != at) else { continue };
            let twice =
                |row: u32| format!("{name}: is also in row {row}; one of the two rows is wrong");
            wrong.push((at, twice(other.number)));
            let one = other.id == row.id
                && folded_name(&other.name) == folded_name(&row.name)
                && compact(&other.id_number) == compact(&row.id_number);
            if !one {
                wrong.push((first, twice(row.number)));
            }
        }
    }
    for (at, twice) in wrong {
        let Some(row) = rows.get_mut(at) else { continue };
        row.candidate = Err(match &row.candidate {
            Ok(_) => twice,
            Err(others) if others.contains(&twice) => continue,
            Err(others) => format!("{others}; {twice}"),
        });
    }
}

/// A row, with the faults found so far.
struct Cells<'a> {
    line: &'a Line,
    layout: &'a Layout,
    wrong: Vec<String>,
}

/// Reads a row. `None`: the line is empty.
fn row(line: &Line, layout: &Layout, separated: bool) -> Option<Row> {
    let columns = &layout.columns;
    let mut known = columns.iter().zip(&line.cells).filter(|(field, _)| field.is_some());
    if known.all(|(_, cell)| plain(cell).is_ok_and(|t| t.is_none())) {
        return None;
    }
    let mut cells = Cells { line, layout, wrong: Vec::new() };
    if separated && line.cells.len() > columns.len() {
        let problem = format!(
            "it has {} cells below {} headings; put quotes around a cell with a separator in it",
            line.cells.len(),
            columns.len()
        );
        cells.wrong.push(problem);
    }
    let id = cells.id();
    let name = cells.required(Field::Name);
    let id_number = Zeroizing::new(cells.required(Field::IdNumber));
    let worker_id = match id.parse::<WorkerId>() {
        Ok(worker_id) => Some(worker_id),
        Err(_) if id.is_empty() => None,
        Err(RosterError::Invalid { problem, .. }) => {
            cells.is_wrong(Field::Id, problem);
            None
        }
        Err(e) => {
            cells.wrong.push(e.to_string());
            None
        }
    };
    if !id.is_empty() && compact(&id) == compact(&id_number) {
        let problem = "is the ID number, which each record would show; give the worker another id";
        cells.is_wrong(Field::Id, problem);
    }
    let person = |id, name, cells: &mut Cells| Person {
        id,
        name,
        team: cells.required(Field::Team),
        contractor: cells.required(Field::Contractor),
        trade: cells.required(Field::Trade),
    };
    // A row with a wrong id is read to the end, so that all its faults are reported.
    let placeholder = || WorkerId("-".into());
    let person = person(worker_id.unwrap_or_else(placeholder), name.clone(), &mut cells);
    let particulars = Particulars {
        gender: cells.one_of(Field::Gender, gender, "male (男) or female (女)"),
        birth_date: cells.date(Field::BirthDate),
        phone: cells.text(Field::Phone),
        bank_tail: cells.text(Field::BankTail),
    };
    let types = "resident (身份证), passport (护照), hk_macao_permit (港澳居民来往内地通行证) or \
                 taiwan_permit (台湾居民来往大陆通行证)";
    let id_type = cells.one_of(Field::IdType, id_type, types).unwrap_or_default();
    let terms = Terms {
        valid_from: cells.date(Field::ValidFrom),
        valid_until: cells.date(Field::ValidUntil),
        consent: cells.consent(),
        consent_on: cells.date(Field::ConsentOn),
        contract_signed: cells.date(Field::ContractSigned),
        trained_on: cells.date(Field::TrainedOn),
    };
    let numbers = cells.cards();
    let cards = numbers.iter().filter_map(|n| Some(CardNumber::typed(n).ok()?.0)).collect();
    let photo_consents = cells.photo_consents(&terms);
    let candidate = if cells.wrong.is_empty() {
        Ok(Candidate {
            person,
            id_type,
            id_number: id_number.clone(),
            particulars,
            terms,
            cards: numbers,
            photo_consents,
        })
    } else {
        Err(cells.wrong.join("; "))
    };
    Some(Row { number: line.number, id, name, id_number, cards, candidate })
}

impl Cells<'_> {
    fn cell(&self, field: Field) -> &Cell {
        self.layout.cell(self.line, field)
    }

    fn is_wrong(&mut self, field: Field, problem: impl std::fmt::Display) {
        self.wrong.push(format!("{}: {problem}", self.layout.names.of(field)));
    }

    /// Returns a cell's text. `None`: the cell is empty, or has a word for "none". A Latin word, such
    /// as Na or No, may be a person's name.
    fn text(&mut self, field: Field) -> Option<String> {
        let is_name = |text: &str| {
            field == Field::Name && text.contains(char::is_alphabetic) && text.is_ascii()
        };
        match plain(self.cell(field)) {
            Ok(text) => text.filter(|text| is_name(text) || !is_none(text)),
            Err(problem) => {
                self.is_wrong(field, problem);
                None
            }
        }
    }

    /// Returns the numbers of cards, which a semicolon, a blank or 、 separates.
    fn cards(&mut self) -> Vec<String> {
        let text = self.text(Field::Card).unwrap_or_default();
        let separates = |c: char| c.is_whitespace() || matches!(c, ';' | '；' | '、');
        let numbers: Vec<_> =
            text.split(separates).filter(|n| !n.is_empty()).map(str::to_owned).collect();
        for number in &numbers {
            if let Err(problem) = CardNumber::typed(number) {
                self.is_wrong(Field::Card, format!("{:?} {problem}", shortened(number)));
            }
        }
        numbers
    }

    /// Returns the worker's id. In a file without ids it is made of the 序号: N0001.
    fn id(&mut self) -> String {
        let id = self.required(Field::Id);
        if !self.layout.numbered || id.is_empty() {
            return id;
        }
        if id.len() > 6 || !id.bytes().all(|b| b.is_ascii_digit()) {
            self.is_wrong(Field::Id, format!("{:?} is no number", shortened(&id)));
        }
        format!("N{id:0>4}")
    }

    /// Returns the number of the signed form. A word such as "agreed" is refused.
    fn consent(&mut self) -> Option<String> {
        let number = self.text(Field::Consent)?;
        // Some forms have a code of capitals in place of a number.
        let is_code = number.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
            && !matches!(&*number, "Y" | "YES" | "OK");
        if !is_code && !number.chars().any(char::is_numeric) {
            let shown = shortened(&number);
            let problem = format!("{shown:?} is no number; write the number of the signed form");
            self.is_wrong(Field::Consent, problem);
        }
        Some(number)
    }

    /// Returns what the row says of consents to photos. The form is that of the other consents.
    fn photo_consents(&mut self, terms: &Terms) -> Vec<PhotoConsent> {
        let mut consents = Vec::new();
        for PhotoColumn { at, heading, upstream } in self.layout.photo_consents.clone() {
            let text = match plain(self.line.cells.get(at).unwrap_or(&Cell::Empty)) {
                Ok(Some(text)) => text,
                Ok(None) => continue,
                Err(problem) => {
                    self.wrong.push(format!("{heading}: {problem}"));
                    continue;
                }
            };
            let Some(given) = yes_or_no(&text) else {
                if text.chars().any(char::is_alphanumeric) {
                    let shown = shortened(&text);
                    let problem = format!("{heading}: {shown:?} is neither yes (是) nor no (否)");
                    self.wrong.push(problem);
                }
                continue;
            };
            if given && (terms.consent.is_none() || terms.consent_on.is_none()) {
                let [form, on] =
                    [Field::Consent, Field::ConsentOn].map(|f| self.layout.names.of(f));
                self.wrong
                    .push(format!("{heading}: needs the signed form: fill in {form} and {on}"));
            }
            consents.push(PhotoConsent { heading, upstream, given });
        }
        consents
    }

    /// Returns a cell's text. An empty cell is a fault.
    fn required(&mut self, field: Field) -> String {
        let before = self.wrong.len();
        let text = self.text(field);
        if text.is_none() && self.wrong.len() == before {
            self.is_wrong(field, "is missing");
        }
        text.unwrap_or_default()
    }

    fn one_of<T>(
        &mut self,
        field: Field,
        read: impl FnOnce(&str) -> Option<T>,
        words: &str,
    ) -> Option<T> {
        let text = self.text(field)?;
        let plain: String = folded(&text).chars().filter(|c| c.is_alphanumeric()).collect();
        let read = read(&plain);
        if read.is_none() {
            let shown = shortened(&text);
            self.is_wrong(field, format!("{shown:?} is none of {words}"));
        }
        read
    }

    fn date(&mut self, field: Field) -> Option<Date> {
        if let Cell::Date(date) = self.cell(field) {
            return Some(*date);
        }
        let text = self.text(field)?;
        if field == Field::ValidUntil && is_open(&text) {
            return None;
        }
        let read = date(&text);
        if read.is_none() {
            let shown = shortened(&text);
            self.is_wrong(
                field,
                format!(
                    "{shown:?} is no date; write it as 2026-10-01, or leave the cell empty if there \
                     is none"
                ),
            );
        }
        read
    }
}

/// Returns whether a text is a word for "none", as offices write it: 无, 未签, "/", "—".
fn is_none(text: &str) -> bool {
    const WORDS: &str =
        "无 暂无 没有 未 未签 未签订 未签署 未办 未办理 未提供 否 空 none no na nil null";
    let word: String = folded(text).chars().filter(|c| c.is_alphanumeric()).collect();
    word.is_empty() || WORDS.split(' ').any(|none| none == word)
}

/// Returns whether a text says yes or no.
fn yes_or_no(text: &str) -> Option<bool> {
    const YES: &str = "是 同意 已同意 愿意 有 已签 y yes true 1 agreed given √ ✓ ✔ ☑";
    const NO: &str = "不 不同意 未同意 不愿意 拒绝 n false 0 refused × ✗ ✘ ☐";
    let folded = folded(text);
    let plain: String = folded.chars().filter(|c| c.is_alphanumeric()).collect();
    let is = |words: &str| words.split(' ').any(|word| word == trimmed(&folded) || word == plain);
    match (is(YES), is(NO) || !plain.is_empty() && is_none(text)) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

/// Returns whether a text says that a validity has no end.
fn is_open(text: &str) -> bool {
    const WORDS: &str =
        "长期 长期有效 永久 永久有效 无固定期限 无期限 不限 至今 在场 在岗 在职 未退场 未离场";
    let word: String = folded(text).chars().filter(|c| c.is_alphanumeric()).collect();
    WORDS.split(' ').any(|open| open == word)
}

fn shortened(text: &str) -> String {
    text.chars().take(30).collect()
}

fn gender(word: &str) -> Option<Gender> {
    match word {
        "男" | "男性" | "m" => Some(Gender::Male),
        "女" | "女性" | "f" => Some(Gender::Female),
        word => Gender::from_word(word),
    }
}

fn id_type(word: &str) -> Option<IdType> {
    const RESIDENT: &str = "身份证 居民身份证 二代身份证 中华人民共和国居民身份证 居民居住证 \
        港澳台居民居住证 idcard residentidcard";
    const HK_MACAO: &str = "港澳居民来往内地通行证 港澳通行证 港澳居民通行证 回乡证";
    const TAIWAN: &str = "台湾居民来往大陆通行证 台胞证 台湾通行证 台湾居民通行证";
    IdType::ALL.into_iter().find(|id_type| {
        let spellings = match id_type {
            IdType::Resident => RESIDENT,
            IdType::Passport => "护照",
            IdType::HkMacaoPermit => HK_MACAO,
            IdType::TaiwanPermit => TAIWAN,
        };
        spellings.split(' ').any(|known| known == word) || id_type.word().replace('_', "") == word
    })
}

/// Reads a date: 2026-10-01, 2026/10/1, 2026.10.1, 20261001, 2026年10月1日. A time after it is
/// ignored.
pub(super) fn date(text: &str) -> Option<Date> {
    let text = folded(text).replace('号', "日");
    let mut text = trimmed(&text).to_owned();
    if text.contains('年') {
        text.retain(|c| !c.is_whitespace());
        if let Some((day, time)) = text.split_once('日')
            && is_time(time)
        {
            text = format!("{day}日");
        }
    } else if let Some((day, time)) = text.split_once([' ', 't'])
        && is_time(time)
    {
        text = day.to_owned();
    }
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let forms: &[&str] = match text.len() == 8 && digits(&text) {
        true => &["%Y%m%d"],
        false => &["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日", "%Y年%m月%d"],
    };
    // `strptime` accepts a sign before the year.
    let forms = forms.iter().filter(|_| text.starts_with(|c: char| c.is_ascii_digit()));
    let date = forms.map(|form| Date::strptime(form, &text)).find_map(Result::ok)?;
    (1900..=2200).contains(&date.year()).then_some(date)
}

/// Returns whether a text is a time of day: 8:30, 08:30:12.5, 上午8:30, 08:30z, 8时30分.
fn is_time(text: &str) -> bool {
    let text = ["上午", "下午"].into_iter().fold(text.trim(), |t, word| t.trim_start_matches(word));
    let text = text.trim_end_matches("am").trim_end_matches("pm").trim_end_matches('z').trim();
    let part = |part: &str| {
        let digits =
            part.split('.').all(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()));
        part.is_empty() || digits
    };
    let parts: Vec<&str> = text.split([':', '时', '分', '秒']).map(str::trim).collect();
    text.chars().any(|c| c.is_ascii_digit())
        && (2..=4).contains(&parts.len())
        && parts.into_iter().all(part)
}
