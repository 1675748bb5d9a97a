//! Gets an enrolment's faces, from photos or from a lane's camera, and asks the client for the
//! photos.

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{Failure, Live, Photo, Services, Turned, likeness::one_person, refusal::Refusal};
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
    /// The photos came with a message from afar; each is taken once.
    Afar {
        /// The photos.
        photos: Vec<Vec<u8>>,
        /// The message is signed, and the configuration trusts its upstream for faces.
        trusted: bool,
    },
}

/// A question or hint of an enrolment to its client.
pub enum Ask {
    /// The bytes of one announced photo.
    Photo {
        /// The photo's place in the request, counted from 0.
        number: usize,
        /// The announced size in bytes.
        bytes: usize,
        /// Takes the photo.
        answer: oneshot::Sender<Vec<u8>>,
    },
    /// A hint for the person in front of the camera; it has no answer.
    Hint(Hint),
}

/// A hint for the person in front of the camera during an enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// Number of good pictures so far.
    pub good: usize,
    /// Number of good pictures wanted.
    pub wanted: usize,
    /// The fault of the latest picture; empty where it is good.
    pub hint: String,
}

impl Services {
    /// Returns the faces on the announced photos, or those in front of a lane's camera, and the photos
    /// that were turned. Returns none where the request has neither.
    pub(super) async fn faces(
        &self,
        source: &mut Source,
        photos: &[Photo],
        live: Option<&Live>,
    ) -> Result<(Vec<FaceOnFile>, Vec<Turned>), Failure> {
        if photos.len() > PHOTOS_MAX || (live.is_some() && !photos.is_empty()) {
            return Err(Refusal::PhotosOrCamera { most: PHOTOS_MAX }.into());
        }
        match (live, &*source) {
            (Some(live), Source::Client(client)) => {
                return Ok((self.live(client.clone(), live).await?, Vec::new()));
            }
            (Some(_), Source::Afar { .. }) => return Err(Refusal::CameraByCommand.into()),
            (None, _) => {}
        }
        let (mut faces, mut turned) = (Vec::new(), Vec::new());
        for (number, photo) in photos.iter().enumerate() {
            let _held = self.memory.hold(source.announced(photo)).await;
            let bytes = source.photo(number, photo).await?;
            failpoint::at("enrolment.received");
            let (face, degrees) = self.face(&photo.name, bytes).await?;
            failpoint::at("enrolment.examined");
            one_person(&photo.name, &face, faces.first())?;
            faces.push(face);
            if degrees > 0 {
                turned.push(Turned { photo: photo.name.clone(), degrees });
            }
        }
        Ok((faces, turned))
    }

    /// Finds and checks the face of one photo, off the async threads. Returns it with the degrees by
    /// which the photo was turned.
    async fn face(&self, name: &str, bytes: Vec<u8>) -> Result<(FaceOnFile, u16), Failure> {
        let _turn = self.memory.turn().await;
        let (vision, limits) = (self.vision.clone(), self.face_limits);
        let found = tokio::task::spawn_blocking(move || {
            let found = vision.face_for_enrolment(&bytes, &limits)?;
            Ok::<_, PhotoError>((portrait(&found.image, &found.face), found.template, found.turned))
        });
        let found = found.await.map_err(Failure::internal)?;
        let (jpeg, template, turned) = found.map_err(|e| Failure::of_photo(name, &e))?;
        let jpeg = jpeg.map_err(|e| Failure::internal(format!("{name}: {e}")))?;
        Ok((FaceOnFile { template, jpeg }, turned))
    }
}

impl Source {
    /// Returns whether the upstream is trusted for faces; `None` for a client at the gateway.
    pub(super) fn afar(&self) -> Option<bool> {
        match self {
            Source::Client(_) => None,
            Source::Afar { trusted, .. } => Some(*trusted),
        }
    }

    /// Returns the bytes for which there must be room before the photo comes. The photos of a
    /// command are here already, and the command has its room.
    fn announced(&self, photo: &Photo) -> usize {
        match self {
            Source::Client(_) => usize::try_from(photo.bytes).unwrap_or(usize::MAX).min(PHOTO_MAX),
            Source::Afar { .. } => 0,
        }
    }

    /// Returns one announced photo. The photos are taken in the order of the announcement.
    async fn photo(&mut self, number: usize, photo: &Photo) -> Result<Vec<u8>, Failure> {
        let missing = || Refusal::PhotoNotSent { name: photo.name.clone() };
        let bytes = usize::try_from(photo.bytes).unwrap_or(usize::MAX);
        match self {
            Source::Client(_) if bytes > PHOTO_MAX => {
                let (name, mib) = (photo.name.clone(), photo.bytes >> 20);
                Err(Refusal::LargePhoto { name, mib, most_mib: PHOTO_MAX >> 20 }.into())
            }
            Source::Client(client) => {
                let (answer, sent) = oneshot::channel();
                let asked = client.send(Ask::Photo { number, bytes, answer }).await;
                asked.map_err(|_| missing())?;
                Ok(sent.await.map_err(|_| missing())?)
            }
            Source::Afar { photos, .. } => {
                let photo = photos.get_mut(number).map(std::mem::take);
                Ok(photo.ok_or_else(missing)?)
            }
        }
    }
}
