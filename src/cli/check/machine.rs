//! Checks of a gateway at a real gate, which works without a person. A hardware watchdog must
//! restart a machine that hangs. The time must be restored after a power cut. In: files of /sys,
//! /var, /etc.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use super::Lines;
use crate::clock::Stamp;

/// Maximum age of a saved time. A running service saves it more often.
const KEPT_WITHIN: Duration = Duration::from_hours(24);
/// Services that save the time, with the file that each writes.
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
    for device in folders(&root.join("sys/class/watchdog")) {
        let identity = word(&device.join("identity"));
        // The software watchdog runs in the kernel, so it hangs with the kernel.
        if identity == "Software Watchdog" {
            continue;
        }
        if word(&device.join("state")) == "active" {
            return Ok(format!("{identity} restarts the machine when it hangs"));
        }
        idle = Some(identity);
    }
    Err(match idle {
        Some(device) => format!(
            "{device} is not active, so a machine that hangs is not restarted: set RuntimeWatchdogSec= to \
             a time that it supports, see the manual, docs/operate/install.md"
        ),
        None => {
            "no hardware watchdog, so a machine that hangs is not restarted: load the driver of the \
             board's watchdog, if the board has one"
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
        return Ok(format!("starts from the time that {keeper} saved last"));
    }
    // `hctosys` is 1 for the hardware clock that set the kernel's clock at the start.
    let sets = |clock: &PathBuf| word(&clock.join("hctosys")) == "1";
    if let Some(clock) = folders(&root.join("sys/class/rtc")).into_iter().find(sets) {
        return Ok(format!(
            "starts from the board's hardware clock, {}",
            word(&clock.join("name"))
        ));
    }
    Err("starts wrong, because no service saves the time: install systemd-timesyncd. If the machine \
         has another time service, install fake-hwclock"
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
