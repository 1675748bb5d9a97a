//! Checks that a new face is the face of its worker, and not of another worker.

use super::{DryRuns, Failure, Services, asked::Asked, refusal::Refusal};
use crate::{
    ledger::{Alike, Compared, Score},
    roster::{
        self, Advice, FaceOnFile, OnFile, RosterError, WorkerId,
        anchor::{Anchor, Verdict},
    },
    vision::Template,
};

/// Minimum score of two photos of one person, taken under any conditions. A reason does not help
/// photos below it, unless they replace all others.
const LEAST_ALIKE: f32 = 0.3;

impl Services {
    /// Returns how new faces of a worker are taken. Refuses those of another person, because that
    /// person would pass as the worker and the worker would be paid for it.
    pub(super) fn same_person(
        &self,
        id: &WorkerId,
        anchor: &Anchor,
        faces: &[FaceOnFile],
        (asked, reason): (Asked, bool),
        adds: bool,
    ) -> Result<Taken, Failure> {
        let templates: Vec<_> = faces.iter().map(|face| face.template.clone()).collect();
        let first = !matches!(anchor, Anchor::Templates(_));
        let threshold = self.threshold_in_force().cosine();
        let (waits, word) = match anchor.judge(&templates, threshold, asked.voucher(reason)) {
            Verdict::Alike => (false, None),
            Verdict::Waits => (true, None),
            // Beside the present photos, another person would pass as well as the worker.
            Verdict::OnAPersonsWord(Some(score)) if adds && !first && score < LEAST_ALIKE => {
                return Err(Refusal::AnotherFaceAdded { id: id.clone(), score }.into());
            }
            Verdict::OnAPersonsWord(score) => (false, Some(score)),
            Verdict::Refused(score) if *anchor == Anchor::None => {
                return Err(Refusal::LittleAlike { score, threshold, asked }.into());
            }
            Verdict::Refused(score) => {
                return Err(Refusal::AnotherFace { id: id.clone(), score, threshold, asked }.into());
            }
        };
        let anchor = first || (!adds && word.is_some());
        Ok(Taken { anchor, waits, compared: word.map(Compared::of) })
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
        let threshold = self.threshold.in_force(roster.confirmed_templates()).cosine();
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
        roster.advice(id, self.threshold.in_force(roster.confirmed_templates()))
    }

    /// Returns a worker's templates.
    pub(super) async fn on_file(&self, id: &WorkerId) -> Result<OnFile, RosterError> {
        let (sealer, model) = (self.store.sealer().clone(), self.vision.embedder_name().to_owned());
        let asked = id.clone();
        self.store.read(move |tx| roster::on_file(tx, &sealer, &model, &asked)).await
    }
}

/// How new faces of a worker are taken.
pub(super) struct Taken {
    /// They become the anchor.
    pub(super) anchor: bool,
    /// They wait for a person at the site.
    pub(super) waits: bool,
    /// They were taken on a person's word.
    pub(super) compared: Option<Compared>,
}

/// Returns whether a worker's templates equal those of these faces, in order.
pub(super) fn are_these(known: &[Template], faces: &[FaceOnFile]) -> bool {
    // The same photo gives the same template, except for rounding.
    let mut pairs = known.iter().zip(faces);
    known.len() == faces.len() && pairs.all(|(a, b)| a.cosine(&b.template) > 0.9999)
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
