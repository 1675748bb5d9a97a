//! `rtsp://`: a camera that sends H.264 over RTSP, interleaved in its one TCP connection.
//!
//! In: the access units that the library retina reads from the connection. Out: the decoded
//! pictures. It touches its one connection. Between retina and the camera stands a relay
//! ([`relay`](super::relay)), which logs in and tells what the camera refuses.
//!
//! A picture that cannot be decoded is counted. Decoding may fail until the next key frame; while
//! packets come, that is told apart from silence. An error of the protocol ends the connection, and
//! the capture thread opens another.

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
    CameraError, FrameSource, MAX_IMAGE, Next, Picture, Unshown,
    h264::{self, Decoder, MAX_PIXELS},
    link::{Link, Unopened, plain, plain_text},
    login::Asked,
    relay::Relay,
};
use crate::config::CameraUrl;

/// The source.
pub struct Rtsp {
    frames: Demuxed,
    decoder: Decoder,
    skipped: u64,
    /// A key frame has come since the last picture.
    had_key_frame: bool,
    /// Number of packets at the last call.
    packets: u64,
    relay: Relay,
    // Dropped last, because the connection belongs to its runtime.
    link: Link,
}

impl Rtsp {
    /// Opens the stream. A stop meanwhile returns [`CameraError::Stopped`].
    pub fn open(
        url: &CameraUrl,
        asked: &Asked,
        stop: &CancellationToken,
    ) -> Result<Self, CameraError> {
        let (link, (frames, relay)) = Link::open(url, stop, play(url, asked))?;
        let decoder = Decoder::new().map_err(|what| link.fails(what))?;
        Ok(Self { frames, decoder, skipped: 0, had_key_frame: false, packets: 0, relay, link })
    }

    fn look(&mut self, frame: &VideoFrame) -> Result<Next, CameraError> {
        if frame.has_new_parameters()
            && let Some(stream) = self.frames.streams().get(frame.stream_id())
        {
            fits(stream).map_err(|what| self.link.fails(what))?;
        }
        self.had_key_frame |= frame.is_random_access_point();
        if frame.data().len() <= MAX_IMAGE {
            match self.decoder.decode(frame.data()) {
                Ok(Some(picture)) => {
                    self.had_key_frame = false;
                    return Ok(Next::Image(Picture::Raw(picture.into())));
                }
                Ok(None) => return Ok(self.unshown()),
                Err(()) => {}
            }
        }
        self.skipped += 1;
        Ok(self.unshown())
    }

    fn unshown(&self) -> Next {
        Next::Unshown(match self.had_key_frame {
            true => Unshown::Undecodable,
            false => Unshown::NoKeyFrame,
        })
    }
}

impl FrameSource for Rtsp {
    fn next(&mut self) -> Result<Next, CameraError> {
        // The relay knows best why a connection ended.
        let next =
            self.link.read(self.frames.next()).map_err(|error| match self.relay.fault() {
                Some(Unopened::Ended) | None => error,
                Some(fault) => self.link.fault(fault),
            })?;
        let before = std::mem::replace(&mut self.packets, self.relay.packets());
        match next {
            Some(CodecItem::VideoFrame(frame)) => self.look(&frame),
            // Packets that retina makes no frame of.
            None if self.packets > before => Ok(self.unshown()),
            // Other items are reports about the transmission.
            Some(_) | None => Ok(Next::Waiting),
        }
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// Checks that the stream's pictures can be decoded, as far as their parameters are known yet.
fn fits(stream: &Stream) -> Result<(), String> {
    let Some(ParametersRef::Video(video)) = stream.parameters() else { return Ok(()) };
    let (width, height) = video.coded_pixel_dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!(
            "the camera's pictures of {width} x {height} have more than 9.4 million pixels; set \
             the camera to a smaller size"
        ));
    }
    h264::unsupported(video.extra_data()).map_or(Ok(()), Err)
}

async fn play(url: &CameraUrl, asked: &Asked) -> Result<(Demuxed, Relay), Unopened> {
    let relay = Relay::open(url, asked).await?;
    match play_through(&relay).await {
        Ok(frames) => Ok((frames, relay)),
        Err(what) => Err(relay.fault().unwrap_or(Unopened::Other(what))),
    }
}

async fn play_through(relay: &Relay) -> Result<Demuxed, String> {
    let fault = |error: retina::Error| {
        format!(
            "the stream cannot be played: {}; check the stream's settings, and update the camera's \
             firmware",
            plain(&error)
        )
    };
    // Closing the connection ends the session, so no teardown is sent. The connection may be closed
    // outside of a runtime.
    let options = SessionOptions::default()
        .user_agent("gatehouse".to_owned())
        .teardown(TeardownPolicy::Never);
    let mut session = Session::describe(relay.address.clone(), options).await.map_err(fault)?;
    let is_h264 = |s: &Stream| s.encoding_name() == "h264";
    let Some((at, stream)) = session.streams().iter().enumerate().find(|(_, s)| is_h264(s)) else {
        return Err(no_h264(session.streams()));
    };
    fits(stream)?;
    let options = SetupOptions::default()
        .transport(Transport::Tcp(Default::default()))
        .frame_format(FrameFormat::SIMPLE);
    session.setup(at, options).await.map_err(fault)?;
    let playing = session.play(PlayOptions::default()).await.map_err(fault)?;
    playing.demuxed().map_err(fault)
}

/// Returns which other codec the camera sends, and what to do.
fn no_h264(streams: &[Stream]) -> String {
    let codec = streams.first().map_or("", Stream::encoding_name);
    let codec = match codec {
        "h265" | "hevc" => "H.265 (HEVC)".to_owned(),
        "jpeg" => "Motion JPEG over RTSP".to_owned(),
        other => plain_text(&other.to_ascii_uppercase()),
    };
    format!(
        "the camera has no H.264 video; set its codec to H.264 (the stream is in {codec}), or take its \
         second stream"
    )
}
