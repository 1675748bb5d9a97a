use super::*;
use crate::clock::{Clock, SystemClock};

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn an_inactive_or_missing_hardware_watchdog_gives_a_warning() {
    let root = tempfile::tempdir().unwrap();
    let dog = |n: u8, file: &str, text: &str| {
        write(root.path(), &format!("sys/class/watchdog/watchdog{n}/{file}"), text);
    };
    assert!(watchdog(root.path()).unwrap_err().contains("no hardware watchdog"));
    dog(0, "identity", "Software Watchdog\n");
    dog(0, "state", "active\n");
    assert!(watchdog(root.path()).unwrap_err().contains("no hardware watchdog"));
    dog(1, "identity", "Broadcom BCM2835 Watchdog timer\n");
    dog(1, "state", "inactive\n");
    let idle = watchdog(root.path()).unwrap_err();
    assert!(idle.starts_with("Broadcom BCM2835 Watchdog timer is not active"), "{idle}");
    assert!(idle.contains("RuntimeWatchdogSec="), "{idle}");
    dog(1, "state", "active\n");
    assert!(watchdog(root.path()).unwrap().starts_with("Broadcom"));
}

#[test]
fn a_time_that_no_service_saved_within_a_day_gives_a_warning() {
    let root = tempfile::tempdir().unwrap();
    let now = SystemClock::new().unwrap().stamp();
    let later = Stamp { wall_ms: now.wall_ms + 25 * 3_600_000, ..now };
    assert!(kept_time(root.path(), now).unwrap_err().contains("fake-hwclock"));
    for (keeper, path) in KEEPERS {
        write(root.path(), path, "");
        assert!(kept_time(root.path(), now).unwrap().contains(keeper));
        assert!(kept_time(root.path(), later).is_err());
        fs::remove_file(root.path().join(path)).unwrap();
    }
    write(root.path(), "sys/class/rtc/rtc0/hctosys", "0\n");
    assert!(kept_time(root.path(), now).is_err());
    write(root.path(), "sys/class/rtc/rtc1/hctosys", "1\n");
    write(root.path(), "sys/class/rtc/rtc1/name", "rtc-ds1307 1-0068\n");
    assert!(kept_time(root.path(), now).unwrap().ends_with("rtc-ds1307 1-0068"));
}
