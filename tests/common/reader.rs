//! A reader of cards at a pseudo-terminal.

use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::fs::symlink,
    },
    path::{Path, PathBuf},
};

use gatehouse::reader::{IdCard, id_card::device::Device};

/// The reader's end of the terminal. Dropping this value unplugs the reader.
pub struct Reader {
    link: PathBuf,
    master: File,
    // The gate's end stays open, so that the terminal does not hang up without a gate.
    _terminal: OwnedFd,
}

impl Reader {
    pub fn plug_in(link: &Path) -> Reader {
        let (mut master, mut terminal) = (-1, -1);
        let mut name = [0_u8; 64];
        // SAFETY: the name of a pseudo-terminal has fewer than 64 bytes, and the results are checked
        // before they are used.
        let made = unsafe {
            let name = name.as_mut_ptr().cast();
            let (no_settings, no_size) = (std::ptr::null(), std::ptr::null());
            libc::openpty(&mut master, &mut terminal, name, no_settings, no_size)
        };
        assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: both descriptors are new and belong to no other value. The settings are those of the
        // terminal.
        let (master, terminal) = unsafe {
            let mut settings = std::mem::zeroed();
            assert_eq!(libc::tcgetattr(terminal, &mut settings), 0);
            libc::cfmakeraw(&mut settings);
            assert_eq!(libc::tcsetattr(terminal, libc::TCSANOW, &settings), 0);
            // A program that the test starts must not keep the terminal open.
            for end in [master, terminal] {
                assert_eq!(libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC), 0);
            }
            (File::from_raw_fd(master), OwnedFd::from_raw_fd(terminal))
        };
        let end = name.iter().position(|byte| *byte == 0).unwrap();
        symlink(str::from_utf8(&name[..end]).unwrap(), link).unwrap();
        Reader { link: link.to_owned(), master, _terminal: terminal }
    }

    /// Sends bytes to the gate.
    pub fn send(&mut self, bytes: &[u8]) {
        self.master.write_all(bytes).unwrap();
    }

    /// Answers as the SAM of a reader of identity cards does, with this card on it.
    pub fn answer_with(&mut self, card: IdCard) {
        let mut master = self.master.try_clone().unwrap();
        // The thread ends with the test's process, or with the terminal.
        std::thread::spawn(move || {
            let mut device = Device::default();
            device.lay(Some(card));
            let mut bytes = [0; 256];
            while let Ok(read) = master.read(&mut bytes) {
                if master.write_all(&device.hear(&bytes[..read])).is_err() {
                    return;
                }
            }
        });
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.link);
    }
}
