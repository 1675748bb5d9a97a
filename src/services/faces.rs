//! An enrolment's faces, from photos or from a lane's camera, and what is asked of the client for them.

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{Code, Failure, Live, Photo, Services, likeness::one_person};
use crate::{
    failpoint,
    roster::FaceOnFile,
    vision::{PhotoError, portrait},
};

/// Maximum bytes of one photo.
pub const PHOTO_MAX: usize = 16 * 1024 * 1024;
/// Maximum number of photos of one worker.
pub const PHOTOS_MAX: usize = 5;
/// Maximum number of questions on their way to the client; the enrolment then waits.
pub const HINTS: usize = 4;

/// Where an enrolment's photos come from.
pub enum Source {
    /// The client sends each when it is asked to.
    Client(mpsc::Sender<Ask>),
    /// They came with what was asked; each is taken once.
    Here(Vec<Vec<u8>>),
}

/// What an enrolment asks of its client while it is under way.
pub enum Ask {
    /// The bytes of one announced photo.
    Photo { number: usize, bytes: usize, answer: oneshot::Sender<Vec<u8>> },
    /// Nothing; the person before the camera is told this.
    Hint(Hint),
}

/// A hint for the person who stands before the camera for an enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// Good looks so far, and how many are wanted.
    pub good: usize,
    pub wanted: usize,
    /// What is wrong with the latest look; empty where it is good.
    pub hint: String,
}

impl Services {
    /// The faces on the photos announced, or those that a lane's camera sees now. None where neither
    /// is given.
    pub(super) async fn faces(
        &self,
        source: &mut Source,
        photos: &[Photo],
        live: Option<&Live>,
    ) -> Result<Vec<FaceOnFile>, Failure> {
        let invalid = |problem: &str| Err(Failure::new(Code::Invalid, problem));
        if photos.len() > PHOTOS_MAX || (live.is_some() && !photos.is_empty()) {
            return invalid(&format!(
                "give 1 to {PHOTOS_MAX} photos, or a lane whose camera to look through"
            ));
        }
        match (live, &*source) {
            (Some(live), Source::Client(client)) => return self.live(client.clone(), live).await,
            (Some(_), Source::Here(_)) => {
                return invalid("a lane's camera is for who stands at the gateway: give photos");
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

    /// The face of one photo, found and judged off the async threads.
    async fn face(&self, name: &str, bytes: Vec<u8>) -> Result<FaceOnFile, Failure> {
        let _one_at_a_time = self.examining.lock().await;
        let (vision, limits) = (self.vision.clone(), self.face_limits);
        let found = tokio::task::spawn_blocking(move || {
            let (image, face, template, _) = vision.face_for_enrolment(&bytes, &limits)?;
            Ok::<_, PhotoError>((portrait(&image, &face), template))
        });
        let found = found.await.map_err(Failure::internal)?;
        let (jpeg, template) = found.map_err(|e| Failure::of_photo(name, &e))?;
        let jpeg = jpeg.map_err(|e| Failure::internal(format!("{name}: {e}")))?;
        Ok(FaceOnFile { template, jpeg })
    }
}

impl Source {
    /// One announced photo, in the order announced.
    async fn photo(&mut self, number: usize, photo: &Photo) -> Result<Vec<u8>, Failure> {
        let missing = || Failure::internal(format!("{} is not there", photo.name));
        let bytes = usize::try_from(photo.bytes).unwrap_or(usize::MAX);
        match self {
            Source::Client(_) if bytes > PHOTO_MAX => {
                let problem = format!(
                    "{}: {} MiB; a photo has at most {} MiB, scale it down",
                    photo.name,
                    photo.bytes >> 20,
                    PHOTO_MAX >> 20
                );
                Err(Failure::new(Code::PhotoTooLarge, problem))
            }
            Source::Client(client) => {
                let (answer, sent) = oneshot::channel();
                let asked = client.send(Ask::Photo { number, bytes, answer }).await;
                asked.map_err(|_| missing())?;
                sent.await.map_err(|_| missing())
            }
            Source::Here(photos) => photos.get_mut(number).map(std::mem::take).ok_or_else(missing),
        }
    }
}
