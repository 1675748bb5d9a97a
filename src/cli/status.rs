//! `gatehouse status`.

use std::{fmt::Write as _, process::ExitCode};

use serde_json::Value;

use super::Context;
use crate::control::{Request, Status};

pub(super) async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let status: Status = context.client().await?.ask(&Request::Status, |_: Value| {}).await?;
    context.print(&status, human)?;
    Ok(ExitCode::SUCCESS)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn up(value: &Value) -> &'static str {
    if value["connected"].as_bool() == Some(true) { "up" } else { "DOWN" }
}

fn human(status: &Status) -> String {
    let mut out = String::new();
    // Writing into a String has no error to give.
    let _ = writeln!(
        out,
        "gatehouse {} · gateway {} · project {} · since {}",
        status.version, status.gateway, status.project, status.started_at
    );
    let _ = writeln!(
        out,
        "roster    {} workers, {} templates (version {})",
        status.roster["workers"], status.roster["templates"], status.roster["version"]
    );
    let _ = writeln!(
        out,
        "ledger    {} entries, id {}",
        status.ledger["size"],
        text(&status.ledger["id"])
    );
    for lane in &status.lanes {
        let _ = writeln!(
            out,
            "lane      {}: {}, turnstile {} ({}), {} grants, {} denials, {} by hand",
            text(&lane["name"]),
            text(&lane["mode"]),
            up(&lane["turnstile"]),
            text(&lane["turnstile"]["port"]),
            lane["grants"],
            lane["denials"],
            lane["manual_releases"]
        );
        for camera in lane["cameras"].as_array().into_iter().flatten() {
            let _ = writeln!(
                out,
                "  camera  {}: {} ({}), {} frames, {} dropped, {} analysed, {} with a face, {} of no use",
                text(&camera["direction"]),
                if camera["finished"].as_bool() == Some(true) { "finished" } else { up(camera) },
                text(&camera["source"]),
                camera["frames"],
                camera["dropped"],
                camera["analysed"],
                camera["faces"],
                ["skipped", "undecodable", "too_large", "failed"]
                    .iter()
                    .filter_map(|counter| camera[*counter].as_u64())
                    .sum::<u64>()
            );
        }
    }
    for upstream in &status.upstreams {
        let _ = writeln!(
            out,
            "upstream  {}: {} ({}), {} waiting",
            text(&upstream["name"]),
            up(upstream),
            text(&upstream["broker"]),
            upstream["outbox"]
        );
    }
    let synced = status.clock["synced"].as_bool() == Some(true);
    let clock = if synced { "synchronised" } else { "NOT synchronised" };
    let _ = writeln!(out, "clock     {}, {clock}", text(&status.clock["now"]));
    let mib = |v: &Value| v.as_u64().unwrap_or(0) >> 20;
    let _ = writeln!(
        out,
        "disk      {}: {} MiB free, database {} MiB",
        text(&status.disk["dir"]),
        mib(&status.disk["free_bytes"]),
        mib(&status.disk["database_bytes"])
    );
    if status.degraded.is_empty() {
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
