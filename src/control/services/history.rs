//! What each entry on a worker changed, from what to what: pure.
//!
//! An entry says what a worker is from then on, so what was before stands in the entries before it.
//! The ledger is not sealed, and of what is sealed elsewhere it has no value: of an ID number a
//! commitment, of a phone number that it changed.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    ledger::{Amendment, Body, Enrolment, Removal, StateChange, Stored, commitment},
    roster::{Identity, Person, State, Terms},
};

/// A value that is not shown.
const HIDDEN: &str = "***";
/// Where the entry that said it is gone: its retention is over, or it is beyond the page.
const UNKNOWN: &str = "?";

/// One particular of a worker. `null` where there was none, or is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Change {
    field: String,
    from: Value,
    to: Value,
}

/// What entries have said so far.
pub(super) struct Past {
    /// Who the worker is now, where that can be opened.
    identity: Option<Identity>,
    said: Option<Vec<(&'static str, Value)>>,
    state: Value,
    templates: Value,
    id_number: Value,
}

impl Past {
    pub(super) fn new(identity: Option<Identity>) -> Past {
        let unknown = || json!(UNKNOWN);
        let (state, templates, id_number) = (unknown(), unknown(), json!(HIDDEN));
        Past { identity, said: None, state, templates, id_number }
    }

    /// What each of these entries changed, oldest first.
    pub(super) fn all<'a>(mut self, entries: impl Iterator<Item = &'a Stored>) -> Vec<Vec<Change>> {
        let mut all: Vec<Vec<Change>> = entries.map(|stored| self.next(stored)).collect();
        // What the last one that changed the phone number made of it is what the worker has.
        let phones = all.iter_mut().flatten().filter(|c| c.field == "phone");
        if let (Some(last), Some(identity)) = (phones.last(), &self.identity) {
            last.to = json!(identity.particulars.phone.as_deref().map(masked));
        }
        all
    }

    /// What the next entry changed.
    fn next(&mut self, stored: &Stored) -> Vec<Change> {
        let mut changes = Changes(Vec::new());
        match &stored.entry.body {
            Body::Enrolment(Enrolment {
                person,
                id_type,
                id_commitment,
                terms,
                templates,
                alike,
                ..
            }) => {
                self.said = Some(Vec::new());
                (self.state, self.templates, self.id_number) = Default::default();
                self.say(person, terms, &mut changes);
                changes.add("id_type", Value::Null, json!(id_type));
                self.document(*id_commitment, &mut changes);
                self.templates(*templates, &mut changes);
                self.state = json!(State::Active);
                if let Some(alike) = alike {
                    changes.add("twin_of", Value::Null, json!(alike.worker));
                }
            }
            Body::Amendment(Amendment {
                person,
                terms,
                id_commitment,
                particulars,
                faces,
                alike,
                ..
            }) => {
                self.say(person, terms, &mut changes);
                if let Some(commitment) = id_commitment {
                    self.document(*commitment, &mut changes);
                }
                for name in particulars {
                    changes.hidden(name);
                }
                if let Some(faces) = faces {
                    changes.add("photos", Value::Null, json!(faces.what));
                    self.templates(faces.templates, &mut changes);
                }
                if let Some(alike) = alike {
                    changes.add("twin_of", Value::Null, json!(alike.worker));
                }
            }
            Body::StateChange(StateChange { state, .. }) => {
                let before = std::mem::replace(&mut self.state, json!(state));
                changes.add("state", before, json!(state));
            }
            Body::Removal(Removal { erased, .. }) => {
                let before = std::mem::replace(&mut self.state, json!(State::Removed));
                changes.add("state", before, json!(State::Removed));
                self.templates = json!(erased.templates);
                if erased.photos > 0 {
                    changes.add("photos", Value::Null, json!("erased"));
                }
                self.templates(0, &mut changes);
            }
            _ => {}
        }
        changes.0
    }

    fn say(&mut self, person: &Person, terms: &Terms, changes: &mut Changes) {
        let said = said(person, terms);
        for (n, (field, to)) in said.iter().enumerate() {
            let from = match &self.said {
                Some(before) => before.get(n).map(|(_, from)| from.clone()).unwrap_or_default(),
                None => json!(UNKNOWN),
            };
            // Of what was before nothing is known: what is absent now need not have been there.
            if self.said.is_some() || !to.is_null() {
                changes.add(field, from, to.clone());
            }
        }
        self.said = Some(said);
    }

    /// The document that the worker has now is shown as everywhere; an earlier one is not known.
    fn document(&mut self, committed: [u8; 32], changes: &mut Changes) {
        let present = self.identity.as_ref().filter(|identity| {
            commitment(&identity.salt, identity.id_type.word(), &identity.number) == committed
        });
        let to = json!(present.map_or_else(|| HIDDEN.to_owned(), Identity::masked));
        let from = std::mem::replace(&mut self.id_number, to.clone());
        changes.0.push(Change { field: "id_number".to_owned(), from, to });
    }

    fn templates(&mut self, templates: u32, changes: &mut Changes) {
        let to = json!(templates);
        let from = std::mem::replace(&mut self.templates, to.clone());
        changes.add("templates", from, to);
    }
}

/// The last four characters, behind stars.
fn masked(text: &str) -> String {
    let hidden = text.chars().count().saturating_sub(4);
    let tail: String = text.chars().skip(hidden).collect();
    format!("{}{tail}", "*".repeat(hidden))
}

struct Changes(Vec<Change>);

impl Changes {
    fn add(&mut self, field: &str, from: Value, to: Value) {
        if from != to {
            self.0.push(Change { field: field.to_owned(), from, to });
        }
    }

    fn hidden(&mut self, field: &str) {
        let (from, to) = (json!(HIDDEN), json!(HIDDEN));
        self.0.push(Change { field: field.to_owned(), from, to });
    }
}

fn said(person: &Person, terms: &Terms) -> Vec<(&'static str, Value)> {
    vec![
        ("name", json!(person.name)),
        ("team", json!(person.team)),
        ("contractor", json!(person.contractor)),
        ("trade", json!(person.trade)),
        ("valid_from", json!(terms.valid_from)),
        ("valid_until", json!(terms.valid_until)),
        ("consent", json!(terms.consent)),
        ("consent_on", json!(terms.consent_on)),
        ("contract_signed", json!(terms.contract_signed)),
        ("trained_on", json!(terms.trained_on)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{BootId, Stamp},
        ledger::{Actor, Alike, Entry, FacesChanged, FacesWhat, LedgerId, Score, Via},
        roster::{Erased, IdType, Particulars},
    };
    use jiff::civil::date;

    const ID: &str = "522201199003074411";

    fn by() -> Actor {
        Actor { uid: 0, user: "root".into(), via: Via::Socket }
    }

    fn person(team: &str) -> Person {
        let text = |text: &str| text.to_owned();
        let (name, trade) = (text("刘峰"), text("steel fixer"));
        let id = "W001".parse().unwrap();
        Person { id, name, team: team.into(), contractor: text("Fuding"), trade }
    }

    fn stored(body: impl Into<Body>) -> Stored {
        let stamp = Stamp { wall_ms: 0, synced: true, boot: BootId([0; 16]), uptime_ms: 0 };
        let (salt, ledger) = ([0; 16], LedgerId([0; 16]));
        let (body, ran_s, unknown) = (body.into(), 0, Vec::new());
        let entry = Entry { salt, ledger, index: 0, seq: Some(1), stamp, ran_s, body, unknown };
        Stored { entry, leaf: [0; 32] }
    }

    fn enrolment(identity: &Identity) -> Body {
        let enrolment = Enrolment {
            person: person("钢筋一班"),
            id_type: "resident".into(),
            id_commitment: commitment(&identity.salt, "resident", &identity.number),
            terms: Terms { valid_until: Some(date(2026, 12, 31)), ..Terms::default() },
            model: "x".into(),
            templates: 2,
            alike: None,
            by: by(),
        };
        enrolment.into()
    }

    fn amendment(team: &str, terms: Terms) -> Amendment {
        Amendment {
            person: person(team),
            terms,
            id_commitment: None,
            particulars: Vec::new(),
            faces: None,
            alike: None,
            reason: None,
            by: by(),
        }
    }

    fn shown(changes: &[Change]) -> Vec<String> {
        changes.iter().map(|c| format!("{} {} {}", c.field, c.from, c.to)).collect()
    }

    #[test]
    fn each_entry_says_what_it_changed_from_what_to_what() {
        let identity =
            Identity::checked(IdType::Resident, ID, Particulars::default(), None).unwrap();
        let mut past = Past::new(Some(identity.clone()));
        let mut next = |body: Body| shown(&past.next(&stored(body)));
        assert_eq!(
            next(enrolment(&identity)),
            [
                "name null \"刘峰\"",
                "team null \"钢筋一班\"",
                "contractor null \"Fuding\"",
                "trade null \"steel fixer\"",
                "valid_until null \"2026-12-31\"",
                "id_type null \"resident\"",
                "id_number null \"**************4411\"",
                "templates null 2",
            ]
        );
        let terms = Terms { consent: Some("C-2".into()), ..Terms::default() };
        assert_eq!(
            next(amendment("木工班", terms.clone()).into()),
            [
                "team \"钢筋一班\" \"木工班\"",
                "valid_until \"2026-12-31\" null",
                "consent null \"C-2\"",
            ]
        );
        let model = || "x".to_owned();
        let faces = Some(FacesChanged { what: FacesWhat::Added, model: model(), templates: 3 });
        let alike = Alike { worker: "W002".parse().unwrap(), score: Score(0), reason: model() };
        let hidden = Amendment {
            id_commitment: Some([1; 32]),
            particulars: vec!["phone".into()],
            faces,
            alike: Some(alike),
            ..amendment("木工班", terms)
        };
        assert_eq!(
            next(hidden.into()),
            [
                "id_number \"**************4411\" \"***\"",
                "phone \"***\" \"***\"",
                "photos null \"added\"",
                "templates 2 3",
                "twin_of null \"W002\"",
            ]
        );
        let worker = || "W001".parse().unwrap();
        let state = |state| {
            StateChange { worker: worker(), state, reason: "no helmet".into(), by: by() }.into()
        };
        assert_eq!(next(state(State::Suspended)), ["state \"active\" \"suspended\""]);
        assert_eq!(next(state(State::Active)), ["state \"suspended\" \"active\""]);
        let erased = Erased { templates: 3, photos: 3 };
        let removal = Removal { worker: worker(), reason: None, erased, by: by() };
        assert_eq!(
            next(removal.into()),
            ["state \"active\" \"removed\"", "photos null \"erased\"", "templates 3 0"]
        );
    }

    #[test]
    fn the_present_phone_number_is_shown_masked_where_it_was_set() {
        let phone = Particulars { phone: Some("13900139000".into()), ..Particulars::default() };
        let identity = Identity::checked(IdType::Resident, ID, phone, None).unwrap();
        let changed = |names: &[&str]| {
            let particulars = names.iter().map(|name| (*name).to_owned()).collect();
            stored(Amendment { particulars, ..amendment("x", Terms::default()) })
        };
        let entries = [stored(enrolment(&identity)), changed(&["phone"]), changed(&["phone"])];
        let told = |entries: &[Stored]| Past::new(Some(identity.clone())).all(entries.iter());
        let all = told(&entries);
        assert_eq!(shown(&all[1]).last().unwrap(), "phone \"***\" \"***\"");
        assert_eq!(shown(&all[2]), ["phone \"***\" \"*******9000\""]);
    }

    #[test]
    fn where_earlier_entries_are_gone_what_was_before_is_unknown() {
        let mut past = Past::new(None);
        let mut next = |body: Body| shown(&past.next(&stored(body)));
        let first = next(amendment("木工班", Terms::default()).into());
        assert_eq!(first[1], "team \"?\" \"木工班\"");
        assert_eq!(first.len(), 4, "{first:?}");
    }
}
