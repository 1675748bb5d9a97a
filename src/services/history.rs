//! Finds the changes in each entry on a worker: old and new values. Pure.
//!
//! An entry has the worker's new data, so the old values come from the entries before it. The
//! ledger is not sealed, so it has no value that is sealed elsewhere. It has a commitment to an ID
//! number, and the fact that a phone number changed.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;

use crate::{
    attendance::{EventRecord, Reckoned},
    ledger::{
        Amendment, Body, Card, Confirmation, ConsentChange, ConsentWhat, Enrolment, Erasure,
        Exemption, Removal, StateChange, Stored, commitment,
    },
    roster::{Erased, Identity, OwnCard, Person, Purpose, State, Terms, WaitsWhat, starred},
};

/// A value that is not shown.
const HIDDEN: &str = "***";
/// A value whose entry is not available: its retention is over, or it is not on the page.
const UNKNOWN: &str = "?";

/// One entry on a worker, with its changes.
#[derive(Clone, Debug, Serialize)]
pub struct RosterChange {
    /// The entry as a platform gets it.
    #[serde(flatten)]
    pub event: EventRecord,
    /// The changed fields.
    pub changes: Vec<Change>,
    /// How the time of the entry is known.
    #[serde(flatten)]
    pub reckoned: Reckoned,
    /// Of a dispute or its withdrawal: the seq of the attendance that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disputed: Option<u64>,
}

/// A change of one field of a worker. A value is `null` where the field was or is not set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The field's name, as in a platform's command.
    pub field: String,
    /// The value before.
    pub from: Value,
    /// The value after.
    pub to: Value,
}

/// The value of a field.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    #[default]
    Null,
    Text(String),
    Count(u32),
}

impl Value {
    fn text(text: impl ToString) -> Value {
        Value::Text(text.to_string())
    }

    fn given(text: &Option<impl ToString>) -> Value {
        text.as_ref().map_or(Value::Null, |text| Value::Text(text.to_string()))
    }
}

/// The worker's data after the entries read so far.
pub(super) struct Past {
    /// The worker's present identity, where it can be opened.
    identity: Option<Identity>,
    fields: Option<Vec<(&'static str, Value)>>,
    state: Value,
    templates: Value,
    id_number: Value,
    /// The worker's present cards, masked, by their keyed hash.
    cards: BTreeMap<[u8; 32], String>,
    /// The forms of the consents to photos, by purpose.
    photos: BTreeMap<String, Value>,
}

impl Past {
    pub(super) fn new(identity: Option<Identity>, cards: &[OwnCard]) -> Past {
        let unknown = || Value::text(UNKNOWN);
        let (state, templates, id_number) = (unknown(), unknown(), Value::text(HIDDEN));
        let photos = BTreeMap::new();
        let cards = cards.iter().map(|card| (card.lookup, card.masked().number)).collect();
        Past { identity, fields: None, state, templates, id_number, cards, photos }
    }

    /// Returns the changes in each of these entries, oldest first.
    pub(super) fn all<'a>(mut self, entries: impl Iterator<Item = &'a Stored>) -> Vec<Vec<Change>> {
        let mut all: Vec<Vec<Change>> = entries.map(|stored| self.next(stored)).collect();
        // The last change of the phone number set the present one.
        let phones = all.iter_mut().flatten().filter(|c| c.field == "phone");
        if let (Some(last), Some(identity)) = (phones.last(), &self.identity) {
            last.to = Value::given(&identity.particulars.phone.as_deref().map(starred));
        }
        all
    }

    /// Returns the changes in the next entry.
    fn next(&mut self, stored: &Stored) -> Vec<Change> {
        let mut changes = Changes(Vec::new());
        match &stored.entry.body {
            Body::Enrolment(entry) => {
                let Enrolment { person, id_type, terms, templates, alike, .. } = entry;
                self.fields = Some(Vec::new());
                (self.state, self.templates, self.id_number) = Default::default();
                self.set_fields(person, terms, &mut changes);
                if let Some(on) = entry.face_withdrawn_on {
                    changes.add("consent", Value::Null, withdrawn(on));
                }
                changes.add("id_type", Value::Null, Value::text(id_type));
                self.document(entry.id_commitment, &mut changes);
                self.templates(*templates, &mut changes);
                let state = entry.waits.map_or(State::Active, |_| State::Pending);
                self.state = Value::text(state.word());
                if state == State::Pending {
                    changes.add("state", Value::Null, self.state.clone());
                }
                if let Some(alike) = alike {
                    changes.add("twin_of", Value::Null, Value::text(&alike.worker));
                }
            }
            Body::Amendment(entry) => {
                let Amendment { person, terms, particulars, faces, alike, .. } = entry;
                self.set_fields(person, terms, &mut changes);
                if let Some(commitment) = entry.id_commitment {
                    self.document(commitment, &mut changes);
                }
                for name in particulars {
                    changes.hidden(name);
                }
                if let Some(faces) = faces {
                    changes.add("photos", Value::Null, Value::text(faces.what));
                    self.templates(faces.templates, &mut changes);
                }
                if entry.waits.is_some() {
                    changes.add("photos", Value::Null, Value::text("waiting"));
                }
                if let Some(alike) = alike {
                    changes.add("twin_of", Value::Null, Value::text(&alike.worker));
                }
            }
            Body::Confirmation(entry) => {
                let Confirmation { what, result, templates, alike, .. } = entry;
                match what {
                    // A worker who is held back as well stays so.
                    WaitsWhat::Worker
                        if [State::Suspended, State::Barred]
                            .map(|held| Value::text(held.word()))
                            .contains(&self.state) => {}
                    WaitsWhat::Worker => {
                        let active = Value::text(State::Active.word());
                        let before = std::mem::replace(&mut self.state, active.clone());
                        changes.add("state", before, active);
                    }
                    WaitsWhat::Faces => {
                        changes.add("photos", Value::Null, Value::text(result.word()));
                        self.templates(*templates, &mut changes);
                    }
                }
                if let Some(alike) = alike {
                    changes.add("twin_of", Value::Null, Value::text(&alike.worker));
                }
            }
            Body::StateChange(StateChange { state, .. }) => {
                let before = std::mem::replace(&mut self.state, Value::text(state.word()));
                changes.add("state", before, Value::text(state.word()));
            }
            Body::Removal(Removal { erased, .. }) => {
                let before = std::mem::replace(&mut self.state, Value::text(State::Removed.word()));
                changes.add("state", before, Value::text(State::Removed.word()));
                self.erased(*erased, &mut changes);
            }
            Body::Card(Card { what, commitment, .. }) => {
                changes.add("card", Value::Null, Value::text(what));
                let number = self.cards.get(commitment);
                if let Some(number) = number {
                    changes.add("card_number", Value::Null, Value::text(number));
                }
            }
            Body::Exemption(Exemption { what, .. }) => {
                changes.add("liveness_exemption", Value::Null, Value::text(what));
            }
            Body::Erasure(Erasure { erased, .. }) => self.erased(*erased, &mut changes),
            Body::ConsentChange(consent) => self.consent(consent, &mut changes),
            _ => {}
        }
        changes.0
    }

    fn set_fields(&mut self, person: &Person, terms: &Terms, changes: &mut Changes) {
        let fields = fields(person, terms);
        for (n, (field, to)) in fields.iter().enumerate() {
            let from = match &self.fields {
                Some(before) => before.get(n).map(|(_, from)| from.clone()).unwrap_or_default(),
                None => Value::text(UNKNOWN),
            };
            // Where the old value is not known, a field that is absent now may have been absent
            // before.
            if self.fields.is_some() || *to != Value::Null {
                changes.add(field, from, to.clone());
            }
        }
        self.fields = Some(fields);
    }

    /// Adds a change of the document. The present document is shown masked; earlier ones are not
    /// known.
    fn document(&mut self, committed: [u8; 32], changes: &mut Changes) {
        let present = self.identity.as_ref().filter(|identity| {
            commitment(&identity.salt, identity.id_type.word(), &identity.number) == committed
        });
        let to = Value::Text(present.map_or_else(|| HIDDEN.to_owned(), Identity::masked));
        let from = std::mem::replace(&mut self.id_number, to.clone());
        changes.0.push(Change { field: "id_number".to_owned(), from, to });
    }

    /// Adds a change of a consent: the number of its form and its day, or its withdrawal.
    fn consent(&mut self, change: &ConsentChange, changes: &mut Changes) {
        let ConsentChange { purpose, what, on, form, erased, .. } = change;
        let (form, to, day) = match what {
            ConsentWhat::Given => (Value::given(form), Value::given(form), Value::text(on)),
            ConsentWhat::Withdrawn => (Value::Null, withdrawn(*on), Value::Null),
        };
        match purpose {
            Purpose::Face => {
                let mut replace = |field, now| {
                    let known = self.fields.iter_mut().flatten().find(|(name, _)| *name == field);
                    known.map_or(Value::text(UNKNOWN), |(_, known)| std::mem::replace(known, now))
                };
                changes.add("consent", replace("consent", form), to);
                changes.add("consent_on", replace("consent_on", day.clone()), day);
            }
            Purpose::Photo(_) => {
                let before = self.photos.insert(purpose.to_string(), form);
                let not_read = || Value::text(UNKNOWN);
                let nothing = || self.fields.as_ref().map_or_else(not_read, |_| Value::Null);
                changes.add(&purpose.to_string(), before.unwrap_or_else(nothing), to);
            }
        }
        if let Some(erased) = erased {
            self.erased(*erased, changes);
        }
    }

    fn erased(&mut self, erased: Erased, changes: &mut Changes) {
        self.templates = Value::Count(erased.templates);
        if erased.photos > 0 {
            changes.add("photos", Value::Null, Value::text("erased"));
        }
        self.templates(0, changes);
    }

    fn templates(&mut self, templates: u32, changes: &mut Changes) {
        let to = Value::Count(templates);
        let from = std::mem::replace(&mut self.templates, to.clone());
        changes.add("templates", from, to);
    }
}

struct Changes(Vec<Change>);

impl Changes {
    fn add(&mut self, field: &str, from: Value, to: Value) {
        if from != to {
            self.0.push(Change { field: field.to_owned(), from, to });
        }
    }

    fn hidden(&mut self, field: &str) {
        let (from, to) = (Value::text(HIDDEN), Value::text(HIDDEN));
        self.0.push(Change { field: field.to_owned(), from, to });
    }
}

/// Returns the value of a consent that was withdrawn.
fn withdrawn(on: Date) -> Value {
    Value::text(format!("withdrawn on {on}"))
}

fn fields(person: &Person, terms: &Terms) -> Vec<(&'static str, Value)> {
    vec![
        ("name", Value::text(&person.name)),
        ("team", Value::text(&person.team)),
        ("contractor", Value::text(&person.contractor)),
        ("trade", Value::text(&person.trade)),
        ("valid_from", Value::given(&terms.valid_from)),
        ("valid_until", Value::given(&terms.valid_until)),
        ("consent", Value::given(&terms.consent)),
        ("consent_on", Value::given(&terms.consent_on)),
        ("contract_signed", Value::given(&terms.contract_signed)),
        ("trained_on", Value::given(&terms.trained_on)),
    ]
}

#[cfg(test)]
mod tests;
