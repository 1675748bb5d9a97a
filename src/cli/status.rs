//! `gatehouse status`: asks the daemon for its status document, and prints it as text or JSON.

use std::{fmt::Write as _, process::ExitCode};

use super::Context;
use crate::{
    control::Request,
    gate::presentations::VISITS_LEAST,
    ledger::DeletedWhat,
    roster::WorkerId,
    services::Deletions,
    status::Status,
    uplink::{CertificateOf, UpstreamState},
    words::counted,
};

pub(super) const NO_LANE: &str =
    "no lane is configured, so no gate opens: add a [[lane]] to the configuration";

pub(super) async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let status: Status = context.ask(&Request::Status).await?;
    context.print(&status, human)?;
    Ok(ExitCode::SUCCESS)
}

fn up(connected: bool) -> &'static str {
    if connected { "up" } else { "DOWN" }
}

fn entries(size: Option<u64>) -> String {
    match size {
        Some(1) => "1 entry".to_owned(),
        size => format!("{} entries", known(size)),
    }
}

/// Returns the number as text, or `?` if it is not known.
fn known<T: ToString>(number: Option<T>) -> String {
    number.map_or_else(|| "?".to_owned(), |n| n.to_string())
}

/// Writes what is deleted by date.
fn deletions(out: &mut String, deletions: &Deletions) {
    let support = &deletions.date;
    if !support.is_enough() {
        let (ran, needed) = (support.ran_s / 3600, support.needed_s / 3600);
        let _ = writeln!(
            out,
            "date      supported by {ran} of {needed} h of running time; nothing is deleted by date yet"
        );
    }
    for what in &deletions.held_back {
        let _ = writeln!(out, "deletion  {what}: over by this clock, and kept");
    }
    for plan in &deletions.planned {
        let (on, count) = (plan.on, plan.count);
        let before = plan.of_days_before.map(|day| format!(" of days before {day}"));
        let what = match plan.what {
            DeletedWhat::Attendance => counted(count, "passage"),
            DeletedWhat::Photos => counted(count, "photo"),
            DeletedWhat::Faces => format!(
                "templates and photos of {}: {}",
                counted(count, "worker"),
                first(&plan.workers, count)
            ),
        };
        let before = before.unwrap_or_default();
        let _ = writeln!(out, "deletion  {}: on {on}, {what}{before}", plan.what);
    }
    if deletions.absent > 0 {
        let _ = writeln!(
            out,
            "absent    {} without a sign for 180 days: {}; remove those who have left",
            counted(deletions.absent, "worker"),
            first(&deletions.absent_workers, deletions.absent)
        );
    }
}

/// Returns the first ids of a list, for people.
fn first(ids: &[WorkerId], count: u64) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<_> = ids.iter().take(SHOWN).map(WorkerId::as_str).collect();
    let more = if count > shown.len() as u64 { ", …" } else { "" };
    shown.join(", ") + more
}

fn human(status: &Status) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(
        out,
        "gatehouse {} · gateway {} · project {} · since {}",
        status.version, status.gateway, status.project, status.started_at
    );
    let roster = &status.roster;
    let _ = writeln!(
        out,
        "roster    {}, {} (version {}), threshold {} {}",
        counted(roster.workers as u64, "worker"),
        counted(roster.templates as u64, "template"),
        roster.version,
        roster.threshold,
        if roster.threshold_fixed { "(fixed)" } else { "(by the roster)" }
    );
    if roster.pending + roster.faces_waiting > 0 {
        let _ = writeln!(
            out,
            "          {} from afar and the new photos of {} wait for you: see `gatehouse worker \
             confirm`",
            counted(roster.pending as u64, "worker"),
            counted(roster.faces_waiting as u64, "worker")
        );
    }
    if roster.liveness_exempt > 0 {
        let exempt = counted(roster.liveness_exempt as u64, "worker");
        let _ = writeln!(out, "          {exempt} exempt from the guard's look at a living face");
    }
    let ledger = &status.ledger;
    let pruned = match ledger.pruned_before {
        None | Some(0) => String::new(),
        Some(before) => format!(", contents of the first {before} erased after retention"),
    };
    let kept = match ledger.kept_until {
        None => "kept permanently".to_owned(),
        Some(day) => format!("kept at least until {day}"),
    };
    let _ = writeln!(out, "ledger    {}{pruned}, {kept}, id {}", entries(ledger.size), ledger.id);
    if status.lanes.is_empty() {
        let _ = writeln!(out, "lane      {NO_LANE}");
    }
    for lane in &status.lanes {
        let _ = writeln!(
            out,
            "lane      {}: {}, turnstile {} ({}), {}, {}, {} by hand, {} void, {} stale",
            lane.name,
            lane.mode,
            up(lane.turnstile.connected),
            lane.turnstile.port,
            counted(lane.gate.grants, "grant"),
            counted(lane.gate.denials, "denial"),
            lane.gate.manual_releases,
            lane.gate.counters.void,
            lane.gate.counters.stale
        );
        if lane.gate.counters.cards_busy > 0 {
            let cards = counted(lane.gate.counters.cards_busy, "card");
            let _ = writeln!(out, "  {cards} shown while a passage was under way");
        }
        for camera in &lane.cameras {
            let (state, seen) = (&camera.state, &camera.seen);
            let _ = writeln!(
                out,
                "  camera  {}: {} ({}), {}, {} dropped, {} analysed, {} unchanged, \
                 {} with a face, {} unusable",
                camera.direction,
                match state.no_key_frame_since {
                    Some(_) => "NO KEY FRAME",
                    None if state.finished => "finished",
                    None => up(state.connected),
                },
                camera.source,
                counted(state.frames, "frame"),
                state.dropped,
                seen.analysed,
                seen.unchanged,
                seen.faces,
                state.skipped + seen.undecodable + seen.too_large + seen.failed
            );
        }
        for camera in &lane.cameras {
            let Some(shown) = &camera.liveness else { continue };
            let own = shown.threshold.map_or_else(
                || {
                    let uncounted = match status.clock.synced {
                        true => "",
                        false => "; none is counted while the clock is not synchronised",
                    };
                    let visits = shown.visits;
                    format!(
                        "no threshold of its own yet ({visits} of {VISITS_LEAST} visits{uncounted})"
                    )
                },
                |own| format!("threshold {own} from {}", counted(shown.visits, "visit")),
            );
            let mode = if shown.fallback { "FALLEN BACK to watch" } else { shown.mode.word() };
            let asked = shown.guard.filter(|_| !shown.fallback).map_or_else(String::new, |below| {
                let asked = counted(lane.gate.asked_guard, "visit");
                format!("; the guard is asked below {below}: {asked} so far")
            });
            let _ = writeln!(out, "  liveness  {}: {mode}, {own}{asked}", camera.direction);
        }
        for reader in &lane.readers {
            let _ = writeln!(
                out,
                "  reader  {}: {} ({}, {}), {} read, {} unreadable, {} dropped",
                reader.name,
                up(reader.connected),
                reader.driver,
                reader.direction,
                counted(reader.read, "card"),
                reader.unreadable,
                reader.dropped
            );
        }
    }
    for upstream in &status.upstreams {
        let _ = writeln!(
            out,
            "upstream  {}: {} ({}{}), {} waiting{}{}{}; {} sent, {} of these resent",
            upstream.link.name,
            up(upstream.link.connected),
            upstream.link.broker,
            upstream.link.version.map(|v| format!(", MQTT {}", v.word())).unwrap_or_default(),
            known(upstream.outbox),
            match upstream.link.acknowledged_upto {
                Some(upto) => format!(", acknowledged by the platform up to {upto}"),
                None => String::new(),
            },
            match upstream.link.withheld {
                0 => String::new(),
                rows => format!(", {rows} withheld"),
            },
            match (upstream.link.refused_rows, upstream.link.undecided) {
                (0, 0) => String::new(),
                (refused, undecided) => format!(", {refused} refused, {undecided} undecided"),
            } + &match upstream.link.dismissed_rows {
                0 => String::new(),
                dismissed => format!(", {dismissed} dismissed"),
            },
            upstream.link.published,
            upstream.link.repeated
        );
        let commands = &upstream.carried_out;
        let all = commands.commands_done + commands.commands_failed + commands.commands_repeated;
        if all > 0 {
            let _ = writeln!(
                out,
                "  commands  {} done, {} refused or failed, {} of them without authority, {} repeated",
                commands.commands_done,
                commands.commands_failed,
                commands.commands_unauthorised,
                commands.commands_repeated
            );
        }
        let UpstreamState { photos_sent, photos_waiting, photos_left_out, .. } = &upstream.link;
        let left_out: u64 = photos_left_out.values().sum();
        if photos_sent + photos_waiting + left_out > 0 {
            let why = photos_left_out.iter().map(|(why, photos)| format!(", {photos} {why}"));
            let why: String = why.collect();
            let _ = writeln!(
                out,
                "  photos    {photos_sent} sent, {photos_waiting} waiting, {left_out} left out{why}"
            );
        }
        for certificate in &upstream.link.certificates {
            let _ = writeln!(
                out,
                "  certificate  of the {}, valid until {}",
                match certificate.whose {
                    CertificateOf::Broker if upstream.link.is_platform() => "platform",
                    whose => whose.word(),
                },
                certificate.until.strftime("%Y-%m-%d %H:%M UTC")
            );
        }
    }
    let clock = if status.clock.synced { "synchronised" } else { "NOT synchronised" };
    let _ = writeln!(out, "clock     {}, {clock}", status.clock.now);
    deletions(&mut out, &status.deletions);
    let mib = |bytes: Option<u64>| known(bytes.map(|bytes| bytes >> 20));
    let _ = writeln!(
        out,
        "disk      {}: {} MiB free, database {} MiB",
        status.disk.dir.display(),
        mib(status.disk.free_bytes),
        mib(status.disk.database_bytes)
    );
    let photos = &status.photos;
    let _ = writeln!(
        out,
        "photos    {} of passages, {} MiB; {} not stored",
        photos.kept,
        photos.bytes >> 20,
        photos.given_up + photos.dropped + photos.failed
    );
    let stages: Vec<_> = status
        .stages
        .iter()
        .filter_map(|stage| {
            Some(format!("{} {:.0}/{:.0}", stage.name, stage.p50_ms?, stage.p99_ms?))
        })
        .collect();
    if !stages.is_empty() {
        let _ = writeln!(out, "stages    {} (ms, p50/p99)", stages.join(", "));
    }
    let vision = &status.vision;
    if let Some((look_ms, carries)) = vision.look_ms.zip(vision.carries) {
        let look_s = look_ms as f64 / 1000.0;
        let _ = writeln!(
            out,
            "vision    {look_s:.1} s a face, fast enough for {} of {}",
            carries.min(vision.cameras),
            counted(vision.cameras as u64, "camera")
        );
    }
    let alarms = &status.alarms;
    if alarms.raised > 0 || !alarms.standing.is_empty() {
        let standing = alarms.standing.iter().map(|a| format!("{} {}", a.what, a.subject));
        let standing: Vec<_> = standing.collect();
        let _ = writeln!(
            out,
            "alarms    {} raised since the start, {} active{}{}",
            alarms.raised,
            standing.len(),
            if standing.is_empty() { "" } else { ": " },
            standing.join(", ")
        );
    }
    if status.degraded.is_empty() && !status.lanes.is_empty() {
        let _ = writeln!(out, "all is well");
    }
    for degraded in &status.degraded {
        let _ = writeln!(
            out,
            "ATTENTION {} since {}: {}",
            degraded.what, degraded.since, degraded.remedy
        );
    }
    out
}
