//! Finds the troubles of the gate's parts. In: the states of cameras, turnstiles, lanes and links.
//! Out: [`Trouble`]s. `status` shows a trouble at once; a trouble that lasts becomes an alarm.

use std::time::Duration;

use jiff::SignedDuration;

use crate::{
    alarms::{PartState, Trouble},
    camera::CameraState,
    clock::{Monotonic, Stamp},
    config::{AlarmLimits, Direction},
    gate::{
        guarding::Fallback,
        lane::GLITCH_WINDOW,
        vision_pool::{Aside, Blind, Showing},
    },
    ledger::{self, AlarmWhat, Detail, LedgerError},
    reader::ReaderState,
    services::{CameraPanel, LanePanel, Services},
    turnstile::TurnstileState,
    uplink::{Certificate, CertificateOf, UpstreamState},
};

/// Time before the end of a certificate from which on it is an alarm.
const ENDS_SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Timeout after the last undecided face, after which undecided faces are no trouble any longer.
const UNDECIDED_OVER: Duration = Duration::from_secs(10);

/// Time with a picture that shows nothing, after which it is a trouble.
const BLIND_FOR: Duration = Duration::from_secs(600);

/// An upstream's outbox: the number of rows, and the time of the oldest row.
pub type Backlog = (u64, Option<Stamp>);

/// Reads each upstream's outbox from the database.
pub async fn backlogs(services: &Services) -> Result<Vec<Backlog>, LedgerError> {
    let names: Vec<String> =
        services.upstreams.iter().map(|u| u.state.borrow().name.clone()).collect();
    let read = services.store.read(move |tx| {
        names.iter().map(|name| ledger::backlog(tx, name)).collect::<Result<Vec<_>, LedgerError>>()
    });
    read.await
}

/// Returns the state of each part that may become an alarm. It leaves out the states that need a
/// history. `backlogs`: `None` if they could not be read.
pub fn looks(services: &Services, backlogs: Option<&[Backlog]>) -> Vec<PartState> {
    let now = services.clock.monotonic();
    let mut looks = Vec::new();
    for lane in &services.lanes {
        for panel in &lane.cameras {
            let found = camera(panel, &panel.state.borrow(), now);
            looks.push(PartState::new(AlarmWhat::Camera, camera_name(lane, panel), found));
            let found = undecided(lane, panel, now, services.alarm_limits.undecided);
            looks.push(PartState::new(AlarmWhat::Undecided, camera_name(lane, panel), found));
            let found = fallback(lane, panel);
            looks.push(PartState::new(AlarmWhat::Liveness, camera_name(lane, panel), found));
        }
        for panel in &lane.readers {
            let found = reader(&panel.state.borrow());
            looks.push(PartState::new(AlarmWhat::Reader, &panel.name, found));
        }
        let found = turnstile(&lane.turnstile.borrow());
        looks.push(PartState::new(AlarmWhat::Turnstile, &lane.name, found));
        for direction in Direction::BOTH {
            let found = passage_sensor(lane, direction);
            looks.push(PartState::new(AlarmWhat::PassageSensor, side_name(lane, direction), found));
        }
        looks.extend(foreign(&lane.name, &lane.turnstile.borrow()));
        looks.extend(fire_input(lane, now));
    }
    looks.push(PartState::new(AlarmWhat::Ledger, services.ledger.id.to_string(), ledger(services)));
    looks.push(PartState::new(AlarmWhat::Roster, &services.origin.gateway, roster(services)));
    let stamp = services.clock.stamp();
    for (n, upstream) in services.upstreams.iter().enumerate() {
        let state = upstream.state.borrow();
        let backlog = backlogs.and_then(|all| all.get(n)).copied();
        looks.push(PartState::new(AlarmWhat::Link, &state.name, link(&state, backlog, now)));
        looks.push(match backlog {
            Some(backlog) => {
                let found = outbox(&state, backlog, stamp, &services.alarm_limits);
                PartState::new(AlarmWhat::Outbox, &state.name, found)
            }
            None => PartState::unknown(AlarmWhat::Outbox, &state.name),
        });
        let certificates = certificates(&state, stamp, services.started);
        looks.extend(certificates.into_iter().map(|(_, look)| look));
    }
    looks
}

/// Returns whether the lane's readers work, where it has nothing else: a lane with cameras goes on
/// without its readers.
pub(super) fn reads(lane: &LanePanel) -> bool {
    let mut readers = lane.readers.iter();
    !lane.cameras.is_empty() || readers.all(|reader| reader.state.borrow().connected)
}

/// Returns the number of lanes, and of those whose controller answers and whose cameras send frames,
/// or whose readers work where there is no camera.
pub fn working(services: &Services) -> (u32, u32) {
    let now = services.clock.monotonic();
    let works = |lane: &&LanePanel| {
        let mut cameras = lane.cameras.iter();
        lane.turnstile.borrow().connected
            && reads(lane)
            && cameras.all(|panel| camera(panel, &panel.state.borrow(), now).is_none())
    };
    let working = services.lanes.iter().filter(works).count();
    // A site has few lanes.
    [services.lanes.len(), working].map(|n| u32::try_from(n).unwrap_or(u32::MAX)).into()
}

/// Returns the name of a camera in `status`: `north/entry`.
pub(super) fn camera_name(lane: &LanePanel, camera: &CameraPanel) -> String {
    format!("{}/{}", lane.name, camera.direction)
}

/// Returns the name of a side of a lane in `status`: `north/entry`.
pub(super) fn side_name(lane: &LanePanel, direction: Direction) -> String {
    format!("{}/{direction}", lane.name)
}

/// Returns whether the camera is open and sends no frames.
pub(super) fn stalled(panel: &CameraPanel, state: &CameraState, now: Monotonic) -> bool {
    let quiet = now.since(state.last_frame.unwrap_or(state.since).max(state.since));
    state.connected && quiet > panel.stalled_after
}

pub(super) fn reader(state: &ReaderState) -> Option<Trouble> {
    let error = state.error.as_ref().filter(|_| !state.connected)?;
    let detail = Detail::new("reader_error").with("problem", error.as_str());
    Some(Trouble { since: state.since, detail, count: None })
}

pub(super) fn camera(panel: &CameraPanel, state: &CameraState, now: Monotonic) -> Option<Trouble> {
    if let Some(since) = state.no_key_frame_since {
        let detail = Detail::new("camera_no_key_frame").with("source", &*panel.source);
        let detail = detail.with("lasted_s", now.since(since).as_secs());
        return Some(Trouble { since, detail, count: None });
    }
    if !state.connected && !state.finished {
        let problem = of_source(&panel.source, state.last_error.as_deref().unwrap_or("opening"));
        let detail = match state.next_try {
            Some(at) => Detail::new("camera_login_refused").with("wait_s", at.since(now).as_secs()),
            None => Detail::new("camera_error"),
        };
        let detail = detail.with("problem", problem);
        return Some(Trouble { since: state.since, detail, count: None });
    }
    let silent = stalled(panel, state, now).then(|| Trouble {
        since: state.last_frame.unwrap_or(state.since),
        detail: Detail::new("camera_silent").with("source", &*panel.source),
        count: None,
    });
    silent.or_else(|| blind(panel, Blind::Frozen, "camera_frozen"))
}

/// Returns a trouble if the camera's picture has been black, or of one grey, for long. It is no alarm,
/// because it may be night.
pub(super) fn dark(panel: &CameraPanel) -> Option<Trouble> {
    let black = blind(panel, Blind::Black, "camera_black");
    black.or_else(|| blind(panel, Blind::Plain, "camera_plain"))
}

fn blind(panel: &CameraPanel, why: Blind, code: &'static str) -> Option<Trouble> {
    let (blind, Showing { first, last }) = panel.seen.blind()?;
    (blind == why && last.since(first) >= BLIND_FOR).then(|| Trouble {
        since: first,
        detail: Detail::new(code).with("source", &*panel.source),
        count: None,
    })
}

/// Returns a trouble if the camera's replay was played once and is over. It is no alarm, because
/// the configuration says so.
pub(super) fn replay_over(source: &str, state: &CameraState) -> Option<Trouble> {
    state.finished.then(|| Trouble {
        since: state.since,
        detail: Detail::new("replay_over").with("source", source),
        count: None,
    })
}

/// Returns a trouble if the camera has seen faces for `limit`, and the lane has not decided.
/// Workers then cannot pass and do not see the reason.
pub(super) fn undecided(
    lane: &LanePanel,
    camera: &CameraPanel,
    now: Monotonic,
    limit: Duration,
) -> Option<Trouble> {
    let settled = lane.state.borrow().settled[camera.direction as usize];
    undecided_since(camera.seen.showing()?, settled, now, limit).map(|since| Trouble {
        since,
        detail: Detail::new("faces_undecided")
            .with("source", &*camera.source)
            .with("lasted_s", now.since(since).as_secs()),
        count: None,
    })
}

/// Returns a trouble if the entry asks no guard, because too many visits were not judged.
pub(super) fn fallback(lane: &LanePanel, camera: &CameraPanel) -> Option<Trouble> {
    let fallback = lane.state.borrow().fallback;
    let Fallback { since, low, visits } =
        fallback.filter(|_| camera.direction == Direction::Entry)?;
    let detail = Detail::new("liveness_fallback").with("low", u64::from(low));
    Some(Trouble { since, detail: detail.with("visits", u64::from(visits)), count: None })
}

/// Returns a trouble if the camera has seen only faces that were set aside for `limit`. It is no
/// alarm, because these people may be on the street behind the gate.
pub(super) fn aside(camera: &CameraPanel, now: Monotonic, limit: Duration) -> Option<Trouble> {
    let (why, showing) = camera.seen.showing_aside()?;
    let code = match why {
        Aside::TooSmall => "faces_too_small",
        Aside::CutOff => "faces_cut_off",
        Aside::Outside | Aside::Fixed => "faces_outside",
    };
    undecided_since(showing, None, now, limit).map(|since| Trouble {
        since,
        detail: Detail::new(code).with("source", &*camera.source),
        count: None,
    })
}

/// Returns since when the lane has seen faces without a decision, if that is at least `limit`.
fn undecided_since(
    Showing { first, last }: Showing,
    settled: Option<Monotonic>,
    now: Monotonic,
    limit: Duration,
) -> Option<Monotonic> {
    let since = settled.map_or(first, |settled| first.max(settled));
    if last.since(since) < limit || now.since(last) > UNDECIDED_OVER {
        return None;
    }
    Some(since)
}

/// Returns the error of a camera with its source. Most errors name the source already.
fn of_source(source: &str, error: &str) -> String {
    let place = ["replay:", "v4l2:"].iter().find_map(|scheme| source.strip_prefix(scheme));
    match error.contains(place.unwrap_or(source)) {
        true => error.to_owned(),
        false => format!("{source}: {error}"),
    }
}

pub(super) fn turnstile(state: &TurnstileState) -> Option<Trouble> {
    (!state.connected).then(|| Trouble {
        since: state.since,
        detail: Detail::new("turnstile_down").with("problem", problem(&state.last_error)),
        count: None,
    })
}

/// Returns a trouble if the passage sensor of this direction is suspect.
pub(super) fn passage_sensor(lane: &LanePanel, direction: Direction) -> Option<Trouble> {
    let (why, since) = lane.state.borrow().suspects[direction.index()]?;
    let sensor = lane.turnstile.borrow().sensors.as_ref()?[direction.index()].clone();
    let detail = why.detail().with("sensor", sensor).with("direction", direction.word());
    Some(Trouble { since, detail: detail.with("lane", &*lane.name), count: None })
}

/// Returns whether the ledger was altered or is damaged.
fn ledger(services: &Services) -> Option<Trouble> {
    let audit = services.audit.borrow().clone();
    let (broken, replaced) = {
        let heads = services.heads.borrow();
        (heads.broken, heads.replaced)
    };
    let altered = audit.first.map(|first| {
        Detail::new("ledger_altered").with("entries", audit.entries).with("first", first)
    });
    let broken = broken.map(|size| Detail::new("ledger_broken").with("size", size));
    let replaced = replaced.map(|before| {
        Detail::new("signing_key_replaced").with("before", hex::encode(before.fingerprint()))
    });
    let detail = altered.or(broken).or(replaced)?;
    Some(Trouble { since: services.started, detail, count: None })
}

/// Returns whether the roster is in doubt, because entries were lost.
pub(super) fn roster(services: &Services) -> Option<Trouble> {
    let stale = *services.roster_stale.borrow();
    let detail = Detail::new("roster_stale");
    stale.then_some(Trouble { since: services.started, detail, count: None })
}

/// Returns for each direction of a lane whether another hand keeps it released.
pub(super) fn foreign(lane: &str, state: &TurnstileState) -> [PartState; 2] {
    Direction::BOTH.map(|direction| {
        let hold = state.foreign.iter().find(|hold| hold.direction == direction);
        let trouble = hold.map(|hold| Trouble {
            since: hold.since,
            detail: Detail::new("foreign_release")
                .with("output", &*hold.output)
                .with("direction", direction.word()),
            count: None,
        });
        PartState::new(AlarmWhat::ForeignRelease, format!("{lane}/{direction}"), trouble)
    })
}

/// Returns whether the lane's fire input had a glitch, and whether it has glitches again and again.
pub(super) fn fire_input(lane: &LanePanel, now: Monotonic) -> [PartState; 2] {
    let sign = lane.state.borrow().short_sign.clone();
    let sign = sign.filter(|sign| now.since(sign.at) < GLITCH_WINDOW);
    let input = lane.fire_input.map_or(0, u64::from);
    let healed = sign.as_ref().filter(|sign| sign.healed).map(|sign| {
        let ms = u64::try_from(sign.lasted.as_millis()).unwrap_or(u64::MAX);
        Detail::new("fire_input_glitch").with("ms", ms)
    });
    let again = sign.as_ref().filter(|sign| sign.times > 1);
    let again = again.map(|sign| Detail::new("fire_input_glitches").with("count", sign.times));
    [(AlarmWhat::FireGlitch, healed), (AlarmWhat::FireInput, again)].map(|(what, found)| {
        let since = sign.as_ref().map_or(now, |sign| sign.at);
        let found = found.map(|detail| detail.with("input", input));
        PartState::new(what, &lane.name, found.map(|detail| Trouble { since, detail, count: None }))
    })
}

pub(super) fn link(
    state: &UpstreamState,
    backlog: Option<Backlog>,
    now: Monotonic,
) -> Option<Trouble> {
    if state.connected {
        return None;
    }
    let count = backlog.map(|(rows, _)| rows);
    let (refused, down) = match state.is_platform() {
        true => ("platform_login_refused", "platform_link_down"),
        false => ("link_login_refused", "link_down"),
    };
    let down = match state.next_try {
        Some(at) => Detail::new(refused).with("wait_s", at.since(now).as_secs()),
        None => Detail::new(down),
    };
    let down = down.with("problem", problem(&state.last_error));
    let detail = match count {
        Some(rows) => down.with("records", rows),
        None => down,
    };
    Some(Trouble { since: state.since, detail, count })
}

fn problem(last_error: &Option<String>) -> &str {
    last_error.as_deref().unwrap_or("connecting")
}

pub(super) fn outbox(
    state: &UpstreamState,
    (rows, oldest): Backlog,
    now: Stamp,
    limits: &AlarmLimits,
) -> Option<Trouble> {
    let age = now.since(oldest?);
    if age <= limits.outbox_age {
        return None;
    }
    let code = match (rows, state.connected, state.is_platform()) {
        (1, true, true) => "one_record_waits_for_platform",
        (1, true, false) => "one_record_waits",
        (1, false, _) => "one_record_waits_link_down",
        (_, true, true) => "records_wait_for_platform",
        (_, true, false) => "records_wait",
        (_, false, _) => "records_wait_link_down",
    };
    let detail = Detail::new(code).with("records", rows).with("age_s", age.as_secs());
    // The trouble began when the oldest record reached the limit. `since` cannot be before this
    // boot.
    let over = u64::try_from((age - limits.outbox_age).as_millis()).unwrap_or(u64::MAX);
    let since = Monotonic::from_millis(now.uptime_ms.saturating_sub(over));
    Some(Trouble { since, detail, count: Some(rows) })
}

/// Returns for each kind of certificate of this link whether the first one to end ends soon, and
/// whether it has ended. The state is unknown while the clock is not synchronised, and until the
/// certificate was seen in this run.
pub(super) fn certificates(
    state: &UpstreamState,
    now: Stamp,
    started: Monotonic,
) -> Vec<(CertificateOf, PartState)> {
    let mut looks = Vec::new();
    for whose in CertificateOf::ALL {
        let first = state.certificates.iter().filter(|c| c.whose == whose).min_by_key(|c| c.until);
        let subject = format!("{}/{}", state.name, whose.word());
        let sorts = [
            (AlarmWhat::Certificate, ENDS_SOON),
            (AlarmWhat::CertificateEnded, SignedDuration::ZERO),
        ];
        for (what, ahead) in sorts {
            let look = match first {
                Some(certificate) if now.synced => {
                    let left = certificate.until.duration_since(now.timestamp());
                    let trouble = || {
                        let detail = ends(certificate, left, state.is_platform());
                        Trouble { since: started, detail, count: None }
                    };
                    PartState::new(what, &subject, (left <= ahead).then(trouble))
                }
                // The link is connected without such a certificate, so it needs none.
                None if state.connected => PartState::new(what, &subject, None),
                _ => PartState::unknown(what, &subject),
            };
            looks.push((whose, look));
        }
    }
    looks
}

fn ends(certificate: &Certificate, left: SignedDuration, is_platform: bool) -> Detail {
    let code = match (certificate.whose, left.is_positive()) {
        (CertificateOf::Authority, true) if is_platform => "platform_authority_certificate_ends",
        (CertificateOf::Authority, false) if is_platform => "platform_authority_certificate_ended",
        (CertificateOf::Broker, true) if is_platform => "platform_certificate_ends",
        (CertificateOf::Broker, false) if is_platform => "platform_certificate_ended",
        (CertificateOf::Authority, true) => "authority_certificate_ends",
        (CertificateOf::Authority, false) => "authority_certificate_ended",
        (CertificateOf::Gateway, true) => "gateway_certificate_ends",
        (CertificateOf::Gateway, false) => "gateway_certificate_ended",
        (CertificateOf::Broker, true) => "broker_certificate_ends",
        (CertificateOf::Broker, false) => "broker_certificate_ended",
    };
    let until = certificate.until.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let detail =
        Detail::new(code).with("until", until).with("left_s", left.unsigned_abs().as_secs());
    match &certificate.path {
        Some(path) => detail.with("path", path.display().to_string()),
        None => detail,
    }
}

#[cfg(test)]
mod tests;
