use super::*;
use crate::camera::Picture;

fn frame(seq: u64) -> Frame {
    let picture = Picture::Encoded(Arc::from([0_u8]));
    Frame { seq, captured: Monotonic::from_millis(seq), pause: Duration::ZERO, picture }
}

#[test]
fn the_newest_frame_stays_and_dropped_frames_are_counted() {
    let slot = Slot::new(Arc::default());
    let taken = || slot.take().map(|frame| frame.seq);
    assert_eq!(taken(), None);
    for seq in 0..3 {
        slot.put(frame(seq));
    }
    assert_eq!(taken(), Some(2));
    assert_eq!((taken(), slot.dropped()), (None, 2));
    slot.put(frame(3));
    assert_eq!((taken(), slot.dropped()), (Some(3), 2));
}

#[test]
fn a_frame_has_the_cameras_longest_pause_since_the_last_frame_taken() {
    let slot = Slot::new(Arc::default());
    let pause = || slot.take().map(|frame| frame.pause.as_millis());
    slot.put(frame(100));
    assert_eq!(pause(), Some(0));
    for at in [150, 1150, 1200] {
        slot.put(frame(at));
    }
    assert_eq!(pause(), Some(1000), "the pause before a dropped frame");
    slot.put(frame(1250));
    assert_eq!(pause(), Some(50));
    slot.put(frame(4250));
    assert_eq!(pause(), Some(3000));
}

#[test]
fn workers_of_many_cameras_get_each_frame_once() {
    const FRAMES: u64 = 200;
    let wakeup = Arc::new(Wakeup::default());
    let slots: Vec<_> = (0..3).map(|_| Arc::new(Slot::new(wakeup.clone()))).collect();
    let taken: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut heard, mut taken) = (0, 0);
                    // Each camera's last frame is never dropped: one of the workers takes it.
                    let mut last_seen = Vec::new();
                    loop {
                        let rung = wakeup.wait(heard, Duration::from_millis(300));
                        if rung == heard {
                            return (taken, last_seen);
                        }
                        heard = rung;
                        for slot in &slots {
                            if let Some(frame) = slot.take() {
                                taken += 1;
                                if frame.seq == FRAMES - 1 {
                                    last_seen.push(frame.seq);
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        for slot in &slots {
            scope.spawn(|| (0..FRAMES).for_each(|seq| slot.put(frame(seq))));
        }
        let done: Vec<_> = workers.into_iter().map(|w| w.join().unwrap()).collect();
        assert_eq!(done.iter().map(|(_, last)| last.len()).sum::<usize>(), slots.len());
        done.iter().map(|(taken, _)| taken).sum()
    });
    let dropped: u64 = slots.iter().map(|s| s.dropped()).sum();
    assert_eq!(taken + dropped, FRAMES * 3);
}

#[test]
fn only_the_borrower_receives_the_frames_of_a_lent_camera() {
    let slot = Arc::new(Slot::new(Arc::default()));
    slot.put(frame(0));
    let loan = slot.lend().unwrap();
    assert!(slot.lend().is_none() && slot.lent());
    assert_eq!(loan.take(), None);
    slot.put(frame(1));
    assert_eq!((slot.take(), loan.take().map(|frame| frame.seq)), (None, Some(1)));
    slot.put(frame(2));
    drop(loan);
    assert_eq!(slot.take(), None);
    slot.put(frame(3));
    assert_eq!(slot.take().map(|frame| frame.seq), Some(3));
    assert!(slot.lend().is_some());
}

#[test]
fn a_wait_ends_at_its_timeout_or_at_a_wake() {
    let wakeup = Wakeup::default();
    assert_eq!(wakeup.wait(0, Duration::from_millis(5)), 0);
    wakeup.wake();
    assert_eq!(wakeup.wait(0, Duration::from_secs(60)), 1);
}
