//! Checks that a new face is the face of its worker, and not of another worker.

use super::{DryRuns, Failure, Services, Update, UpdateFaces, asked::Asked, refusal::Refusal};
use crate::{
    ledger::{Alike, Score},
    roster::{self, Advice, FaceOnFile, RosterError, WorkerId},
};

/// Minimum score of two photos of one person, taken under any conditions. Photos of two persons
/// hardly ever reach it.
const LEAST_ALIKE: f32 = 0.3;

impl Services {
    /// Refuses new photos of another person, because that person would pass as the worker and the
    /// worker would be paid for it. Photos that replace the present ones with a reason are
    /// accepted.
    pub(super) fn same_person(
        &self,
        id: &WorkerId,
        faces: &[FaceOnFile],
        update: &Update,
        asked: Asked,
    ) -> Result<(), Failure> {
        let roster = self.roster.borrow().clone();
        let alike = faces.iter().filter_map(|face| roster.likeness(id, &face.template));
        let Some(least) = alike.min_by(f32::total_cmp).filter(|least| *least < LEAST_ALIKE) else {
            return Ok(());
        };
        if update.faces == UpdateFaces::Replace && update.reason.is_some() {
            return Ok(());
        }
        Err(Refusal::AnotherFace { id: id.clone(), score: least, asked }.into())
    }

    /// Returns the other worker with the same face, where this is allowed. Refuses the face where
    /// it is not, because neither of two workers with one face could pass.
    pub(super) fn alike(
        &self,
        id: &WorkerId,
        faces: &[FaceOnFile],
        dry: Option<&DryRuns>,
        allow: Option<String>,
        asked: Asked,
    ) -> Result<Option<Alike>, Failure> {
        let roster = self.roster.borrow().clone();
        let mut nearest: Option<(WorkerId, String, f32)> = None;
        for face in faces {
            let enrolled = roster.nearest_but(&face.template, id).map(|(worker, score)| {
                let person = &worker.person;
                (person.id.clone(), person.name.clone(), score)
            });
            let dry = dry.and_then(|dry| dry.nearest(id, &face.template));
            let dry = dry.map(|(other, score)| (other, "(in this file)".to_owned(), score));
            for found in enrolled.into_iter().chain(dry) {
                if nearest.as_ref().is_none_or(|n| n.2 < found.2) {
                    nearest = Some(found);
                }
            }
        }
        let threshold = self.threshold.in_force(roster.templates()).cosine();
        let Some((worker, name, score)) = nearest.filter(|n| n.2 >= threshold) else {
            return Ok(None);
        };
        match allow {
            Some(reason) => Ok(Some(Alike { worker, score: Score::of(score), reason })),
            None => {
                let (id, other) = (id.clone(), worker);
                Err(Refusal::DuplicateFace { id, other, name, score, asked }.into())
            }
        }
    }

    /// Returns what a worker's photos lack.
    pub(super) fn advice(&self, id: &WorkerId) -> Option<Advice> {
        let roster = self.roster.borrow().clone();
        roster.advice(id, self.threshold.in_force(roster.templates()))
    }

    /// Returns whether a worker's templates equal those of these faces, in order.
    pub(super) async fn has_these(
        &self,
        id: &WorkerId,
        faces: &[FaceOnFile],
    ) -> Result<bool, RosterError> {
        let (sealer, model) = (self.store.sealer().clone(), self.vision.embedder_name().to_owned());
        let asked = id.clone();
        let known =
            self.store.read(move |tx| roster::load_one(tx, &sealer, &model, &asked)).await?;
        let Some((_, known)) = known else { return Ok(false) };
        // The same photo gives the same template, except for rounding.
        let pairs = || known.iter().zip(faces);
        Ok(known.len() == faces.len() && pairs().all(|(a, b)| a.cosine(&b.template) > 0.9999))
    }
}

/// Refuses a photo whose face is not that of the first photo, because another person would then
/// pass as the worker.
pub(super) fn one_person(
    photo: &str,
    face: &FaceOnFile,
    first: Option<&FaceOnFile>,
) -> Result<(), Failure> {
    let alike = first.map_or(1.0, |first| first.template.cosine(&face.template));
    if alike >= LEAST_ALIKE {
        return Ok(());
    }
    Err(Refusal::SeveralPeople { photo: photo.to_owned(), score: alike }.into())
}
