//! The [`Status`] as OpenMetrics text for Prometheus.
//!
//! In: a status. Out: text. Names of metrics end with their unit. Labels are names from the
//! configuration, and never names of workers (I5).

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeGaugeValue, EncodeMetric, MetricEncoder, NoLabelSet, text,
    },
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, info::Info},
    registry::Registry,
};

use super::{CameraStatus, LaneStatus, ReaderStatus, Status, UpstreamStatus};
use crate::{timing::Spread, turnstile::TurnstileState, uplink::CertificateOf};

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns the page of metrics.
pub(super) fn page(status: Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("gatehouse");
    registry.register_collector(Box::new(Shown(status)));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Shown(Status);

type Labels<'a> = Vec<(&'static str, &'a str)>;
/// A counter of each `T`: its name, its help text, and the function that reads it.
type Number<T> = (&'static str, &'static str, fn(&T) -> u64);

const LANE: [Number<LaneStatus>; 17] = [
    ("grants", "Grants recorded", |l| l.gate.grants),
    ("denials", "Visits that ended in a denial", |l| l.gate.denials),
    ("manual_releases", "Releases by hand", |l| l.gate.manual_releases),
    ("asked_guard", "Visits of workers that went to the guard", |l| l.gate.asked_guard),
    ("unknown_faces", "Visits of unknown faces", |l| l.gate.counters.unknown_faces),
    ("stale", "Sightings that came too late for a decision", |l| l.gate.counters.stale),
    ("cards_busy", "Cards shown while a passage was under way", |l| l.gate.counters.cards_busy),
    ("void", "Decisions that became void before they were carried out", |l| l.gate.counters.void),
    ("tailgates", "Passages without a grant or release", |l| l.gate.counters.tailgates),
    ("tailgates_unrecorded", "Tailgates that came too fast to be recorded", |l| {
        l.gate.counters.tailgates_unrecorded
    }),
    ("denials_unrecorded", "Denials of strangers that came too fast to be recorded", |l| {
        l.gate.counters.denials_unrecorded
    }),
    ("other_faces", "Passages with which another face than the worker's vanished", |l| {
        l.gate.counters.other_faces
    }),
    ("other_faces_unrecorded", "Events of other faces that came too fast to be recorded", |l| {
        l.gate.counters.other_faces_unrecorded
    }),
    ("denials_dropped", "Denials dropped while the disk stalled", |l| l.gate.denials_dropped),
    ("short_fire_signs", "Fire signs that were shorter than 200 ms", |l| l.gate.short_fire_signs),
    ("commit_errors", "Entries that could not be recorded", |l| l.gate.commit_errors),
    ("restarts", "Restarts of its task after a fault", |l| l.gate.restarts),
];

const READER: [Number<ReaderStatus>; 3] = [
    ("read", "Cards read; one that stays there may count several times", |r| r.read),
    ("unreadable", "Lines and frames that could not be read", |r| r.unreadable),
    ("dropped", "Cards that the lane did not take in time", |r| r.dropped),
];

const CAMERA: [Number<CameraStatus>; 28] = [
    ("errors", "Times it could not be opened, or failed while it was open", |c| c.state.errors),
    ("frames", "Frames received", |c| c.state.frames),
    ("dropped", "Frames that a newer one replaced before they were analysed", |c| c.state.dropped),
    ("skipped", "Unusable images: unreadable, too large, torn", |c| c.state.skipped),
    ("analysed", "Frames analysed", |c| c.seen.analysed),
    ("undecodable", "Frames that are no image", |c| c.seen.undecodable),
    ("too_large", "Frames with too many pixels", |c| c.seen.too_large),
    ("unchanged", "Frames not searched because nothing moved", |c| c.seen.unchanged),
    ("overtaken", "Frames that a newer one replaced before they were searched", |c| {
        c.seen.overtaken
    }),
    ("no_face", "Frames searched that had no face", |c| c.seen.no_face),
    ("faces", "Frames with a face large enough", |c| c.seen.faces),
    ("too_small", "Frames whose faces were all too small", |c| c.seen.too_small),
    ("cut_off", "Frames whose faces the picture's edge cuts off", |c| c.seen.cut_off),
    ("outside", "Frames whose faces were all outside the zone", |c| c.seen.outside),
    ("fixed", "Frames whose faces are pictures on a wall", |c| c.seen.fixed),
    ("beside", "Frames with two faces side by side in the zone", |c| c.seen.beside),
    ("black", "Frames that were black", |c| c.seen.black),
    ("frozen", "Frames of a frozen picture", |c| c.seen.frozen),
    ("plain", "Frames of one grey level", |c| c.seen.plain),
    ("poor", "Frames whose face was not used, to wait for a better one", |c| c.seen.poor),
    ("blurred", "Frames whose face was blurred", |c| c.seen.blurred),
    ("turned_away", "Frames whose face was turned away", |c| c.seen.turned_away),
    ("too_dark", "Frames whose face was too dark", |c| c.seen.too_dark),
    ("too_bright", "Frames whose face was too bright", |c| c.seen.too_bright),
    ("covered", "Frames whose face had a mask or dark glasses", |c| c.seen.covered),
    ("settled", "Frames skipped because enough frames had agreed", |c| c.seen.settled),
    ("lane_full", "Sightings dropped because the lane was too busy", |c| c.seen.lane_full),
    ("failed", "Frames on which a model failed", |c| c.seen.failed),
];

const TURNSTILE: [Number<TurnstileState>; 8] = [
    ("releases", "Releases the controller acknowledged", |t| t.releases),
    ("passages", "Passages its sensor saw", |t| t.passages),
    ("errors", "Requests without a valid answer", |t| t.errors),
    ("reconnects", "Connections after the first", |t| t.reconnects),
    ("late", "Releases that were void when they arrived", |t| t.late),
    ("lost_events", "Events that the lane could not accept", |t| t.lost_events),
    ("restarts", "Restarts of its driver after a fault", |t| t.restarts),
    ("foreign_releases", "Releases by another hand that were noticed", |t| t.foreign_releases),
];

const UPSTREAM: [Number<UpstreamStatus>; 18] = [
    ("connects", "Connections to its broker or platform", |u| u.link.connects),
    ("published", "Records sent, repeats included", |u| u.link.published),
    ("acknowledged", "Records acknowledged and removed from the outbox", |u| u.link.acknowledged),
    ("repeated", "Records sent that may have been sent before", |u| u.link.repeated),
    ("refused", "Refusals of a record by the broker or platform", |u| u.link.refused),
    ("unheard", "Records published without a subscriber", |u| u.link.unheard),
    ("left_out", "Records not for its platform, removed unsent", |u| u.link.left_out),
    ("stalls", "Connections closed because acknowledgements did not come", |u| u.link.stalls),
    ("acks_refused", "Acknowledgements of the platform refused", |u| u.link.acks_refused),
    ("commands_busy", "Commands that came while too many waited", |u| u.link.commands_refused),
    ("commands_done", "Commands of the platform carried out", |u| u.carried_out.commands_done),
    ("commands_failed", "Commands refused or failed", |u| u.carried_out.commands_failed),
    ("commands_expired", "Commands refused because they came too late", |u| {
        u.carried_out.commands_expired
    }),
    ("commands_repeated", "Repeated commands answered again", |u| u.carried_out.commands_repeated),
    ("commands_unauthorised", "Commands refused for want of authority", |u| {
        u.carried_out.commands_unauthorised
    }),
    ("photos_sent", "Photos of passages that its broker or platform has taken", |u| {
        u.link.photos_sent
    }),
    ("restarts", "Restarts of its task after a fault", |u| u.link.restarts),
    ("unreadable", "Illegible entries of the platform's lists", |u| u.link.unreadable),
];

impl Collector for Shown {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = &self.0;
        let mut page = Page(encoder);
        page.one("build", "The program", Info::new([("version", status.version.clone())]))?;
        let started = status.started_at.parse::<Timestamp>().ok();
        let started = started.map(|at| at.as_millisecond() as f64 / 1000.0);
        page.gauge("start_time_seconds", "When the daemon started, Unix time", started)?;
        let Status {
            deletions: date, roster, ledger, disk, photos, alarms, vision, process, ..
        } = status;
        let look_s = vision.look_ms.map(|ms| ms as f64 / 1000.0);
        page.gauge("vision_look_seconds", "Time of a look at a face", look_s)?;
        let threshold = Some(roster.threshold);
        page.gauge("roster_match_threshold", "Match threshold in force", threshold)?;
        let count = |count: usize| u64::try_from(count).ok();
        let is = |is: bool| Some(u64::from(is));
        for (name, help, number) in [
            ("clock_synced", "The clock is synchronised", is(status.clock.synced)),
            ("roster_workers", "Active workers", count(roster.workers)),
            ("roster_templates", "Templates of active workers", count(roster.templates)),
            (
                "roster_pending",
                "Workers from afar who wait for a confirmation",
                count(roster.pending),
            ),
            (
                "roster_faces_waiting",
                "Confirmed workers for whom new faces from afar wait",
                count(roster.faces_waiting),
            ),
            (
                "roster_liveness_exempt",
                "Workers exempt from the guard's look",
                count(roster.liveness_exempt),
            ),
            ("roster_version", "Changes of the roster", Some(roster.version)),
            ("ledger_entries", "Entries in the ledger", ledger.size),
            ("ledger_entries_pruned", "Entries whose retention was over", ledger.pruned_before),
            ("date_support_seconds", "Running time behind the date", Some(date.date.ran_s)),
            ("deletions_planned", "Announced deletions", count(date.planned.len())),
            ("workers_absent", "Workers without a sign for 180 days", Some(date.absent)),
            ("records_undated", "Records of two months without a date", Some(ledger.undated)),
            ("photos", "Photos of passages that are kept", Some(photos.kept)),
            ("photos_bytes", "Size of these photos", Some(photos.bytes)),
            ("disk_failing", "The disk accepts no writes", is(disk.failing.is_some())),
            ("disk_room", "0 ample, 1 low, 2 scarce, 3 full", Some(disk.room as u64)),
            ("disk_reserve_bytes", "Space reserved for attendance", Some(disk.reserve_bytes)),
            ("databases_set_aside", "Damaged databases", count(disk.set_aside.len())),
            ("database_bytes", "Size of the database", disk.database_bytes),
            ("disk_free_bytes", "Free for the storage folder", disk.free_bytes),
            ("disk_total_bytes", "Size of its file system", disk.total_bytes),
            ("alarms_standing", "Active alarms", count(alarms.standing.len())),
            ("vision_cameras", "Cameras that are configured", count(vision.cameras)),
            (
                "vision_carries",
                "Cameras for which this box is fast enough",
                vision.carries.and_then(count),
            ),
            ("process_resident_memory_bytes", "Memory in use", process.resident_bytes),
            ("process_open_fds", "Open file descriptors", process.open_fds),
        ] {
            page.gauge(name, help, number)?;
        }
        for (name, help, number) in [
            ("commits", "Transactions written to the disk", disk.commits),
            ("commit_failures", "Transactions that failed because of the disk", disk.failures),
            ("events_unrecorded", "Denials not recorded because the disk is full", disk.unrecorded),
            ("photos_given_up", "Photos of passages not kept, disk full", photos.given_up),
            ("photos_dropped", "Photos of passages that came too fast", photos.dropped),
            ("photos_crowded_out", "Photos of passages deleted early for room", photos.crowded_out),
            ("photos_failed", "Photos of passages that could not be written", photos.failed),
            ("alarms_raised", "Alarms that were raised", alarms.raised),
        ] {
            page.one(name, help, ConstCounter::new(number))?;
        }
        page.lanes(&status.lanes)?;
        page.upstreams(&status.upstreams)?;
        let stages = status.stages.iter();
        page.each(
            "stage_seconds",
            "Time a stage takes; decision and release run from the frame that decided",
            stages.map(|stage| (vec![("stage", &*stage.name)], stage.spread.clone())),
        )?;
        // A part may need attention for two reasons, but its series must appear once.
        let degraded: BTreeSet<String> =
            status.degraded.iter().map(|d| d.what.to_string()).collect();
        let ones = degraded.iter().map(|what| (vec![("what", &**what)], yes(true)));
        page.each("degraded", "Parts that need attention; see gatehouse status", ones)
    }
}

impl EncodeMetric for Spread {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_histogram::<NoLabelSet>(self.sum_s, self.count(), &self.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn yes(yes: bool) -> ConstGauge<u64> {
    ConstGauge::new(u64::from(yes))
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn one(&mut self, name: &str, help: &str, metric: impl EncodeMetric) -> fmt::Result {
        metric.encode(self.0.encode_descriptor(name, help, None, metric.metric_type())?)
    }

    /// Writes a gauge, unless its number is not known.
    fn gauge<N: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        number: Option<N>,
    ) -> fmt::Result {
        number.map_or(Ok(()), |number| self.one(name, help, ConstGauge::new(number)))
    }

    fn each<'l, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl Iterator<Item = (Labels<'l>, M)>,
    ) -> fmt::Result {
        let mut rows = rows.peekable();
        let Some((_, first)) = rows.peek() else { return Ok(()) };
        let mut family = self.0.encode_descriptor(name, help, None, first.metric_type())?;
        for (labels, metric) in rows {
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Writes each of these counters for each of these parts.
    fn counters<'l, T: 'l>(
        &mut self,
        of: &str,
        numbers: &[Number<T>],
        parts: impl Iterator<Item = (Labels<'l>, &'l T)> + Clone,
    ) -> fmt::Result {
        for (name, help, number) in numbers {
            let rows =
                parts.clone().map(|(labels, part)| (labels, ConstCounter::new(number(part))));
            self.each(&format!("{of}_{name}"), help, rows)?;
        }
        Ok(())
    }

    fn lanes(&mut self, lanes: &[LaneStatus]) -> fmt::Result {
        let each = lanes.iter().map(|lane| (vec![("lane", &*lane.name)], lane));
        let ready = each.clone().map(|(labels, lane)| (labels, yes(lane.ready)));
        self.each(
            "lane_ready",
            "Its devices work, the box is fast enough, records can be stored",
            ready,
        )?;
        let busy = each.clone().map(|(labels, lane)| (labels, yes(lane.gate.busy)));
        self.each("lane_busy", "A passage is under way", busy)?;
        self.counters("lane", &LANE, each.clone())?;

        let turnstiles = each.clone().map(|(labels, lane)| (labels, &lane.turnstile));
        let connected = turnstiles.clone().map(|(labels, t)| (labels, yes(t.connected)));
        self.each("turnstile_connected", "The controller answers", connected)?;
        self.counters("turnstile", &TURNSTILE, turnstiles)?;

        let readers = each.clone().flat_map(|(labels, lane)| {
            lane.readers.iter().map(move |reader| {
                let name = ("reader", &*reader.name);
                (labels.iter().copied().chain([name]).collect::<Labels<'_>>(), reader)
            })
        });
        let connected = readers.clone().map(|(labels, r)| (labels, yes(r.connected)));
        self.each("reader_connected", "The reader of cards is open, and answers", connected)?;
        self.counters("reader", &READER, readers)?;

        let cameras = each.flat_map(|(labels, lane)| {
            lane.cameras.iter().map(move |camera| {
                let direction = ("direction", camera.direction.word());
                (labels.iter().copied().chain([direction]).collect::<Labels<'_>>(), camera)
            })
        });
        let connected = cameras.clone().map(|(labels, c)| (labels, yes(c.state.connected)));
        self.each("camera_connected", "The camera is open", connected)?;
        let liveness = cameras.clone().filter_map(|(labels, c)| Some((labels, c.liveness?)));
        let guards = liveness.filter(|(_, shown)| shown.guard.is_some());
        let fallback = guards.map(|(labels, shown)| (labels, yes(shown.fallback)));
        self.each("camera_liveness_fallback", "Its entry asks no guard for now", fallback)?;
        self.counters("camera", &CAMERA, cameras)
    }

    fn upstreams(&mut self, upstreams: &[UpstreamStatus]) -> fmt::Result {
        let each = upstreams.iter().map(|u| (vec![("upstream", &*u.link.name)], u));
        let connected = each.clone().map(|(labels, u)| (labels, yes(u.link.connected)));
        self.each("upstream_connected", "The broker or platform is connected", connected)?;
        self.counters("upstream", &UPSTREAM, each.clone())?;
        let aside = each.clone().map(|(labels, u)| (labels, ConstGauge::new(u.link.withheld)));
        self.each("upstream_withheld_records", "Records of which the platform has a stub", aside)?;
        let photos = each.clone().map(|(l, u)| (l, ConstGauge::new(u.link.photos_waiting)));
        self.each("upstream_photos_waiting", "Photos that wait to be sent", photos)?;
        let left_out = upstreams.iter().flat_map(|u| {
            u.link.photos_left_out.iter().map(|(why, photos)| {
                let labels = vec![("upstream", &*u.link.name), ("reason", why.word())];
                (labels, ConstCounter::new(*photos))
            })
        });
        self.each("upstream_photos_left_out", "Photos of passages not sent", left_out)?;
        let refused =
            each.clone().map(|(labels, u)| (labels, ConstGauge::new(u.link.refused_rows)));
        self.each("upstream_refused_records", "Records that the platform has not taken", refused)?;
        let dismissed =
            each.clone().map(|(labels, u)| (labels, ConstGauge::new(u.link.dismissed_rows)));
        self.each(
            "upstream_dismissed_records",
            "Refused records that were dismissed by hand",
            dismissed,
        )?;
        let undecided = each.clone().map(|(labels, u)| (labels, ConstGauge::new(u.link.undecided)));
        self.each(
            "upstream_undecided_records",
            "Records that the platform still judges",
            undecided,
        )?;
        let ends = upstreams.iter().flat_map(|u| {
            CertificateOf::ALL.into_iter().filter_map(|whose| {
                let ends = u.link.certificates.iter().filter(|c| c.whose == whose);
                let first = ends.map(|c| c.until).min()?;
                let labels = vec![("upstream", &*u.link.name), ("whose", whose.word())];
                Some((labels, ConstGauge::new(first.as_second())))
            })
        });
        let help = "End of the first certificate to end, Unix time";
        self.each("certificate_end_time_seconds", help, ends)?;
        let known = each.filter_map(|(labels, u)| Some((labels, u.outbox?, u.oldest_s)));
        let waiting = known.clone().map(|(labels, rows, _)| (labels, ConstGauge::new(rows)));
        self.each("outbox_records", "Records that wait for the platform", waiting)?;
        let ages = known.map(|(labels, _, age)| (labels, ConstGauge::new(age.unwrap_or(0))));
        self.each("outbox_oldest_age_seconds", "Age of the oldest record; 0 if none waits", ages)
    }
}

#[cfg(test)]
mod tests;
