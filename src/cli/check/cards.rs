//! The readers of cards.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    reader::{self, Heard, Reader, ReaderDriver},
    status::ReaderStatus,
};

/// Timeout for a reader that answers requests.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// Opens a reader's port, unless the daemon uses it, and says what is known of the reader.
pub(super) async fn check(
    reader: &Reader,
    running: bool,
    shown: Option<&ReaderStatus>,
    clock: Arc<dyn Clock>,
) -> Result<String, String> {
    let port = reader.port.display();
    if running {
        return match shown {
            Some(ReaderStatus { connected: false, error, .. }) => {
                Err(error.clone().unwrap_or_else(|| format!("{port} is not connected")))
            }
            Some(ReaderStatus { unreadable, last_unreadable: Some(what), .. }) => {
                Ok(format!("{port} is in use by the daemon; not read {unreadable} times: {what}"))
            }
            _ => Ok(format!("{port} is in use by the daemon: see `gatehouse status`")),
        };
    }
    let cancel = CancellationToken::new();
    let _end = cancel.clone().drop_guard();
    let (_readings, mut state) = reader::spawn(reader, clock, cancel);
    let known = state.wait_for(|state| state.connected || state.error.is_some());
    let failed = match tokio::time::timeout(ANSWERS_WITHIN, known).await {
        Ok(Ok(state)) => state.error.clone().filter(|_| !state.connected),
        Ok(Err(_)) => Some("its task ended; see the log".to_owned()),
        Err(_) => Some(format!(
            "{port}: the reader does not answer: see whether baud is its speed, and the wires"
        )),
    };
    match (failed, reader.driver) {
        (Some(problem), _) => Err(problem),
        (None, ReaderDriver::IdCard) => Ok(format!("{port}: the reader answers")),
        (None, _) => Ok(format!(
            "{port} can be opened; only a card shows that the reader works: `gatehouse check \
             --reader {}` shows what it reads",
            reader.name
        )),
    }
}

/// Time for which `check --reader` listens.
const LISTENS: Duration = Duration::from_secs(10);

/// Listens to a reader for a while, and says what it reads.
pub(super) async fn listen(
    reader: &Reader,
    clock: Arc<dyn Clock>,
    mut said: impl FnMut(String, bool) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let cancel = CancellationToken::new();
    let _end = cancel.clone().drop_guard();
    let (mut readings, mut state) = reader::spawn(reader, clock, cancel);
    let mut over = pin!(tokio::time::sleep(LISTENS));
    let (mut read, mut unreadable, mut error) = (0_u64, 0, None);
    loop {
        tokio::select! {
            biased;
            () = &mut over => break,
            Some(reading) = readings.recv() => {
                read += 1;
                match reading.heard {
                    Heard::Card(number) => said(format!("card {}", number.shown()), true)?,
                    Heard::QrNumber(number) => said(format!("a number in QR, {}", number.shown()), true)?,
                    Heard::Code(code) => {
                        let says = code.says();
                        let what = format!("a code for worker {} at gateway {}", says.worker, says.gateway);
                        said(what, true)?;
                    }
                    Heard::IdCard(_) => said("an identity card; its data is not shown".to_owned(), true)?,
                    Heard::Present | Heard::Silent(_) | Heard::Unreadable(_) => {}
                }
            }
            Ok(()) = state.changed() => {
                let now = state.borrow_and_update().clone();
                if now.unreadable > unreadable && let Some((what, _)) = now.last_unreadable {
                    unreadable = now.unreadable;
                    said(format!("not read: {what}"), false)?;
                }
                if now.error.is_some() && now.error != error {
                    said(now.error.clone().unwrap_or_default(), false)?;
                }
                error = now.error;
            }
        }
    }
    if read == 0 && unreadable == 0 && error.is_none() {
        said(
            format!(
                "nothing came within {} s: hold a card to it; see the wires, the port and the speed",
                LISTENS.as_secs()
            ),
            false,
        )?;
    }
    Ok(read > 0)
}
