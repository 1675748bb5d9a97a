//! USB readers that type: cards and QR codes as the keys of a keyboard, through the kernel's evdev.
//!
//! The device is grabbed, so that no digit lands on a console. The keys are those of a US layout, as
//! such readers send them. Enter or Tab ends a line, and 200 ms between two keys clear it. Source:
//! `linux/input.h` and `linux/input-event-codes.h`.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::Path,
    time::Duration,
};

use super::{Codec, Heard, line::LINE_MAX, text::Text};
use crate::clock::Monotonic;

/// Maximum interval between two keys of a line.
const GAP: Duration = Duration::from_millis(200);
/// Bytes of an event of the kernel: two longs of time, then type, code and value.
pub(super) const EVENT: usize = 2 * size_of::<libc::c_long>() + 8;
/// `EVIOCGRAB`: `_IOW('E', 0x90, int)`.
const GRAB: u32 = 0x4004_4590;

const EV_KEY: u16 = 1;
const PRESSED: i32 = 1;
const RELEASED: i32 = 0;
const TAB: u16 = 15;
const ENTER: u16 = 28;
const KEYPAD_ENTER: u16 = 96;
const SHIFTS: [u16; 2] = [42, 54];

/// The keys from code 2 on, without and with a shift key; a blank stands for no character.
const PLAIN: &[u8] = b"1234567890-=  qwertyuiop[]  asdfghjkl;'` \\zxcvbnm,./ *  ";
const SHIFTED: &[u8] = b"!@#$%^&*()_+  QWERTYUIOP{}  ASDFGHJKL:\"~ |ZXCVBNM<>? *  ";
/// The keypad from code 71 on.
const KEYPAD: &[u8] = b"789-456+1230.";

/// Returns the character of a key.
fn character(code: u16, shift: bool) -> Option<u8> {
    let of = |keys: &[u8], first: u16| {
        keys.get(usize::from(code.checked_sub(first)?)).copied().filter(|key| *key != b' ')
    };
    of(KEYPAD, 71).or_else(|| of(if shift { SHIFTED } else { PLAIN }, 2))
}

/// Opens an input device and grabs it.
pub(super) fn open(path: &Path) -> Result<File, String> {
    let port = path.display();
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => {
                "plug the reader in, and see whether the configuration names its event device"
            }
            io::ErrorKind::PermissionDenied => {
                "this user may not use it: add the user to the group input"
            }
            _ => "see whether the configuration names the reader's event device",
        };
        format!("cannot open {port}: {error}; {remedy}")
    })?;
    // SAFETY: the descriptor is open, and EVIOCGRAB takes a number.
    let grabbed = unsafe { libc::ioctl(file.as_raw_fd(), GRAB as _, 1) };
    if grabbed == 0 {
        return Ok(file);
    }
    let error = io::Error::last_os_error();
    Err(match error.raw_os_error() {
        Some(libc::EBUSY) => {
            format!(
                "{port} is in use by another program; stop that program or configure another port"
            )
        }
        _ => format!(
            "{port} is no keyboard: {error}; give its event device, such as \
             /dev/input/by-path/…-event-kbd"
        ),
    })
}

pub(super) struct Keyboard {
    text: Text,
    /// The bytes of an event that is not whole yet.
    bytes: Vec<u8>,
    line: Vec<u8>,
    shift: bool,
    too_long: bool,
    clears_at: Option<Monotonic>,
}

impl Keyboard {
    pub(super) fn new(text: Text) -> Keyboard {
        let (bytes, line) = (Vec::new(), Vec::new());
        Keyboard { text, bytes, line, shift: false, too_long: false, clears_at: None }
    }

    fn key(&mut self, code: u16, value: i32, now: Monotonic) -> Option<Heard> {
        if SHIFTS.contains(&code) {
            self.shift = value != RELEASED;
            return None;
        }
        if value != PRESSED {
            return None;
        }
        if matches!(code, ENTER | KEYPAD_ENTER | TAB) {
            return self.ended();
        }
        let key = character(code, self.shift)?;
        self.clears_at = Some(now + GAP);
        match self.line.len() >= LINE_MAX {
            true => self.too_long = true,
            false => self.line.push(key),
        }
        None
    }

    fn ended(&mut self) -> Option<Heard> {
        self.clears_at = None;
        let (line, too_long) = (std::mem::take(&mut self.line), std::mem::take(&mut self.too_long));
        if too_long {
            return Some(Heard::Unreadable(format!("a line of more than {LINE_MAX} keys")));
        }
        let text = String::from_utf8(line).unwrap_or_default();
        (!text.is_empty()).then(|| self.text.means(&text))
    }
}

impl Codec for Keyboard {
    fn hear(&mut self, bytes: &[u8], now: Monotonic) -> Vec<Heard> {
        let mut heard = self.tick(now).0;
        self.bytes.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.bytes);
        let mut events = held.chunks_exact(EVENT);
        for event in events.by_ref() {
            let [.., t0, t1, c0, c1, v0, v1, v2, v3] = *event else { continue };
            let (code, value) =
                (u16::from_ne_bytes([c0, c1]), i32::from_ne_bytes([v0, v1, v2, v3]));
            if u16::from_ne_bytes([t0, t1]) == EV_KEY {
                heard.extend(self.key(code, value, now));
            }
        }
        self.bytes = events.remainder().to_vec();
        heard
    }

    fn due(&self) -> Option<Monotonic> {
        self.clears_at
    }

    fn tick(&mut self, now: Monotonic) -> (Vec<Heard>, Vec<u8>) {
        if self.clears_at.is_none_or(|at| now < at) {
            return (Vec::new(), Vec::new());
        }
        let keys = self.line.len();
        (self.clears_at, self.too_long) = (None, false);
        self.line.clear();
        let what = format!(
            "{keys} keys without Enter within 200 ms: set the reader to end a line with Enter, and type \
             nothing on it"
        );
        (vec![Heard::Unreadable(what)], Vec::new())
    }
}

#[cfg(test)]
pub(super) mod tests;
