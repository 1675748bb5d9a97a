//! A reader of cards at a pseudo-terminal.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use gatehouse::reader::{IdCard, id_card::device::Device};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_serial::{SerialPort, SerialStream};

/// The reader's end of the terminal. Dropping this value unplugs the reader.
pub struct Reader {
    link: PathBuf,
    master: Option<SerialStream>,
    runtime: tokio::runtime::Runtime,
    // The other end stays open, so that the terminal does not hang up without a gate.
    _terminal: SerialStream,
}

impl Reader {
    pub fn plug_in(link: &Path) -> Reader {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (master, mut terminal) = runtime.block_on(async { SerialStream::pair().unwrap() });
        terminal.set_exclusive(false).unwrap();
        symlink(terminal.name().unwrap(), link).unwrap();
        Reader { link: link.to_owned(), master: Some(master), runtime, _terminal: terminal }
    }

    /// Sends bytes to the gate.
    pub fn send(&mut self, bytes: &[u8]) {
        let master = self.master.as_mut().unwrap();
        self.runtime.block_on(master.write_all(bytes)).unwrap();
    }

    /// Answers as the SAM of a reader of identity cards does, with this card on it.
    pub fn answer_with(&mut self, card: IdCard) {
        let mut master = self.master.take().unwrap();
        self.runtime.spawn(async move {
            let mut device = Device::default();
            device.lay(Some(card));
            let mut bytes = [0; 256];
            while let Ok(read) = master.read(&mut bytes).await {
                let answer = device.hear(&bytes[..read]);
                if master.write_all(&answer).await.is_err() {
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
