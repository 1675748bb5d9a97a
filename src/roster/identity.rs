//! A person's identity by the document: real-name rules.
//!
//! A resident identity number (GB 11643-1999) has 18 characters: six digits of the region where it
//! was first issued (GB/T 2260; the first two are the province), eight of the birth date, three in
//! sequence, and a check character (ISO 7064, MOD 11-2: 0 to 9 or X). The last digit in sequence is
//! odd for men and even for women.

use clap::Args;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{RosterError, WorkerId};
use crate::{
    store::StoreError,
    words::{day, is_blank, words},
};

words! {
    /// The type of an identity document.
    #[derive(Default)]
    pub enum IdType {
        /// The resident identity card, and the residence permit for people of Hong Kong, Macao and
        /// Taiwan, whose number has the same form.
        #[default]
        Resident = "resident",
        Passport = "passport",
        /// The permit with which people of Hong Kong and Macao travel to the mainland.
        HkMacaoPermit = "hk_macao_permit",
        /// The permit with which people of Taiwan travel to the mainland.
        TaiwanPermit = "taiwan_permit",
    }
}

words! {
    pub enum Gender {
        Male = "male",
        Female = "female",
    }
}

/// The sealed data of a person: the document's number and other particulars. It is never printed
/// in full.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub id_type: IdType,
    /// Normalised: half-width, without blanks, letters in upper case.
    pub number: Zeroizing<String>,
    /// Opens the commitment in the enrolment's ledger entry.
    pub salt: [u8; 32],
    #[serde(flatten, default)]
    pub particulars: Particulars,
}

/// Further data of a person. Only admins see it.
#[derive(Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct Particulars {
    /// male or female; not needed with a resident number, which contains it
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gender: Option<Gender>,
    /// Birth date; not needed with a resident number, which contains it
    #[arg(long, value_name = "DATE", value_parser = day)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<Date>,
    /// Phone number: 5 to 20 digits, spaces, - and a leading +; kept encrypted
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The last four digits of the wage account; kept encrypted
    #[arg(long, value_name = "DIGITS")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank_tail: Option<String>,
}

impl Particulars {
    /// Returns the names of the fields that differ.
    pub fn other_than(&self, other: &Particulars) -> Vec<String> {
        let differ = [
            ("gender", self.gender != other.gender),
            ("birth_date", self.birth_date != other.birth_date),
            ("phone", self.phone != other.phone),
            ("bank_tail", self.bank_tail != other.bank_tail),
        ];
        differ.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.into()).collect()
    }
}

impl std::fmt::Debug for Particulars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Particulars(***)")
    }
}

/// The first two digits: provinces, municipalities, autonomous regions (GB/T 2260); 81 to 83 are
/// Hong Kong's, Macao's and Taiwan's. The numbers of permanent residents from abroad (since 2023)
/// begin with a 9 before the province.
const PROVINCES: [&str; 34] = [
    "11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41",
    "42", "43", "44", "45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64", "65", "81",
    "82", "83",
];

impl Identity {
    /// Checks a number by the rules of its type, and the given particulars against it. Reports all
    /// faults. `today` bounds the birth date; it is `None` while the clock is not trusted.
    pub fn checked(
        id_type: IdType,
        number: &str,
        given: Particulars,
        today: Option<Date>,
    ) -> Result<Self, RosterError> {
        let number = normalised(number);
        let mut faults = Vec::new();
        let personal = personal(id_type, &number, &given, today, &mut faults);
        let mut note = |checked: Option<Result<String, RosterError>>| {
            checked.transpose().map_err(|fault| faults.push(fault)).ok().flatten()
        };
        let phone = note(given.phone.as_deref().map(phone));
        let bank_tail = note(given.bank_tail.as_deref().map(bank_tail));
        match faults.pop() {
            None => {}
            Some(only) if faults.is_empty() => return Err(only),
            Some(last) => {
                faults.push(last);
                return Err(RosterError::Several(faults));
            }
        }
        let (birth_date, gender) = personal;
        let particulars = Particulars { gender, birth_date, phone, bank_tail };
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(StoreError::from)?;
        Ok(Identity { id_type, number, salt, particulars })
    }

    /// Returns the plaintext that is sealed.
    pub(super) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, RosterError> {
        let mut plain = Zeroizing::new(Vec::new());
        match ciborium::into_writer(self, &mut *plain) {
            Ok(()) => Ok(plain),
            Err(error) => invalid("id-number", error.to_string()),
        }
    }

    pub(super) fn from_bytes(plain: &[u8]) -> Result<Identity, RosterError> {
        ciborium::from_reader(plain).or_else(|error| invalid("id-number", error.to_string()))
    }

    /// Returns whether both are the same document, by type and number.
    pub fn same_document(&self, other: &Identity) -> bool {
        (self.id_type, &*self.number) == (other.id_type, &*other.number)
    }

    /// Returns the number with stars for all but the last four characters.
    pub fn masked(&self) -> String {
        starred(&self.number)
    }
}

/// Returns a text with stars for all but the last four characters.
pub fn starred(text: &str) -> String {
    let hidden = text.chars().count().saturating_sub(4);
    let tail: String = text.chars().skip(hidden).collect();
    format!("{}{tail}", "*".repeat(hidden))
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.masked())
    }
}

/// Returns the birth date and the gender, from a resident number or as given. Adds the faults of
/// the number, the birth date and the gender.
fn personal(
    id_type: IdType,
    number: &str,
    given: &Particulars,
    today: Option<Date>,
    faults: &mut Vec<RosterError>,
) -> (Option<Date>, Option<Gender>) {
    let mut wrong = |field, problem: String| faults.push(RosterError::Invalid { field, problem });
    if id_type != IdType::Resident {
        if given.birth_date.zip(today).is_some_and(|(born, today)| born > today) {
            wrong("birth-date", "lies in the future".to_owned());
        }
        faults.extend(permit(id_type, number).err());
        return (given.birth_date, given.gender);
    }
    let (birth_date, gender) = match resident(number, today) {
        Ok(in_number) => in_number,
        Err(fault) => {
            faults.push(fault);
            return (None, None);
        }
    };
    let differs = |what| format!("is not the one in the ID number ({what}); check both");
    if contradicts(given.birth_date, birth_date) {
        wrong("birth-date", differs("digits 7 to 14"));
    }
    if contradicts(given.gender, gender) {
        wrong("gender", differs("digit 17 is odd for men, even for women"));
    }
    (Some(birth_date), Some(gender))
}

fn contradicts<T: PartialEq>(given: Option<T>, is: T) -> bool {
    given.is_some_and(|given| given != is)
}

fn invalid<T>(field: &'static str, problem: impl Into<String>) -> Result<T, RosterError> {
    Err(RosterError::Invalid { field, problem: problem.into() })
}

/// Returns a number in upper case, in half width and without blanks. Spreadsheets hold digits of
/// both widths, and people put blanks between the parts of a number.
fn normalised(number: &str) -> Zeroizing<String> {
    let plain = Zeroizing::new(half_width(number));
    let plain = Zeroizing::new(without_blanks(&plain).to_ascii_uppercase());
    Zeroizing::new(with_latin_x(&plain))
}

/// Returns a resident number with a Latin X for a check character that looks like it: Cyrillic,
/// Greek, or the sign of multiplication.
pub(super) fn with_latin_x(number: &str) -> String {
    let mut chars: Vec<char> = number.chars().collect();
    if let [digits @ .., last] = chars.as_mut_slice()
        && digits.len() == 17
        && digits.iter().all(char::is_ascii_digit)
        && matches!(last, 'Х' | 'х' | 'Χ' | 'χ' | '×')
    {
        *last = 'X';
    }
    chars.into_iter().collect()
}

fn half_width(text: &str) -> String {
    let half = |c: char| match c {
        // FF01 to FF5E are ! to ~ in full width.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        other => other,
    };
    text.chars().map(half).collect()
}

pub(super) fn without_blanks(text: &str) -> String {
    text.chars().filter(|c| !is_blank(*c)).collect()
}

/// Checks a resident number. Returns the birth date and the gender in it.
fn resident(number: &str, today: Option<Date>) -> Result<(Date, Gender), RosterError> {
    const FIELD: &str = "id-number";
    let digit = |b: u8| b.is_ascii_digit().then(|| u32::from(b - b'0'));
    let bytes: &[u8] = number.as_bytes();
    if bytes.len() == 15 && bytes.iter().all(u8::is_ascii_digit) {
        return invalid(
            FIELD,
            "has 15 digits, as the cards that expired in 2013; give the 18 digits of today's card",
        );
    }
    let [body @ .., check] = bytes else { return invalid(FIELD, "is missing") };
    let digits: Option<Vec<u32>> = body.iter().map(|b| digit(*b)).collect();
    let check = if *check == b'X' { Some(10) } else { digit(*check) };
    let (Some(digits), Some(check), 17) = (digits, check, body.len()) else {
        let problem = format!(
            "must be 17 digits, and a digit or X at the end; it has {}. In a spreadsheet, format \
             the column as text, because a number cell loses the last digits",
            crate::words::counted(number.chars().count(), "character")
        );
        return invalid(FIELD, problem);
    };
    let region = number.strip_prefix('9').unwrap_or(number);
    if !PROVINCES.iter().any(|p| region.starts_with(p)) {
        return invalid(FIELD, "begins with no region's code; check its first digits");
    }
    let part = |range: std::ops::Range<usize>| number.get(range)?.parse::<i16>().ok();
    let month_and_day = part(10..12).zip(part(12..14));
    let born = part(6..10).zip(month_and_day).and_then(|(year, (month, day))| {
        Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
    });
    let born = match born {
        Some(born) if born.year() >= 1900 && today.is_none_or(|today| born <= today) => born,
        _ => {
            return invalid(FIELD, "holds no birth date in digits 7 to 14; check these digits");
        }
    };
    // ISO 7064, MOD 11-2: the weights are powers of 2, and the weighted sum is 1 mod 11.
    let sum = digits.iter().fold(0, |sum, digit| (sum + digit) * 2 % 11);
    if (sum + check) % 11 != 1 {
        return invalid(FIELD, "does not fit its check digit; check each digit");
    }
    let odd = digits.last().is_some_and(|d| d % 2 == 1);
    Ok((born, if odd { Gender::Male } else { Gender::Female }))
}

/// Returns whether a worker's id is a resident number, or the number of the worker's own document.
/// Such an id is refused, because every record would show the number.
pub fn is_document(id: &WorkerId, identity: &Identity) -> bool {
    let id = normalised(id.as_str());
    id == identity.number || resident(&id, None).is_ok()
}

/// Checks the form of a passport's or permit's number. Passports: 5 to 20 letters and digits. Hong
/// Kong and Macao permits: H or M, and 8 or 10 digits. Taiwan permits: 8 digits, or on old ones 10
/// digits and a letter in brackets; 8 to 12 letters and digits are accepted.
fn permit(id_type: IdType, number: &str) -> Result<(), RosterError> {
    const FIELD: &str = "id-number";
    let plain = number.bytes().all(|b| b.is_ascii_alphanumeric());
    let (fits, form) = match id_type {
        IdType::Resident => (true, ""),
        IdType::Passport => ((5..=20).contains(&number.len()), "5 to 20 letters and digits"),
        IdType::HkMacaoPermit => {
            let digits = number.strip_prefix(['H', 'M']).unwrap_or_default();
            let fits = matches!(digits.len(), 8 | 10) && digits.bytes().all(|b| b.is_ascii_digit());
            (fits, "H or M and 8 or 10 digits")
        }
        IdType::TaiwanPermit => ((8..=12).contains(&number.len()), "8 to 12 letters and digits"),
    };
    if plain && fits { Ok(()) } else { invalid(FIELD, format!("must be {form}")) }
}

fn phone(text: &str) -> Result<String, RosterError> {
    // Each run of blanks becomes one space.
    let parts: Vec<String> =
        text.split_whitespace().map(|p| without_blanks(&half_width(p))).collect();
    let text = parts.join(" ");
    let digits = text.strip_prefix('+').unwrap_or(&text);
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b' ' | b'-'));
    let enough = digits.bytes().filter(u8::is_ascii_digit).count() >= 5;
    if plain && enough && text.len() <= 20 {
        Ok(text)
    } else {
        invalid("phone", "must be 5 to 20 digits, with + - or spaces")
    }
}

fn bank_tail(text: &str) -> Result<String, RosterError> {
    let text = without_blanks(&half_width(text));
    if text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(text)
    } else {
        invalid("bank-tail", "must be exactly the last four digits of the wage account")
    }
}

#[cfg(test)]
pub(crate) mod tests;
