//! An enrolment's looks at a face: from photos, or live from a lane's camera.

use super::{Failure, Refusal, Services};
use crate::{
    control::protocol::{
        AmendFaces, Live, PHOTO_MAX, PHOTOS_MAX, Photo, Reply, Wire, WireError, patient,
    },
    failpoint,
    roster::{FaceOnFile, Worker},
    vision::PhotoError,
};

/// Photos of one person are further alike than this, however they were taken; of two, hardly ever.
const LEAST_ALIKE: f32 = 0.3;

impl Services {
    /// The faces on the photos announced, or those that a lane's camera sees now. None where neither
    /// is given.
    pub(super) async fn faces(
        &self,
        wire: &mut Wire,
        photos: &[Photo],
        live: Option<&Live>,
    ) -> Result<Vec<FaceOnFile>, Refusal> {
        if photos.len() > PHOTOS_MAX || (live.is_some() && !photos.is_empty()) {
            let problem =
                format!("give 1 to {PHOTOS_MAX} photos, or a lane whose camera to look through");
            return Err(Failure::new("invalid", problem).into());
        }
        if let Some(live) = live {
            return self.live(wire, live).await;
        }
        let mut faces = Vec::new();
        for (number, photo) in photos.iter().enumerate() {
            let bytes = receive_photo(wire, number, photo).await?;
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
            Ok::<_, PhotoError>((crate::vision::portrait(&image, &face), template))
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

    async fn live(&self, _wire: &mut Wire, live: &Live) -> Result<Vec<FaceOnFile>, Refusal> {
        self.lane(&live.lane)?;
        todo!()
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
