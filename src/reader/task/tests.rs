//! A keyboard's events through a pipe of the kernel; through uinput where the kernel has it.

use std::{io::Write, os::fd::AsRawFd, path::PathBuf};

use super::*;
use crate::{
    clock::SystemClock,
    reader::{CardNumber, keyboard::tests::typed},
};

const SOON: Duration = Duration::from_secs(60);

fn task(port: PathBuf) -> (Task, mpsc::Receiver<Reading>, watch::Receiver<ReaderState>) {
    let text = format!(
        "name = \"keys\"\ndirection = \"entry\"\ndriver = \"keyboard\"\nport = \"{}\"\n\
         card_format = \"dec10\"",
        port.display()
    );
    let reader = toml::from_str(&text).unwrap();
    let (readings, taken) = mpsc::channel(READINGS);
    let (state, shown) = watch::channel(ReaderState::default());
    let clock = Arc::new(SystemClock::new().unwrap());
    (Task { reader, clock, readings, state }, taken, shown)
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(SOON, work).await.expect("in time")
}

#[tokio::test]
async fn a_keyboards_events_through_a_pipe_are_cards_and_its_end_is_a_fault() {
    let (task, mut taken, shown) = task("keys".into());
    let (read, mut write) = std::io::pipe().unwrap();
    let file = std::fs::File::from(std::os::fd::OwnedFd::from(read));
    let flags = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
    nix::fcntl::fcntl(&file, flags).unwrap();
    let events = pipe::Receiver::from_file_unchecked(file).unwrap();
    let served = tokio::spawn(async move {
        task.serve_on(tokio::io::join(events, tokio::io::sink()), "keys").await
    });
    for _ in 0..2 {
        write.write_all(&typed("0000662316")).unwrap();
        let card = soon(taken.recv()).await.unwrap().heard;
        assert_eq!(card, Heard::Card(CardNumber::of(662_316)));
    }
    assert!(shown.borrow().connected);
    drop(write);
    let fault = soon(served).await.unwrap();
    assert!(fault.contains("check that it is plugged in"), "{fault}");
}

/// A keyboard of the kernel's uinput.
struct Virtual(std::fs::File);

impl Virtual {
    /// Returns the keyboard and its event device; `None` where the kernel has no uinput.
    fn plug_in() -> Option<(Virtual, PathBuf)> {
        const UI_DEV_CREATE: u32 = 0x5501;
        const UI_DEV_SETUP: u32 = 0x405C_5503;
        const UI_SET_EVBIT: u32 = 0x4004_5564;
        const UI_SET_KEYBIT: u32 = 0x4004_5565;
        const UI_GET_SYSNAME_64: u32 = 0x8040_552C;
        let file = std::fs::OpenOptions::new().read(true).write(true).open("/dev/uinput").ok()?;
        let fd = file.as_raw_fd();
        // struct uinput_setup: bus, vendor, product, version, 80 bytes of name, maximum of effects.
        let mut setup = [0_u8; 92];
        setup[..8].copy_from_slice(&[3, 0, 0x34, 0x12, 0x78, 0x56, 1, 0]);
        setup[8..12].copy_from_slice(b"keys");
        let mut name = [0_u8; 64];
        // SAFETY: each request gets what <linux/uinput.h> says: a number, or a buffer of its size.
        unsafe {
            assert_eq!(libc::ioctl(fd, UI_SET_EVBIT as _, 1), 0);
            for code in 1..120 {
                assert_eq!(libc::ioctl(fd, UI_SET_KEYBIT as _, code), 0);
            }
            assert_eq!(libc::ioctl(fd, UI_DEV_SETUP as _, setup.as_ptr()), 0);
            assert_eq!(libc::ioctl(fd, UI_DEV_CREATE as _), 0);
            assert!(libc::ioctl(fd, UI_GET_SYSNAME_64 as _, name.as_mut_ptr()) > 0);
        }
        let end = name.iter().position(|byte| *byte == 0).unwrap();
        let folder =
            format!("/sys/devices/virtual/input/{}", str::from_utf8(&name[..end]).unwrap());
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names = entries.filter_map(|name| name.into_string().ok());
        let event = names.find(|name| name.starts_with("event")).unwrap();
        Some((Virtual(file), format!("/dev/input/{event}").into()))
    }
}

#[tokio::test]
async fn a_keyboard_of_the_kernel_is_grabbed_read_unplugged_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("keyboard");
    let plug_in = || {
        let (keyboard, device) = Virtual::plug_in()?;
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(device, &link).unwrap();
        Some(keyboard)
    };
    let Some(mut keyboard) = plug_in() else {
        eprintln!("this kernel has no /dev/uinput: the codec is tested through a pipe alone");
        return;
    };
    let (task, mut taken, mut shown) = task(link.clone());
    let running = tokio::spawn(task.run());
    for _ in 0..2 {
        soon(shown.wait_for(|state| state.connected)).await.unwrap();
        assert!(keyboard::open(&link).unwrap_err().contains("in use"), "it is not grabbed");
        keyboard.0.write_all(&typed("662316")).unwrap();
        let card = soon(taken.recv()).await.unwrap().heard;
        assert_eq!(card, Heard::Card(CardNumber::of(662_316)));
        drop(keyboard);
        soon(shown.wait_for(|state| !state.connected)).await.unwrap();
        keyboard = plug_in().unwrap();
    }
    running.abort();
}
