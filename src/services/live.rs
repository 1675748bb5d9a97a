//! An enrolment's looks at who stands before a lane's camera.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{Ask, Code, Failure, Hint, Live, Services};
use crate::{
    camera::{Frame, Loan},
    clock::{Clock, Monotonic},
    config::FaceLimits,
    roster::FaceOnFile,
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
const FRAME_TIMEOUT: Duration = Duration::from_millis(200);
/// After this the client hears that no frame comes.
const NO_FRAME: Duration = Duration::from_secs(2);

impl Services {
    /// Borrows a lane's camera until it has seen enough of one face, and says meanwhile what is wrong
    /// with what it sees.
    pub(super) async fn live(
        &self,
        client: mpsc::Sender<Ask>,
        live: &Live,
    ) -> Result<Vec<FaceOnFile>, Failure> {
        let lane = self.lane(&live.lane)?;
        let Some(camera) = lane.cameras.iter().find(|c| c.direction == live.direction) else {
            let problem = format!("lane {} has no camera for {}", live.lane, live.direction);
            return Err(Failure::new(Code::NoCamera, problem));
        };
        let source = camera.source.clone();
        if !camera.state.borrow().connected {
            let problem = format!("the camera {source} is away; see `gatehouse status`");
            return Err(Failure::new(Code::NoCamera, problem));
        }
        let Some(loan) = camera.slot.lend() else {
            let problem = format!("the camera {source} is in use by another enrolment");
            return Err(Failure::new(Code::CameraLent, problem));
        };
        let (vision, limits, clock) = (self.vision.clone(), self.face_limits, self.clock.clone());
        let one_person = self.threshold.cosine();
        // Where the client goes, it ends too: its next hint finds no one.
        let looks = tokio::task::spawn_blocking(move || {
            LiveCapture { loan, vision, limits, one_person, clock, client }.sit()
        });
        let looks = looks.await.map_err(Failure::internal)?.map_err(|hint| {
            let problem = format!("the camera saw no good look at a face: {hint}");
            Failure::new(Code::NoGoodLook, problem)
        })?;
        Ok(looks.into_iter().map(|look| look.face).collect())
    }
}

/// A good look at a face.
struct CapturedFace {
    face: FaceOnFile,
    quality: f32,
    at: Monotonic,
}

/// Somebody before a borrowed camera.
struct LiveCapture {
    loan: Loan,
    vision: Arc<Vision>,
    limits: FaceLimits,
    /// Looks of one sitting are at least so alike: another person's are not kept.
    one_person: f32,
    clock: Arc<dyn Clock>,
    client: mpsc::Sender<Ask>,
}

impl LiveCapture {
    /// The best looks, or what was wrong last.
    fn sit(self) -> Result<Vec<CapturedFace>, String> {
        let begun = self.clock.monotonic();
        let (mut heard, mut last_seen) = (0, begun);
        let (mut looks, mut first_good): (Vec<CapturedFace>, _) = (Vec::new(), None);
        let mut hint = "no frame came".to_owned();
        loop {
            let now = self.clock.monotonic();
            let enough = first_good.is_some_and(|at| now.since(at) > LOOKING);
            if enough || now.since(begun) > SITTING {
                break;
            }
            heard = self.loan.wait(heard, FRAME_TIMEOUT);
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

    fn look(&self, frame: &Frame) -> Result<CapturedFace, String> {
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
        Ok(CapturedFace { face: FaceOnFile { template, jpeg }, quality, at: frame.captured })
    }

    fn alike(&self, a: &CapturedFace, b: &CapturedFace) -> bool {
        a.face.template.cosine(&b.face.template) >= self.one_person
    }

    /// Fails when the client has gone.
    fn tell(&self, good: usize, hint: &str) -> Result<(), String> {
        let hint = Hint { good, wanted: LOOKS, hint: hint.to_owned() };
        self.client
            .blocking_send(Ask::Hint(hint))
            .map_err(|_| "nobody waits for it any more".to_owned())
    }
}

/// Of looks close in time the better one, of all the best.
fn keep(looks: &mut Vec<CapturedFace>, look: CapturedFace) {
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

#[cfg(test)]
mod tests;
