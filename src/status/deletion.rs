//! The troubles of what is deleted by date.

use super::{attention::Attention, part::Part, remedy::Remedy};
use crate::{ledger::DeletedWhat, services::Deletions};

/// Returns what is deleted by date, and adds its troubles.
pub(super) fn deletions(attention: &mut Attention<'_>) -> Deletions {
    let services = attention.services;
    let state = services.deletions.borrow().clone();
    // Photos are over each day. Only what is over once, and stays, is a trouble.
    let held_back = state.held_back.iter().copied().filter(|what| *what != DeletedWhat::Photos);
    for what in held_back {
        let remedy = Remedy::HeldBack { what, support: state.date };
        attention.add(Part::Deletion, services.started, remedy);
    }
    if let Some(last) = state.no_passage_since {
        attention.add(Part::Deletion, services.started, Remedy::NoPassage { last });
    }
    for kept in &state.not_erased {
        let remedy = Remedy::NotErased { place: &kept.place, error: &kept.error };
        attention.add(Part::Database, services.started, remedy);
    }
    state
}
