//! Takes an enrolment's photos with a lane's camera.
//!
//! In: frames of a borrowed camera. Out: the best faces, and hints for the person in front of the
//! camera. Touches: the camera's frame slot, which the gate does not get meanwhile.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{Ask, Failure, Hint, Live, Services, refusal::Refusal};
use crate::{
    camera::{Frame, Loan},
    clock::{Clock, Monotonic},
    config::FaceLimits,
    memory::Memory,
    roster::FaceOnFile,
    vision::{PhotoError, View, Vision, portrait},
};

/// Maximum number of faces that a live capture keeps: the best ones.
const CAPTURES: usize = 3;
/// Minimum interval between two faces that are kept.
const INTERVAL: Duration = Duration::from_millis(400);
/// Time for better faces after the first good one.
const AFTER_FIRST: Duration = Duration::from_secs(3);
/// Maximum time for which a camera is lent.
const LOAN_TIMEOUT: Duration = Duration::from_secs(20);
/// Timeout for one wait for a frame.
const FRAME_TIMEOUT: Duration = Duration::from_millis(200);
/// Time without a frame after which the client gets a hint.
const NO_FRAME: Duration = Duration::from_secs(2);

impl Services {
    /// Borrows a lane's camera until it has enough good pictures of one face. Meanwhile it sends
    /// the client hints on the faults of the pictures.
    pub(super) async fn live(
        &self,
        client: mpsc::Sender<Ask>,
        live: &Live,
    ) -> Result<Vec<FaceOnFile>, Failure> {
        let lane = self.lane(&live.lane)?;
        let Some(camera) = lane.cameras.iter().find(|c| c.direction == live.direction) else {
            let (lane, direction) = (live.lane.clone(), live.direction);
            return Err(Refusal::NoCamera { lane, direction }.into());
        };
        let source_name = camera.source.clone();
        if !camera.state.borrow().connected {
            return Err(Refusal::CameraDown { source_name }.into());
        }
        let Some(loan) = camera.slot.lend() else {
            return Err(Refusal::CameraLent { source_name }.into());
        };
        let (vision, limits, clock) = (self.vision.clone(), self.face_limits, self.clock.clone());
        let memory = self.memory.clone();
        let one_person = self.threshold_in_force().cosine();
        // The capture ends when the client disconnects, because its next hint cannot be sent.
        let captures = tokio::task::spawn_blocking(move || {
            LiveCapture { loan, vision, memory, limits, one_person, clock, client }.run()
        });
        let captures = captures.await.map_err(Failure::internal)?;
        let captures = captures.map_err(|hint| Refusal::NoGoodLook { hint })?;
        Ok(captures.into_iter().map(|capture| capture.face).collect())
    }
}

/// A good picture of a face.
struct CapturedFace {
    face: FaceOnFile,
    quality: f32,
    at: Monotonic,
}

/// The capture of one person's face with a borrowed camera.
struct LiveCapture {
    loan: Loan,
    vision: Arc<Vision>,
    memory: Arc<Memory>,
    limits: FaceLimits,
    /// Minimum score between the faces of one capture. The face of another person is not kept.
    one_person: f32,
    clock: Arc<dyn Clock>,
    client: mpsc::Sender<Ask>,
}

impl LiveCapture {
    /// Returns the best faces, or the latest fault.
    fn run(self) -> Result<Vec<CapturedFace>, String> {
        let begun = self.clock.monotonic();
        let (mut heard, mut last_seen) = (0, begun);
        let (mut captures, mut first_good): (Vec<CapturedFace>, _) = (Vec::new(), None);
        let mut hint = "no frame came from the camera".to_owned();
        loop {
            let now = self.clock.monotonic();
            let enough = first_good.is_some_and(|at| now.since(at) > AFTER_FIRST);
            if enough || now.since(begun) > LOAN_TIMEOUT {
                break;
            }
            heard = self.loan.wait(heard, FRAME_TIMEOUT);
            let Some(frame) = self.loan.take() else {
                if now.since(last_seen) > NO_FRAME {
                    hint = "no frame comes from the camera".to_owned();
                    self.send_hint(captures.len(), &hint)?;
                    last_seen = now;
                }
                continue;
            };
            last_seen = now;
            match self.capture(&frame) {
                Err(wrong) => hint = wrong,
                Ok(capture)
                    if captures.first().is_some_and(|first| !self.alike(first, &capture)) =>
                {
                    // It is not known which of several persons is meant.
                    captures.clear();
                    first_good = None;
                    hint = "this is another face than before: one person only".to_owned();
                }
                Ok(capture) => {
                    hint.clear();
                    first_good.get_or_insert(now);
                    keep(&mut captures, capture);
                }
            }
            self.send_hint(captures.len(), &hint)?;
        }
        if captures.is_empty() { Err(hint) } else { Ok(captures) }
    }

    fn capture(&self, frame: &Frame) -> Result<CapturedFace, String> {
        let _turn = self.memory.blocking_turn();
        let examine = || {
            let view = View::new(&frame.picture)?;
            let (width, height) = view.size();
            let image = view.for_detection(width.max(height))?.into_image();
            let found = self.vision.face_alone(image, &self.limits)?;
            let jpeg = portrait(&found.image, &found.face);
            Ok::<_, PhotoError>((jpeg, found.template, found.quality.score))
        };
        let (jpeg, template, quality) = examine().map_err(|e| match e {
            PhotoError::NoFace => "no face: step in front of the camera".to_owned(),
            PhotoError::SeveralFaces { .. } => "two faces: one person only".to_owned(),
            PhotoError::NotUpright => "the face is not upright: hold the head straight; if it is, \
                                       turn the camera, or its picture in its settings"
                .to_owned(),
            PhotoError::FaceTooSmall { .. } => "move closer".to_owned(),
            PhotoError::Poor { flaw } => format!("{}: {}", flaw.word(), flaw.remedy()),
            PhotoError::Unreadable { why } => format!("the camera's picture cannot be read: {why}"),
            PhotoError::Vision(e) => format!("the picture could not be examined: {e}"),
        })?;
        let jpeg = jpeg.map_err(|e| e.to_string())?;
        Ok(CapturedFace { face: FaceOnFile { template, jpeg }, quality, at: frame.captured })
    }

    fn alike(&self, a: &CapturedFace, b: &CapturedFace) -> bool {
        a.face.template.cosine(&b.face.template) >= self.one_person
    }

    /// Sends a hint. Fails when the client has disconnected.
    fn send_hint(&self, good: usize, hint: &str) -> Result<(), String> {
        let hint = Hint { good, wanted: CAPTURES, hint: hint.to_owned() };
        self.client
            .blocking_send(Ask::Hint(hint))
            .map_err(|_| "the client has disconnected".to_owned())
    }
}

/// Keeps a face if it is among the best. Of faces close in time it keeps the better one.
fn keep(captures: &mut Vec<CapturedFace>, capture: CapturedFace) {
    if let Some(last) = captures.last_mut().filter(|last| capture.at.since(last.at) < INTERVAL) {
        if last.quality < capture.quality {
            *last = capture;
        }
        return;
    }
    captures.push(capture);
    if captures.len() > CAPTURES {
        let worst = (0..captures.len())
            .min_by(|a, b| captures[*a].quality.total_cmp(&captures[*b].quality));
        worst.map(|worst| captures.remove(worst));
    }
}

#[cfg(test)]
mod tests;
