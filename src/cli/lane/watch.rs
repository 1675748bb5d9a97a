//! `gatehouse lane watch`: shows a lane live. A terminal has one screen that is drawn again; else
//! each happening is a line.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use anyhow::bail;
use jiff::tz::TimeZone;
use serde_json::Value;
use tokio::sync::oneshot;

use super::super::Context;
use crate::{
    attendance::RecordOutcome,
    control::Request,
    gate::lane::{Happening, Watched},
    services::Watch,
};

/// Maximum number of happenings on the screen: the latest ones.
const ON_SCREEN: usize = 15;

pub(super) async fn run(context: &Context, watch: Watch) -> anyhow::Result<ExitCode> {
    let (_, timezone) = context.site().await?;
    let mut screen = (!context.json && io::stdout().is_terminal())
        .then(|| Screen { lane: watch.lane.clone(), ..Screen::default() });
    let (closed, end) = oneshot::channel::<io::Result<()>>();
    let mut closed = Some(closed);
    let each = |watched: Watched| {
        let text = match (&mut screen, context.json) {
            (Some(screen), _) => screen.with(&watched, &timezone),
            (None, true) => serde_json::to_string(&watched).unwrap_or_default() + "\n",
            (None, false) => line(&watched, &timezone) + "\n",
        };
        let mut stdout = io::stdout();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        if let Err(error) = written
            && let Some(closed) = closed.take()
        {
            let _ = closed.send(Err(error));
        }
    };
    let (mut client, request) = (context.client().await?, Request::Watch(watch));
    tokio::select! {
        ended = client.list::<Watched, Value>(&request, each) => {
            ended?;
            bail!("the lane has stopped; see `gatehouse status`");
        }
        Ok(Err(error)) = end => match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            _ => Err(error.into()),
        },
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The state and the latest happenings of a lane.
#[derive(Default)]
struct Screen {
    lane: String,
    /// The latest line on the controller and on each camera.
    levels: BTreeMap<String, String>,
    latest: VecDeque<String>,
}

impl Screen {
    /// Returns the screen with one more happening.
    fn with(&mut self, watched: &Watched, timezone: &TimeZone) -> String {
        match &watched.happening {
            Happening::Controller(_) => {
                self.levels.insert("controller".to_owned(), words(&watched.happening));
            }
            Happening::Camera { direction, .. } => {
                self.levels.insert(format!("camera {direction}"), words(&watched.happening));
            }
            _ => {
                self.latest.push_back(line(watched, timezone));
                if self.latest.len() > ON_SCREEN {
                    self.latest.pop_front();
                }
            }
        }
        // To the first column of the first row; the rest of each row, and of the screen, is erased.
        let mut text = format!("\x1b[Hlane {}; Ctrl-C ends\x1b[K\n\x1b[K\n", self.lane);
        let shown = self.levels.values().cloned();
        for row in shown.chain([String::new()]).chain(self.latest.iter().cloned()) {
            text += &row;
            text += "\x1b[K\n";
        }
        text + "\x1b[J"
    }
}

/// Returns a happening as a line with its time.
fn line(watched: &Watched, timezone: &TimeZone) -> String {
    let at = watched.at.to_zoned(timezone.clone()).strftime("%H:%M:%S%.3f");
    format!("{at} {}", words(&watched.happening))
}

fn words(happening: &Happening) -> String {
    let of = |worker: &Option<String>| worker.clone().unwrap_or_else(|| "no worker".to_owned());
    match happening {
        Happening::Controller(state) => {
            format!(
                "controller: {}",
                serde_json::to_value(state).map_or_else(|_| String::new(), levels)
            )
        }
        Happening::Camera { direction, connected: false, last_error, .. } => {
            let error = last_error.as_deref().unwrap_or("it was not opened yet");
            format!("camera {direction}: no picture: {error}")
        }
        Happening::Camera { direction, frames, .. } => format!(
            "camera {direction}: frames {}, with a face {}, too small {}, poor view {}, nothing moved {}",
            frames.analysed, frames.faces, frames.too_small, frames.poor, frames.unchanged
        ),
        Happening::Turnstile { event } => format!("controller: {event}"),
        Happening::Look { direction, visit, worker, score, taken } => {
            format!("{direction} look: visit {visit}, {}, score {score:.2}: {taken}", of(worker))
        }
        Happening::Claim { direction, worker, taken } => {
            format!("{direction} claim: {}: {taken}", of(worker))
        }
        Happening::Grant { passage, direction, worker, .. } => match worker {
            Some(worker) => format!("{direction} grant: {worker}, passage {passage}"),
            None => format!("{direction} release by hand, passage {passage}"),
        },
        Happening::Denial { direction, reason, worker } => {
            format!("{direction} denial: {}: {}", of(worker), reason.replace('_', " "))
        }
        Happening::AsksGuard { direction, worker } => format!(
            "{direction} NOT JUDGED: {worker}: look at the person. The guard's button opens, or a card, \
             or `gatehouse lane release LANE --direction {direction} --worker {worker} --reason …`"
        ),
        Happening::Outcome { passage, outcome, detail } => {
            let detail = detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
            let outcome = RecordOutcome::from(*outcome).word().replace('_', " ");
            format!("outcome of {passage}: {outcome}{detail}")
        }
        Happening::Tailgate { direction } => {
            format!("{direction}: a person passed without a grant or a release")
        }
        Happening::Missed { happenings } => {
            format!("{happenings} happenings are missing here: this terminal is too slow")
        }
    }
}

/// Returns the controller's levels and counters as `key value` pairs.
fn levels(state: Value) -> String {
    let value = |value: &Value| match value {
        Value::Array(all) => all.iter().map(level).collect::<Vec<_>>().join("/"),
        other => level(other),
    };
    let state = state.as_object().cloned().unwrap_or_default();
    let is_empty = |v: &Value| v.is_null() || v.as_array().is_some_and(Vec::is_empty);
    let shown = state.iter().filter(|(key, v)| *key != "since_uptime_ms" && !is_empty(v));
    let all = shown.map(|(key, v)| format!("{} {}", key.replace('_', " "), value(v)));
    all.collect::<Vec<_>>().join(", ")
}

fn level(value: &Value) -> String {
    match value {
        Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(parts) => parts.values().map(level).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turnstile::TurnstileState;

    fn watched(happening: Happening) -> Watched {
        Watched { at: jiff::Timestamp::UNIX_EPOCH, happening }
    }

    #[test]
    fn the_screen_keeps_the_levels_and_the_latest_happenings() {
        let mut screen = Screen { lane: "north".to_owned(), ..Screen::default() };
        let state = TurnstileState { fire: Some(true), releases: 3, ..TurnstileState::default() };
        screen.with(&watched(Happening::Controller(Box::new(state))), &TimeZone::UTC);
        let mut text = String::new();
        for n in 0..ON_SCREEN + 5 {
            let event = format!("event {n}.");
            text = screen.with(&watched(Happening::Turnstile { event }), &TimeZone::UTC);
        }
        assert!(text.contains("fire on") && text.contains("releases 3"), "{text}");
        assert!(!text.contains("event 4.") && text.contains("event 5."), "{text}");
        assert!(text.contains("00:00:00.000 controller: event 19."), "{text}");
    }
}
