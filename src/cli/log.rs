//! Sets up the log, which goes to stderr. `GATEHOUSE_LOG` is its filter, and `GATEHOUSE_LOG_FORMAT`
//! its format: text or JSON.

use std::io::IsTerminal;

use jiff::tz::TimeZone;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer,
    filter::Targets,
    fmt::{format::Writer, time::FormatTime},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

const FILTER: &str = "GATEHOUSE_LOG";
const FORMAT: &str = "GATEHOUSE_LOG_FORMAT";
const OWN: &str = "gatehouse";
/// Libraries that log only errors. tract warns about each model's operator set, which is known to
/// be right: the models are pinned. retina's warnings hold full addresses, which may hold a
/// password.
const QUIET: [&str; 2] = ["tract_onnx", "retina"];

#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error(
        "{FILTER}: {0:?} is not valid: give a level (error, warn, info, debug, trace or off) for \
         Gatehouse itself, or TARGET=LEVEL for one part or library. Put commas between several, for \
         example \"debug,rumqttc=debug\""
    )]
    Directive(String),
    #[error("{FORMAT}: {0:?} is not valid: give text or json")]
    Format(String),
}

/// Starts the log, with times in the given time zone. The journal adds its own times, so lines of
/// text for the journal have none.
pub(super) fn start(zone: TimeZone) -> Result<(), LogError> {
    let named = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let targets = targets(&named(FILTER).unwrap_or_default())?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_timer(SiteTime(zone));
    let layer = match named(FORMAT).as_deref() {
        Some("json") => lines.json().flatten_event(true).boxed(),
        None | Some("" | "text") if to_the_journal() => lines.without_time().boxed(),
        None | Some("" | "text") => lines.boxed(),
        Some(other) => return Err(LogError::Format(other.to_owned())),
    };
    tracing_subscriber::registry().with(layer.with_filter(targets)).init();
    Ok(())
}

/// Parses the filter. A level without a target applies to Gatehouse only: `debug` and `trace` of a
/// library need the library's name.
fn targets(text: &str) -> Result<Targets, LogError> {
    let mut own = LevelFilter::INFO;
    let mut named: Vec<(&str, LevelFilter)> = Vec::new();
    for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let wrong = || LogError::Directive(directive.to_owned());
        let level = |level: &str| level.trim().parse::<LevelFilter>().map_err(|_| wrong());
        let in_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        match directive.split_once('=') {
            None => own = level(directive)?,
            Some((target, its_level)) => {
                let target = target.trim();
                if target.is_empty() || !target.chars().all(in_path) {
                    return Err(wrong());
                }
                named.push((target, level(its_level)?));
            }
        }
    }
    let others = own.min(LevelFilter::INFO);
    let is_named = |quiet: &str| named.iter().any(|(target, _)| quiet.starts_with(target));
    let quiet = QUIET.into_iter().filter(|quiet| !is_named(quiet));
    let quiet: Vec<_> = quiet.map(|quiet| (quiet, others.min(LevelFilter::ERROR))).collect();
    Ok(Targets::new()
        .with_default(others)
        .with_target(OWN, own)
        .with_targets(quiet)
        .with_targets(named))
}

/// Returns whether stderr is the journal's stream. The variable alone is not enough, because
/// programs with a redirected stderr inherit it. So its device and inode are compared
/// (systemd.exec(5)).
fn to_the_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let stderr = nix::sys::stat::fstat(std::io::stderr());
    stderr.is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Formats times as RFC 3339 with the offset of the site's time zone, as in all other output.
struct SiteTime(TimeZone);

impl FormatTime for SiteTime {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let now = crate::clock::wall();
        write!(w, "{:.3}", now.display_with_offset(self.0.to_offset(now)))
    }
}

#[cfg(test)]
mod tests;
