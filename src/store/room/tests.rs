use super::*;

#[test]
fn events_are_given_up_before_photos_and_attendance_never() {
    let given_up = |room: Room| {
        let all = [Priority::Attendance, Priority::Upkeep, Priority::Event, Priority::Photo];
        all.into_iter().filter(|p| room.refuses(*p)).collect::<Vec<_>>()
    };
    assert_eq!(given_up(Room::Ample), []);
    assert_eq!(given_up(Room::Low), [Priority::Event]);
    assert_eq!(given_up(Room::Scarce), [Priority::Event, Priority::Photo]);
    assert_eq!(given_up(Room::Full), [Priority::Event, Priority::Photo]);
}

#[test]
fn a_disk_near_a_floor_does_not_change_its_state_back_and_forth() {
    let mut room = Room::Ample;
    let mut rooms = |free: &[u64]| {
        let next = free.iter().map(|mib| {
            room = room.next(mib * MIB, false);
            room
        });
        next.collect::<Vec<_>>()
    };
    use Room::*;
    assert_eq!(rooms(&[65, 63, 65, 70, 72]), [Ample, Low, Low, Low, Ample]);
    assert_eq!(rooms(&[31, 33, 39, 41, 71, 80]), [Scarce, Scarce, Scarce, Low, Low, Ample]);
    assert_eq!(rooms(&[0]), [Scarce]);
    assert_eq!(Room::Ample.next(0, true), Full);
    assert_eq!(Room::Full.next(100 * MIB, false), Ample);
}

#[test]
fn the_reserve_is_kept_across_a_restart_and_given_back_by_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = Disk::of(dir.path());
    assert_eq!((disk.reserve_bytes, disk.room), (RESERVE, Room::Ample));
    assert!(disk.resize(RESERVE - PIECE));
    let length = || std::fs::metadata(dir.path().join("reserve")).unwrap().len();
    assert_eq!(length(), RESERVE - PIECE);
    drop(disk);
    // This disk has plenty of room, so the reserve is filled up again at once.
    assert_eq!(Disk::of(dir.path()).reserve_bytes, RESERVE);
    assert_eq!(length(), RESERVE);
}
