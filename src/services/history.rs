//! What each entry on a worker changed, from what to what: pure.
//!
//! An entry says what a worker is from then on, so what was before stands in the entries before it.
//! The ledger is not sealed, and of what is sealed elsewhere it has no value: of an ID number a
//! commitment, of a phone number that it changed.

use serde::Serialize;

use crate::{
    attendance::EventRecord,
    ledger::{Amendment, Body, Enrolment, Removal, StateChange, Stored, commitment},
    roster::{Identity, Person, State, Terms, starred},
};

/// A value that is not shown.
const HIDDEN: &str = "***";
/// Where the entry that said it is gone: its retention is over, or it is beyond the page.
const UNKNOWN: &str = "?";

/// One entry on a worker, and what it changed.
#[derive(Clone, Debug, Serialize)]
pub struct RosterChange {
    #[serde(flatten)]
    pub event: EventRecord,
    pub changes: Vec<Change>,
    /// The seq of the dispute, of a supplement that does not count any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disputed: Option<u64>,
}

/// One particular of a worker. `null` where there was none, or is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub field: String,
    pub from: Value,
    pub to: Value,
}

/// What a particular is.
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
        let unknown = || Value::text(UNKNOWN);
        let (state, templates, id_number) = (unknown(), unknown(), Value::text(HIDDEN));
        Past { identity, said: None, state, templates, id_number }
    }

    /// What each of these entries changed, oldest first.
    pub(super) fn all<'a>(mut self, entries: impl Iterator<Item = &'a Stored>) -> Vec<Vec<Change>> {
        let mut all: Vec<Vec<Change>> = entries.map(|stored| self.next(stored)).collect();
        // What the last one that changed the phone number made of it is what the worker has.
        let phones = all.iter_mut().flatten().filter(|c| c.field == "phone");
        if let (Some(last), Some(identity)) = (phones.last(), &self.identity) {
            last.to = Value::given(&identity.particulars.phone.as_deref().map(starred));
        }
        all
    }

    /// What the next entry changed.
    fn next(&mut self, stored: &Stored) -> Vec<Change> {
        let mut changes = Changes(Vec::new());
        match &stored.entry.body {
            Body::Enrolment(entry) => {
                let Enrolment { person, id_type, terms, templates, alike, .. } = entry;
                self.said = Some(Vec::new());
                (self.state, self.templates, self.id_number) = Default::default();
                self.say(person, terms, &mut changes);
                changes.add("id_type", Value::Null, Value::text(id_type));
                self.document(entry.id_commitment, &mut changes);
                self.templates(*templates, &mut changes);
                self.state = Value::text(State::Active.word());
                if let Some(alike) = alike {
                    changes.add("twin_of", Value::Null, Value::text(&alike.worker));
                }
            }
            Body::Amendment(entry) => {
                let Amendment { person, terms, particulars, faces, alike, .. } = entry;
                self.say(person, terms, &mut changes);
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
                self.templates = Value::Count(erased.templates);
                if erased.photos > 0 {
                    changes.add("photos", Value::Null, Value::text("erased"));
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
                None => Value::text(UNKNOWN),
            };
            // Of what was before nothing is known: what is absent now need not have been there.
            if self.said.is_some() || *to != Value::Null {
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
        let to = Value::Text(present.map_or_else(|| HIDDEN.to_owned(), Identity::masked));
        let from = std::mem::replace(&mut self.id_number, to.clone());
        changes.0.push(Change { field: "id_number".to_owned(), from, to });
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

fn said(person: &Person, terms: &Terms) -> Vec<(&'static str, Value)> {
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
