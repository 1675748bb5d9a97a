//! `rtsp://`: a camera that sends H.264 over RTSP, interleaved in its one TCP connection.
//!
//! In: the access units that the library retina reads from the connection. Out: the decoded
//! pictures. It touches its one connection. A login is used only if the camera asks for it
//! ([`relay`]).
//!
//! A picture that cannot be decoded is counted. Decoding may fail until the next key frame. An
//! error of the protocol ends the connection, and the capture thread opens another.

use futures_util::StreamExt;
use retina::{
    client::{
        Demuxed, PlayOptions, Session, SessionOptions, SetupOptions, Stream, TeardownPolicy,
        Transport,
    },
    codec::{CodecItem, FrameFormat, ParametersRef, VideoFrame},
};
use tokio_util::sync::CancellationToken;

use super::{
    CameraError, FrameSource, MAX_IMAGE, Next, Picture,
    h264::{Decoder, MAX_PIXELS},
    link::{Link, NO_LOGIN, Unopened, plain},
    login::Asked,
    relay,
};
use crate::config::CameraUrl;

/// The source.
pub struct Rtsp {
    frames: Demuxed,
    decoder: Decoder,
    skipped: u64,
    // Dropped last, because the connection belongs to its runtime.
    link: Link,
}

impl Rtsp {
    /// Opens the stream. A stop meanwhile returns [`CameraError::Stopped`].
    pub fn open(
        url: &CameraUrl,
        asked: &mut Asked,
        stop: &CancellationToken,
    ) -> Result<Self, CameraError> {
        let (link, frames) = Link::open(url, stop, play(url, asked))?;
        let decoder = Decoder::new().map_err(|what| link.fails(what))?;
        Ok(Self { frames, decoder, skipped: 0, link })
    }

    fn look(&mut self, frame: &VideoFrame) -> Result<Next, CameraError> {
        if frame.has_new_parameters()
            && let Some(stream) = self.frames.streams().get(frame.stream_id())
        {
            fits(stream).map_err(|what| self.link.fails(what))?;
        }
        if frame.data().len() <= MAX_IMAGE {
            match self.decoder.decode(frame.data()) {
                Ok(Some(picture)) => return Ok(Next::Image(Picture::Raw(picture.into()))),
                Ok(None) => return Ok(Next::Waiting),
                Err(()) => {}
            }
        }
        self.skipped += 1;
        Ok(Next::Waiting)
    }
}

impl FrameSource for Rtsp {
    fn next(&mut self) -> Result<Next, CameraError> {
        match self.link.read(self.frames.next())? {
            Some(CodecItem::VideoFrame(frame)) => self.look(&frame),
            // Other items are reports about the transmission.
            Some(_) | None => Ok(Next::Waiting),
        }
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// Checks that the stream's pictures are not too large, if their size is known yet.
fn fits(stream: &Stream) -> Result<(), String> {
    let Some(ParametersRef::Video(video)) = stream.parameters() else { return Ok(()) };
    let (width, height) = video.coded_pixel_dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!(
            "the camera's pictures of {width} x {height} have more than 9.4 million pixels; set \
             the camera to a smaller size"
        ));
    }
    Ok(())
}

async fn play(url: &CameraUrl, asked: &mut Asked) -> Result<Demuxed, Unopened> {
    let fault = |error: retina::Error| match error.status_code() {
        // A camera that has locked the account may answer 403.
        Some(401 | 403) if url.login.is_some() => Unopened::LoginRefused,
        Some(401) => NO_LOGIN.to_owned().into(),
        Some(404) => {
            let remedy = "the camera has no such stream; check the address in the camera's manual";
            remedy.to_owned().into()
        }
        _ => format!("the stream cannot be played: {}; check that the camera is on", plain(&error))
            .into(),
    };
    let address = match &url.login {
        Some(login) => relay::logged_in(&url.url, login, asked).await?,
        None => url.url.clone(),
    };
    // Closing the connection ends the session, so no teardown is sent. The connection may be closed
    // outside of a runtime.
    let options = SessionOptions::default()
        .user_agent("gatehouse".to_owned())
        .teardown(TeardownPolicy::Never);
    let mut session = Session::describe(address, options).await.map_err(fault)?;
    let video = |s: &Stream| s.media() == "video" && s.encoding_name() == "h264";
    let Some((at, stream)) = session.streams().iter().enumerate().find(|(_, s)| video(s)) else {
        return Err("the camera has no H.264 video; set its codec to H.264".to_owned().into());
    };
    fits(stream)?;
    let options = SetupOptions::default()
        .transport(Transport::Tcp(Default::default()))
        .frame_format(FrameFormat::SIMPLE);
    session.setup(at, options).await.map_err(fault)?;
    let playing = session.play(PlayOptions::default()).await.map_err(fault)?;
    playing.demuxed().map_err(fault)
}
