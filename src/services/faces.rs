//! Gets an enrolment's faces, from photos or from a lane's camera, and asks the client for the
//! photos.

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
/// Maximum number of questions on their way to the client. Then the enrolment waits.
pub const HINTS: usize = 4;

/// Where an enrolment's photos come from.
pub enum Source {
    /// The client sends each photo when it is asked for it.
    Client(mpsc::Sender<Ask>),
    /// The photos came with the request; each is taken once.
    Here(Vec<Vec<u8>>),
}

/// A question or hint of an enrolment to its client.
pub enum Ask {
    /// The bytes of one announced photo.
    Photo { number: usize, bytes: usize, answer: oneshot::Sender<Vec<u8>> },
    /// A hint for the person in front of the camera; it has no answer.
    Hint(Hint),
}

/// A hint for the person in front of the camera during an enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// Number of good pictures so far, and the number wanted.
    pub good: usize,
    pub wanted: usize,
    /// The fault of the latest picture; empty where it is good.
    pub hint: String,
}

impl Services {
    /// Returns the faces on the announced photos, or those in front of a lane's camera. Returns
    /// none where the request has neither.
    pub(super) async fn faces(
        &self,
        source: &mut Source,
        photos: &[Photo],
        live: Option<&Live>,
    ) -> Result<Vec<FaceOnFile>, Failure> {
        let invalid = |problem: &str| Err(Failure::new(Code::Invalid, problem));
        if photos.len() > PHOTOS_MAX || (live.is_some() && !photos.is_empty()) {
            return invalid(&format!(
                "give 1 to {PHOTOS_MAX} photos, or the lane whose camera takes them"
            ));
        }
        match (live, &*source) {
            (Some(live), Source::Client(client)) => return self.live(client.clone(), live).await,
            (Some(_), Source::Here(_)) => {
                return invalid("a command cannot use a lane's camera; give photos");
            }
            (None, _) => {}
        }
        let mut faces = Vec::new();
        for (number, photo) in photos.iter().enumerate() {
            let _held = self.memory.hold(source.announced(photo)).await;
            let bytes = source.photo(number, photo).await?;
            failpoint::at("enrolment.received");
            let face = self.face(&photo.name, bytes).await?;
            failpoint::at("enrolment.examined");
            one_person(&photo.name, &face, faces.first())?;
            faces.push(face);
        }
        Ok(faces)
    }

    /// Finds and checks the face of one photo, off the async threads.
    async fn face(&self, name: &str, bytes: Vec<u8>) -> Result<FaceOnFile, Failure> {
        let _turn = self.memory.turn().await;
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
    /// Returns the bytes for which there must be room before the photo comes. The photos of a
    /// command are here already, and the command has its room.
    fn announced(&self, photo: &Photo) -> usize {
        match self {
            Source::Client(_) => usize::try_from(photo.bytes).unwrap_or(usize::MAX).min(PHOTO_MAX),
            Source::Here(_) => 0,
        }
    }

    /// Returns one announced photo. The photos are taken in the order of the announcement.
    async fn photo(&mut self, number: usize, photo: &Photo) -> Result<Vec<u8>, Failure> {
        let missing = || Failure::internal(format!("the photo {} was not sent", photo.name));
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
