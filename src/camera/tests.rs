//! The capture thread with a source that fails.

use super::{capture::spawn_with, *};
use crate::clock::SystemClock;

/// A source that gives one image and then panics.
struct Faulty(bool);

impl FrameSource for Faulty {
    fn next(&mut self) -> Result<Next, CameraError> {
        assert!(!std::mem::replace(&mut self.0, true), "no second image");
        Ok(Next::Image(Picture::Encoded([0xFF].into())))
    }

    fn skipped(&self) -> u64 {
        0
    }
}

#[test]
fn i10_a_source_that_panics_is_opened_again() {
    let (wakeup, cancel) = (Arc::new(Wakeup::default()), CancellationToken::new());
    let mut attempts = 0;
    let open = move || -> Result<Box<dyn FrameSource>, CameraError> {
        attempts += 1;
        assert_ne!(attempts, 2, "not at attempt 2");
        Ok(Box::new(Faulty(false)))
    };
    let clock = Arc::new(SystemClock::new().unwrap());
    let slot = Arc::new(Slot::new(wakeup));
    let mut camera =
        spawn_with("faulty".into(), Box::new(open), None, None, clock, cancel.clone(), slot)
            .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut state_when = |holds: fn(&CameraState) -> bool| {
        let state = camera.state.wait_for(holds);
        let state = async { tokio::time::timeout(Duration::from_secs(120), state).await };
        runtime.block_on(state).expect("in time").expect("a thread").clone()
    };
    let down = state_when(|s| s.errors > 0 && !s.connected);
    assert_eq!(down.frames, 1);
    assert!(down.last_error.unwrap().contains("a fault in this program"));
    // Attempt 2 panics while it opens. Attempts 3 and 4 give one image each.
    let down = state_when(|s| s.errors > 3 && !s.connected);
    assert_eq!(down.frames + 1, down.errors);
    assert!(down.last_error.unwrap().contains("no second image"));
    cancel.cancel();
    camera.thread.join().unwrap();
}

#[cfg(feature = "h264")]
proptest::proptest! {
    #[test]
    fn i10_changed_messages_of_a_camera_become_well_formed_ones_or_none(
        seed in proptest::prelude::any::<proptest::sample::Index>(),
        changes in proptest::collection::vec(
            (proptest::prelude::any::<proptest::sample::Index>(), 0..3_u8, "[ -~\r\n\t\u{0}é]{0,3}"),
            0..12,
        ),
    ) {
        let seeds = [
            &include_bytes!("../../fuzz/seeds/camera/describe")[..],
            include_bytes!("../../fuzz/seeds/camera/setup"),
            include_bytes!("../../fuzz/seeds/camera/challenge"),
            include_bytes!("../../fuzz/seeds/camera/chunks"),
        ];
        let mut bytes = seed.get(&seeds).to_vec();
        for (at, removed, added) in changes {
            let from = at.index(bytes.len() + 1);
            let to = (from + usize::from(removed)).min(bytes.len());
            bytes.splice(from..to, added.bytes());
        }
        fuzz(&bytes);
    }
}
