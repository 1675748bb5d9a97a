//! What nobody is at the gate to do: to start a machine that hangs, and to set its clock after a
//! power cut. Of a box at a real gate alone.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use super::Lines;
use crate::clock::Stamp;

/// Who keeps the time writes it at least so often.
const KEPT_WITHIN: Duration = Duration::from_hours(24);
/// Who keeps it, and where.
const KEEPERS: [(&str, &str); 2] = [
    ("systemd-timesyncd", "var/lib/systemd/timesync/clock"),
    ("fake-hwclock", "etc/fake-hwclock.data"),
];

pub(super) fn check(lines: &mut Lines, root: &Path, now: Stamp) {
    let found = [("watchdog", watchdog(root)), ("time after a power cut", kept_time(root, now))];
    for (check, found) in found {
        match found {
            Ok(_) => lines.add(check, found),
            Err(warning) => lines.warn(check, warning),
        }
    }
}

fn watchdog(root: &Path) -> Result<String, String> {
    let mut idle = None;
    for dog in folders(&root.join("sys/class/watchdog")) {
        let identity = word(&dog.join("identity"));
        // The kernel's own hangs with it.
        if identity == "Software Watchdog" {
            continue;
        }
        if word(&dog.join("state")) == "active" {
            return Ok(format!("{identity} starts the machine anew when it hangs"));
        }
        idle = Some(identity);
    }
    Err(match idle {
        Some(dog) => format!(
            "{dog} is not active, and a machine that hangs stays so: give it a RuntimeWatchdogSec= \
             that it can count to, see the manual, operate/install.md"
        ),
        None => {
            "there is none, and a machine that hangs stays so: load the driver of the board's, \
                 if it has one"
                .to_owned()
        }
    })
}

fn kept_time(root: &Path, now: Stamp) -> Result<String, String> {
    let now = Duration::from_millis(u64::try_from(now.wall_ms).unwrap_or(0));
    let fresh = |path: &str| {
        let written = fs::metadata(root.join(path)).and_then(|m| m.modified()).ok();
        let written = written.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        written.is_some_and(|at| now.saturating_sub(at) < KEPT_WITHIN)
    };
    if let Some((keeper, _)) = KEEPERS.into_iter().find(|(_, path)| fresh(path)) {
        return Ok(format!("begins with the last that {keeper} knew"));
    }
    // The kernel set its clock by it at the start.
    let sets = |clock: &PathBuf| word(&clock.join("hctosys")) == "1";
    if let Some(clock) = folders(&root.join("sys/class/rtc")).into_iter().find(sets) {
        return Ok(format!(
            "begins with that of the board's own clock, {}",
            word(&clock.join("name"))
        ));
    }
    Err("begins anywhere, for nothing keeps it: install systemd-timesyncd, or, beside another time \
         daemon, fake-hwclock"
        .to_owned())
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(of).into_iter().flatten().flatten().collect();
    folders.sort_by_key(fs::DirEntry::file_name);
    folders.into_iter().map(|entry| entry.path()).collect()
}

fn word(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests;
