//! An enrolment's looks at a face: from photos, or live from a lane's camera.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{Failure, Refusal, Services, Source, to_json};
use crate::{
    camera::{Frame, Loan},
    clock::{Clock, Monotonic},
    config::FaceLimits,
    control::protocol::{
        AmendFaces, Hint, Live, PHOTO_MAX, PHOTOS_MAX, Photo, Reply, Wire, WireError, patient,
    },
    failpoint,
    roster::{FaceOnFile, Worker},
    vision::{PhotoError, View, Vision, portrait},
};

/// Good looks that a sitting keeps, the best of those it had.
const LOOKS: usize = 3;
/// Looks less apart than this are one.
const APART: Duration = Duration::from_millis(400);
/// From the first good look: better ones may follow.
const LOOKING: Duration = Duration::from_secs(3);
/// The longest that a camera is lent.
const SITTING: Duration = Duration::from_secs(20);
const FRAME_PATIENCE: Duration = Duration::from_millis(200);
/// Whoever waits is told after this that no frame comes.
const NO_FRAME: Duration = Duration::from_secs(2);
/// Hints on their way to the client; the sitting waits.
const HINTS: usize = 4;
/// Photos of one person are further alike than this, however they were taken; of two, hardly ever.
pub(super) const LEAST_ALIKE: f32 = 0.3;

impl Services {
    /// The faces on the photos announced, or those that a lane's camera sees now. None where neither
    /// is given.
    pub(super) async fn faces(
        &self,
        source: &mut Source<'_>,
        photos: &[Photo],
        live: Option<&Live>,
    ) -> Result<Vec<FaceOnFile>, Refusal> {
        if photos.len() > PHOTOS_MAX || (live.is_some() && !photos.is_empty()) {
            let problem =
                format!("give 1 to {PHOTOS_MAX} photos, or a lane whose camera to look through");
            return Err(Failure::new("invalid", problem).into());
        }
        match (live, &mut *source) {
            (Some(live), Source::Client(wire)) => return self.live(wire, live).await,
            (Some(_), Source::Here(_)) => {
                let problem = "a lane's camera is for who stands at the gateway: give photos";
                return Err(Failure::new("invalid", problem).into());
            }
            (None, _) => {}
        }
        let mut faces = Vec::new();
        for (number, photo) in photos.iter().enumerate() {
            let bytes = source.photo(number, photo).await?;
            failpoint::at("enrolment.received");
            let face = self.face(&photo.name, bytes).await?;
            failpoint::at("enrolment.examined");
            one_person(&photo.name, &face, faces.first())?;
            faces.push(face);
        }
        Ok(faces)
    }

    /// More templates than a worker may have.
    pub(super) fn too_many(
        &self,
        worker: &Worker,
        how: &AmendFaces,
        more: &[FaceOnFile],
    ) -> Option<Failure> {
        let then = worker.templates as usize + more.len();
        (*how == AmendFaces::Add && then > PHOTOS_MAX).then(|| {
            let problem = format!(
                "worker {} would have {then} photos, and {PHOTOS_MAX} is the most: replace them",
                worker.person.id
            );
            Failure::new("invalid", problem)
        })
    }

    /// The face of one photo, found and judged off the async threads.
    async fn face(&self, name: &str, bytes: Vec<u8>) -> Result<FaceOnFile, Refusal> {
        let _one_at_a_time = self.examining.lock().await;
        let (vision, limits) = (self.vision.clone(), self.face_limits);
        let found = tokio::task::spawn_blocking(move || {
            let (image, face, template, _) = vision.face_for_enrolment(&bytes, &limits)?;
            Ok::<_, PhotoError>((portrait(&image, &face), template))
        })
        .await
        .map_err(|e| Failure::new("internal", e))?;
        let code = |e: &PhotoError| match e {
            PhotoError::Unreadable { .. } => "photo_unreadable",
            PhotoError::NoFace => "no_face",
            PhotoError::SeveralFaces { .. } => "several_faces",
            PhotoError::FaceTooSmall { .. } => "face_too_small",
            PhotoError::Poor { flaw } => flaw.word(),
            PhotoError::Vision { .. } => "vision",
        };
        let (jpeg, template) = found.map_err(|e| Failure::new(code(&e), format!("{name}: {e}")))?;
        let jpeg = jpeg.map_err(|e| Failure::new("internal", format!("{name}: {e}")))?;
        Ok(FaceOnFile { template, jpeg })
    }

    /// Borrows a lane's camera until it has seen enough of one face, and says meanwhile what is wrong
    /// with what it sees.
    async fn live(&self, wire: &mut Wire, live: &Live) -> Result<Vec<FaceOnFile>, Refusal> {
        let lane = self.lane(&live.lane)?;
        let Some(camera) = lane.cameras.iter().find(|c| c.direction == live.direction) else {
            let problem = format!("lane {} has no camera for {}", live.lane, live.direction);
            return Err(Failure::new("no_camera", problem).into());
        };
        let source = camera.source.clone();
        if !camera.state.borrow().connected {
            let problem = format!("the camera {source} is away; see `gatehouse status`");
            return Err(Failure::new("no_camera", problem).into());
        }
        let Some(loan) = camera.slot.lend() else {
            let problem = format!("the camera {source} is in use by another enrolment");
            return Err(Failure::new("camera_lent", problem).into());
        };
        let (hints, mut told) = mpsc::channel(HINTS);
        let (vision, limits, clock) = (self.vision.clone(), self.face_limits, self.clock.clone());
        let one_person = self.threshold.cosine();
        let sitting = tokio::task::spawn_blocking(move || {
            Sitting { loan, vision, limits, one_person, clock, hints }.sit()
        });
        // Ends when the sitting does, or with the client: then nobody takes the hints any more.
        while let Some(hint) = told.recv().await {
            patient(wire.send_json(&Reply::Item(to_json(&hint)?))).await?;
        }
        let looks = sitting.await.map_err(|e| Failure::new("internal", e))?;
        let looks = looks.map_err(|hint| {
            let problem = format!("the camera saw no good look at a face: {hint}");
            Failure::new("no_good_look", problem)
        })?;
        Ok(looks.into_iter().map(|look| look.face).collect())
    }
}

/// A good look at a face.
struct Look {
    face: FaceOnFile,
    quality: f32,
    at: Monotonic,
}

/// Somebody before a borrowed camera.
struct Sitting {
    loan: Loan,
    vision: Arc<Vision>,
    limits: FaceLimits,
    /// Looks of one sitting are at least so alike: another person's are not kept.
    one_person: f32,
    clock: Arc<dyn Clock>,
    hints: mpsc::Sender<Hint>,
}

impl Sitting {
    /// The best looks, or what was wrong last.
    fn sit(self) -> Result<Vec<Look>, String> {
        let begun = self.clock.monotonic();
        let (mut heard, mut last_seen) = (0, begun);
        let (mut looks, mut first_good): (Vec<Look>, _) = (Vec::new(), None);
        let mut hint = "no frame came".to_owned();
        loop {
            let now = self.clock.monotonic();
            let enough = first_good.is_some_and(|at| now.since(at) > LOOKING);
            if enough || now.since(begun) > SITTING {
                break;
            }
            heard = self.loan.wait(heard, FRAME_PATIENCE);
            let Some(frame) = self.loan.take() else {
                if now.since(last_seen) > NO_FRAME {
                    hint = "no frame comes from the camera".to_owned();
                    self.tell(looks.len(), &hint)?;
                    last_seen = now;
                }
                continue;
            };
            last_seen = now;
            match self.look(&frame) {
                Err(wrong) => hint = wrong,
                Ok(look) if looks.first().is_some_and(|first| !self.alike(first, &look)) => {
                    // Of several people none is meant.
                    looks.clear();
                    first_good = None;
                    hint = "it is another face than before: one person, please".to_owned();
                }
                Ok(look) => {
                    hint.clear();
                    first_good.get_or_insert(now);
                    keep(&mut looks, look);
                }
            }
            self.tell(looks.len(), &hint)?;
        }
        if looks.is_empty() { Err(hint) } else { Ok(looks) }
    }

    fn look(&self, frame: &Frame) -> Result<Look, String> {
        let examine = || {
            let view = View::new(&frame.picture)?;
            let (width, height) = view.size();
            let image = view.for_detection(width.max(height))?.into_image();
            let (image, face, template, quality) = self.vision.face_alone(image, &self.limits)?;
            Ok::<_, PhotoError>((portrait(&image, &face), template, quality.score))
        };
        let (jpeg, template, quality) = examine().map_err(|e| match e {
            PhotoError::NoFace => "no face: step before the camera".to_owned(),
            PhotoError::SeveralFaces { .. } => "two faces: one person, please".to_owned(),
            PhotoError::FaceTooSmall { .. } => "move closer".to_owned(),
            PhotoError::Poor { flaw } => format!("{}: {}", flaw.word(), flaw.remedy()),
            PhotoError::Unreadable(e) => format!("the camera's picture cannot be read: {e}"),
            PhotoError::Vision(e) => format!("the picture could not be examined: {e}"),
        })?;
        let jpeg = jpeg.map_err(|e| e.to_string())?;
        Ok(Look { face: FaceOnFile { template, jpeg }, quality, at: frame.captured })
    }

    fn alike(&self, a: &Look, b: &Look) -> bool {
        a.face.template.cosine(&b.face.template) >= self.one_person
    }

    /// Fails where nobody listens any more.
    fn tell(&self, good: usize, hint: &str) -> Result<(), String> {
        let hint = Hint { good, wanted: LOOKS, hint: hint.to_owned() };
        self.hints.blocking_send(hint).map_err(|_| "nobody waits for it any more".to_owned())
    }
}

/// Of looks close in time the better one, of all the best.
fn keep(looks: &mut Vec<Look>, look: Look) {
    if let Some(last) = looks.last_mut().filter(|last| look.at.since(last.at) < APART) {
        if last.quality < look.quality {
            *last = look;
        }
        return;
    }
    looks.push(look);
    if looks.len() > LOOKS {
        let worst = (0..looks.len()).min_by(|a, b| looks[*a].quality.total_cmp(&looks[*b].quality));
        worst.map(|worst| looks.remove(worst));
    }
}

/// A face that is not that of the first photo would let neither through.
fn one_person(photo: &str, face: &FaceOnFile, first: Option<&FaceOnFile>) -> Result<(), Failure> {
    let alike = first.map_or(1.0, |first| first.template.cosine(&face.template));
    if alike >= LEAST_ALIKE {
        return Ok(());
    }
    let problem = format!(
        "{photo}: the face is not that of the first photo (score {alike:.2}); all photos must show \
         the same worker"
    );
    Err(Failure::new("several_people", problem))
}

impl Source<'_> {
    /// One announced photo, in the order announced.
    async fn photo(&mut self, number: usize, photo: &Photo) -> Result<Vec<u8>, Refusal> {
        match self {
            Source::Client(wire) => receive_photo(wire, number, photo).await,
            Source::Here(photos) => {
                let there = photos.get_mut(number).map(std::mem::take);
                let missing = || Failure::new("internal", format!("{} is not there", photo.name));
                there.ok_or_else(missing).map_err(Refusal::from)
            }
        }
    }
}

/// Asks for one announced photo and takes it in, piece by piece.
async fn receive_photo(wire: &mut Wire, number: usize, photo: &Photo) -> Result<Vec<u8>, Refusal> {
    let size = usize::try_from(photo.bytes).unwrap_or(usize::MAX);
    if size > PHOTO_MAX {
        let problem = format!(
            "{}: {} MiB; a photo has at most {} MiB, scale it down",
            photo.name,
            photo.bytes >> 20,
            PHOTO_MAX >> 20
        );
        return Err(Failure::new("photo_too_large", problem).into());
    }
    patient(wire.send_json(&Reply::Send(number))).await?;
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        let piece = patient(wire.receive_piece()).await?;
        if piece.is_empty() || piece.len() > size - bytes.len() {
            return Err(WireError::Malformed("a photo's piece".to_owned()).into());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::{TEMPLATE_LEN, Template};

    #[test]
    fn of_many_looks_the_best_stay_and_they_lie_apart() {
        let mut axis = [0.0; TEMPLATE_LEN];
        axis[0] = 1.0;
        let look = |ms: u64, quality: f32| {
            let face = FaceOnFile { template: Template::from_slice(&axis).unwrap(), jpeg: vec![] };
            Look { face, quality, at: Monotonic::from_millis(ms) }
        };
        let mut looks = Vec::new();
        for (ms, quality) in
            [(0, 0.5), (100, 0.6), (200, 0.4), (600, 0.2), (1100, 0.8), (1600, 0.7), (1700, 0.1)]
        {
            keep(&mut looks, look(ms, quality));
        }
        let kept: Vec<_> = looks.iter().map(|l| (l.at.as_millis(), l.quality)).collect();
        assert_eq!(kept, [(100, 0.6), (1100, 0.8), (1600, 0.7)]);
    }
}
