//! Sessions over TCP, one for each topic.
//!
//! In: rows. Out: the platform's verdicts, and its lists. The link is up while at least one session
//! is. Each session has a task of its own ([`line`]) that connects, logs in, sends heartbeats, and
//! connects again after a pause. So a device that the platform refuses does not stop the records of
//! the other direction: its rows are not taken for now, and are offered again as soon as its session
//! is up. Touches: the network and the clock.

mod line;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{future::BoxFuture, stream::StreamExt};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

use self::line::{Ask, Line, State};
use super::{
    client::Cause,
    profiles::{Parcel, Sessions, Verdict},
    wire::{Kept, Wire, WireError},
};
use crate::{clock::Clock, config::PlatformUrl, words::without_numbers};

/// Time within which a session begins with a row, before the rows of other sessions go on.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);
/// Time for the first attempt of all sessions, before the link works with those that are up.
const TRIED_WITHIN: Duration = Duration::from_secs(30);
/// Maximum number of commands of a platform that wait for the link.
const COMMANDS: usize = 1024;

/// The sessions of one link. Dropping it ends them.
pub(super) struct Tcp {
    url: PlatformUrl,
    sessions: Arc<dyn Sessions>,
    clock: Arc<dyn Clock>,
    lines: BTreeMap<String, Handle>,
    tasks: JoinSet<()>,
    came: Arc<Came>,
}

/// The handle of a session's task.
struct Handle {
    asks: mpsc::Sender<Ask>,
    state: watch::Receiver<State>,
}

/// What came over all sessions since the last upkeep.
#[derive(Default)]
struct Came(Mutex<Kept>);

impl Came {
    fn change(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds a command. Beyond [`COMMANDS`] it is dropped with a note.
    fn command(&self, payload: Vec<u8>) {
        self.change(|kept| match kept.commands.len() < COMMANDS {
            true => kept.commands.push(payload),
            false => {
                kept.note = Some("the platform's list is longer than the gateway takes".into())
            }
        });
    }

    fn take(&self) -> Kept {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Tcp {
    pub fn new(url: PlatformUrl, sessions: Arc<dyn Sessions>, clock: Arc<dyn Clock>) -> Tcp {
        let (lines, tasks, came) = (BTreeMap::new(), JoinSet::new(), Arc::default());
        Tcp { url, sessions, clock, lines, tasks, came }
    }

    fn begin(&mut self) {
        for topic in self.sessions.topics() {
            // A further row waits in the link.
            let (asks, asked) = mpsc::channel(1);
            let (told, state) = watch::channel(State::Begins);
            let line = Line {
                topic: topic.clone(),
                url: self.url.clone(),
                dialogue: self.sessions.session(&topic),
                answers_within: self.sessions.answers_within(),
                clock: self.clock.clone(),
                asked,
                state: told,
                came: self.came.clone(),
                awaited: None,
            };
            self.tasks.spawn(line.run());
            self.lines.insert(topic, Handle { asks, state });
        }
    }

    /// Waits until each session is up or has failed. Returns the failures.
    async fn tried(&mut self) -> Vec<(String, WireError)> {
        let each = self.lines.iter_mut().map(|(topic, line)| async move {
            let tried = line.state.wait_for(|state| !matches!(state, State::Begins)).await;
            match tried.as_deref() {
                Ok(State::Down(error)) => Some((topic.clone(), error.clone())),
                Ok(_) => None,
                Err(_) => Some((topic.clone(), WireError::new("its task has ended"))),
            }
        });
        let all: futures_util::stream::FuturesOrdered<_> = each.collect();
        all.filter_map(|failed| async { failed }).collect().await
    }

    /// Returns the reason for which all sessions are down.
    fn all_down(&self) -> Option<WireError> {
        let mut first: Option<WireError> = None;
        for (topic, line) in &self.lines {
            match &*line.state.borrow() {
                State::Down(error) => {
                    // A refused login needs a person; another failure passes.
                    if first.as_ref().is_none_or(|first| !first.cause.is_login()) {
                        first = Some(named(topic, error));
                    }
                }
                State::Begins | State::Up => return None,
            }
        }
        first.or_else(|| self.lines.is_empty().then(|| WireError::new("it has no session")))
    }
}

fn named(topic: &str, WireError { problem, cause }: &WireError) -> WireError {
    WireError { problem: format!("session {topic}: {problem}"), cause: *cause }
}

impl Wire for Tcp {
    fn open(&mut self) -> BoxFuture<'_, Result<(), WireError>> {
        Box::pin(async {
            self.begin();
            let _ = timeout(TRIED_WITHIN, self.tried()).await;
            self.all_down().map_or(Ok(()), Err)
        })
    }

    fn deliver(&mut self, rows: Vec<Parcel>) -> BoxFuture<'_, Result<Vec<Verdict>, WireError>> {
        Box::pin(async move {
            let mut verdicts = Vec::with_capacity(rows.len());
            for row in rows {
                verdicts.push(self.one(row).await?);
            }
            Ok(verdicts)
        })
    }

    fn upkeep(&mut self) -> BoxFuture<'_, Result<Kept, WireError>> {
        Box::pin(async {
            if let Some(error) = self.all_down() {
                return Err(error);
            }
            let mut kept = self.came.take();
            for (topic, line) in &self.lines {
                if let State::Down(error) = &*line.state.borrow() {
                    kept.down.push((topic.clone(), error.problem.clone()));
                }
            }
            Ok(kept)
        })
    }
}

impl Tcp {
    /// Delivers one row over its session. While the session is down, the row is not taken for now.
    async fn one(&mut self, row: Parcel) -> Result<Verdict, WireError> {
        let topic = row.message.topic.clone();
        let Some(line) = self.lines.get(&topic) else {
            return Ok(Verdict::NotNow(format!("there is no session {topic}")));
        };
        let up = matches!(&*line.state.borrow(), State::Up);
        if up {
            let (answer, answered) = oneshot::channel();
            let (begins, mut begun) = oneshot::channel();
            if line.asks.send(Ask { row, answer, begins }).await.is_ok() {
                // The session may be busy with a long answer. Then the others go on.
                let waited = timeout(BEGINS_WITHIN, &mut begun).await;
                begun.close();
                if waited.is_err() && begun.try_recv().is_err() {
                    return Ok(Verdict::NotNow(format!("session {topic} is busy")));
                }
                if let Ok(verdict) = answered.await {
                    return Ok(verdict);
                }
            }
        }
        // The session has ended, and its answer may be lost.
        if let Some(error) = self.all_down() {
            return Err(error);
        }
        let state = self.lines.get(&topic).map(|line| line.state.borrow().clone());
        let why = match state {
            Some(State::Down(error)) => error.problem,
            _ => "it connects".to_owned(),
        };
        Ok(Verdict::NotNow(format!("session {topic}: {why}")))
    }
}

/// Tries each session of an upstream once: connects, logs in and hangs up.
pub(super) async fn tried(
    url: PlatformUrl,
    sessions: Arc<dyn Sessions>,
    clock: Arc<dyn Clock>,
) -> Vec<(String, Result<(), String>)> {
    let topics = sessions.topics();
    let mut tcp = Tcp::new(url, sessions, clock);
    tcp.begin();
    // A platform may answer so slowly that the first attempt has no end in sight.
    let _ = timeout(TRIED_WITHIN, tcp.tried()).await;
    let one = |topic: String| {
        let tried = match tcp.lines.get(&topic).map(|line| line.state.borrow().clone()) {
            Some(State::Up) => Ok(()),
            Some(State::Down(error)) => Err(error.problem),
            Some(State::Begins) | None => {
                Err(format!("the login was not answered within {TRIED_WITHIN:?}"))
            }
        };
        (topic, tried)
    };
    topics.into_iter().map(one).collect()
}

/// Returns the cause of a refused login.
fn login_refused(words: &str) -> WireError {
    WireError {
        problem: format!("the login was refused: {}", without_numbers(words)),
        cause: Cause::Login,
    }
}
