//! The room `camera` alone: one capture thread and its slot.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use gatehouse::{
    camera::{CameraHandle, CameraState, Frame, Slot, Wakeup, spawn},
    clock::{Clock, SystemClock},
    config::{Camera, CameraSource, CameraUrl, Direction, Login, LoginScheme, Zone},
};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(120);
/// Maximum duration of a stop, also on a busy machine. It is shorter than the 3 s after which a
/// camera counts as stalled, and than every pace and pause in these tests.
pub const PROMPT: Duration = Duration::from_secs(2);

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new().unwrap())
}

/// Returns the source for an address whose login has no reserved characters.
pub fn network(address: &str) -> CameraSource {
    let mut url = url::Url::parse(address).unwrap();
    let login = url.password().map(|password| Login {
        user: url.username().to_owned(),
        password: password.to_owned().into(),
        auth: LoginScheme::Any,
    });
    url.set_username("").unwrap();
    url.set_password(None).unwrap();
    match url.scheme() {
        "http" => CameraSource::Http(CameraUrl { url, login }),
        _ => CameraSource::Rtsp(CameraUrl { url, login }),
    }
}

pub struct Capture {
    pub slot: Arc<Slot>,
    bell: Arc<Wakeup>,
    heard: u64,
    pub handle: CameraHandle,
    pub cancel: CancellationToken,
}

impl Capture {
    pub fn replay(path: &Path, fps: f32, looped: bool) -> Self {
        Self::of(CameraSource::Replay(path.to_owned()), fps, looped)
    }

    pub fn network(address: &str) -> Self {
        Self::of(network(address), 15.0, false)
    }

    fn of(source: CameraSource, fps: f32, looped: bool) -> Self {
        let bell = Arc::new(Wakeup::default());
        let slot = Arc::new(Slot::new(bell.clone()));
        let cancel = CancellationToken::new();
        let camera = Camera {
            direction: Direction::Entry,
            source,
            fps,
            size: (1280, 720),
            repeat: 1,
            looped,
            username: None,
            password: None,
            auth: LoginScheme::Any,
            zone: Zone::default(),
        };
        let handle = spawn("north entry", &camera, clock(), cancel.clone(), slot.clone()).unwrap();
        Self { slot, bell, heard: 0, handle, cancel }
    }

    pub fn frame(&mut self) -> Frame {
        let begun = Instant::now();
        loop {
            if let Some(frame) = self.slot.take() {
                return frame;
            }
            assert!(begun.elapsed() < SOON, "no frame: {:?}", self.handle.state.borrow());
            self.heard = self.bell.wait(self.heard, Duration::from_millis(50));
        }
    }

    pub fn state_when(&mut self, holds: impl Fn(&CameraState) -> bool) -> CameraState {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let found = runtime.block_on(async {
            let state = self.handle.state.wait_for(holds);
            tokio::time::timeout(SOON, state).await.map(|s| s.expect("a thread").clone())
        });
        found.unwrap_or_else(|_| panic!("not in time: {:?}", self.handle.state.borrow()))
    }

    /// Stops the capture thread and returns how long that took.
    pub fn stop(self) -> Duration {
        let begun = Instant::now();
        self.cancel.cancel();
        self.handle.thread.join().unwrap();
        begun.elapsed()
    }
}
