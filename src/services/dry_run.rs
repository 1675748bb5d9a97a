//! Remembers the workers in the dry runs of one client, so that a repeated worker is refused. A dry
//! run changes nothing, so the roster does not have these workers.

use crate::{
    roster::{FaceOnFile, Identity, MOST_WORKERS, Roster, RosterError, WorkerId},
    vision::Template,
};

/// The workers of the dry runs so far.
#[derive(Default)]
pub struct DryRuns(Vec<DryRun>);

struct DryRun {
    id: WorkerId,
    /// The identity of a new worker; `None` for a worker on the roster.
    identity: Option<Identity>,
    templates: Vec<Template>,
}

impl DryRuns {
    /// Adds a worker. Refuses a repeated worker, and a worker beyond the roster's maximum.
    pub(super) fn add(
        &mut self,
        roster: &Roster,
        id: WorkerId,
        identity: Option<&Identity>,
        faces: Vec<FaceOnFile>,
    ) -> Result<(), RosterError> {
        let fresh = self.0.iter().filter(|d| d.identity.is_some());
        for other in fresh.clone().filter(|_| identity.is_some()) {
            if other.id == id {
                return Err(RosterError::IdTaken(id));
            }
            if other.identity.iter().zip(identity).any(|(a, b)| a.same_document(b)) {
                return Err(RosterError::IdentityTaken(other.id.clone()));
            }
        }
        let most = MOST_WORKERS;
        if self.0.len() >= most || roster.workers().len() + fresh.count() >= most {
            return Err(RosterError::Full { most });
        }
        let templates = faces.into_iter().map(|face| face.template).collect();
        self.0.push(DryRun { id, identity: identity.cloned(), templates });
        Ok(())
    }

    /// Returns the other worker with the nearest face, and the score.
    pub(super) fn nearest(&self, id: &WorkerId, face: &Template) -> Option<(WorkerId, f32)> {
        let others = self.0.iter().filter(|d| d.id != *id);
        let scores = others.flat_map(|d| d.templates.iter().map(move |t| (&d.id, t.cosine(face))));
        let nearest = scores.max_by(|a, b| a.1.total_cmp(&b.1));
        nearest.map(|(id, score)| (id.clone(), score))
    }
}

#[cfg(test)]
mod tests;
