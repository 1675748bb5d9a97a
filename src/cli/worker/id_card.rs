//! Reads a resident identity card for an enrolment, so that no one types its data.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::bail;
use jiff::civil::Date;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::SystemClock,
    config::Direction,
    reader::{self, CardFormat, Heard, IdCard, Reader, ReaderDriver, WithFace},
    roster::{Gender, IdType, Particulars},
};

/// Timeout for a card on the reader.
const CARD_WITHIN: Duration = Duration::from_secs(30);

/// Reads the card on the reader at this port.
pub(super) async fn read(port: PathBuf) -> anyhow::Result<IdCard> {
    let shown = port.display().to_string();
    let reader = Reader {
        name: "enrolment".to_owned(),
        direction: Direction::Entry,
        driver: ReaderDriver::IdCard,
        port,
        baud: None,
        card_format: CardFormat::default(),
        accept: None,
        with_face: WithFace::Off,
    };
    let cancel = CancellationToken::new();
    let _end = cancel.clone().drop_guard();
    let (mut readings, mut state) = reader::spawn(&reader, Arc::new(SystemClock::new()?), cancel);
    eprintln!("lay the worker's identity card on the reader at {shown}");
    let mut over = std::pin::pin!(tokio::time::sleep(CARD_WITHIN));
    let mut unreadable = 0;
    loop {
        tokio::select! {
            () = &mut over => {
                bail!("no identity card was read at {shown} within {} s", CARD_WITHIN.as_secs())
            }
            Some(reading) = readings.recv() => {
                if let Heard::IdCard(card) = reading.heard {
                    return Ok(*card);
                }
            }
            Ok(()) = state.changed() => {
                let now = state.borrow_and_update().clone();
                if let Some(error) = now.error.filter(|_| !now.connected) {
                    bail!("{error}");
                }
                if now.unreadable > unreadable && let Some((what, _)) = now.last_unreadable {
                    unreadable = now.unreadable;
                    eprintln!("not read: {what}");
                }
            }
        }
    }
}

/// Fills in what the card says. An option that says something else is refused. The daemon compares
/// gender and birth date with the number.
pub(super) fn fill(
    card: &IdCard,
    id_type: IdType,
    (name, id_number): (&mut Option<String>, &mut Option<String>),
    particulars: &mut Particulars,
) -> anyhow::Result<()> {
    if id_type != IdType::Resident {
        bail!(
            "--id-type {id_type}: the reader reads resident identity cards; leave one of the two out"
        );
    }
    let gender = match card.sex.as_str() {
        "1" => Some(Gender::Male),
        "2" => Some(Gender::Female),
        _ => None,
    };
    let birth_date = Date::strptime("%Y%m%d", &card.birth).ok();
    if card.name.is_empty() || card.number.is_empty() {
        bail!("the card has no name or no number; clean it and try again");
    }
    let conflicts = [
        ("--name", name.as_ref().is_some_and(|given| bare(given) != bare(&card.name))),
        ("--id-number", id_number.as_ref().is_some_and(|given| bare(given) != bare(&card.number))),
        ("--gender", particulars.gender.is_some_and(|given| Some(given) != gender)),
        ("--birth-date", particulars.birth_date.is_some_and(|given| Some(given) != birth_date)),
    ];
    let named: Vec<_> = conflicts.iter().filter(|(_, differs)| *differs).map(|(f, _)| *f).collect();
    if !named.is_empty() {
        bail!(
            "{} not as on the card; leave out what the card says, or lay the worker's own card on the \
             reader",
            named.join(", ")
        );
    }
    (*name, *id_number) = (Some(card.name.clone()), Some(card.number.clone()));
    (particulars.gender, particulars.birth_date) = (gender, birth_date);
    Ok(())
}

/// Returns a text without blanks, in upper case.
fn bare(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> IdCard {
        IdCard {
            name: "刘峰".into(),
            sex: "1".into(),
            birth: "19900307".into(),
            number: "52220119900307441x".into(),
            until: "20360101".into(),
        }
    }

    type Given = (Option<String>, Option<String>, Particulars);

    fn filled(mut given: Given, id_type: IdType) -> Result<Given, String> {
        let (name, number, particulars) = &mut given;
        let done = fill(&card(), id_type, (name, number), particulars);
        done.map(|()| given).map_err(|error| error.to_string())
    }

    #[test]
    fn a_card_fills_in_what_is_not_given_and_agrees_with_what_is() {
        let born = Some(jiff::civil::date(1990, 3, 7));
        let all =
            Particulars { gender: Some(Gender::Male), birth_date: born, ..Particulars::default() };
        let none = (None, None, Particulars::default());
        let same = (Some("刘 峰".into()), Some("52220119900307441X".into()), all.clone());
        for given in [none, same] {
            let (name, number, particulars) = filled(given, IdType::Resident).unwrap();
            assert_eq!(name.as_deref(), Some("刘峰"));
            assert_eq!(number.as_deref(), Some("52220119900307441x"));
            assert!(particulars == all);
        }
    }

    #[test]
    fn what_is_given_and_differs_is_named_without_the_cards_data() {
        let born = Some(jiff::civil::date(1990, 3, 8));
        let (gender, birth_date) = (Some(Gender::Female), born);
        let particulars = Particulars { gender, birth_date, ..Particulars::default() };
        let given = (Some("刘锋".into()), Some("1".into()), particulars);
        let told = filled(given, IdType::Resident).err().unwrap();
        assert!(
            told.starts_with("--name, --id-number, --gender, --birth-date not as on"),
            "{told}"
        );
        assert!(!told.contains("5222") && !told.contains("刘峰"), "{told}");
        let none = (None, None, Particulars::default());
        assert!(filled(none, IdType::Passport).err().unwrap().contains("--id-type passport"));
    }
}
