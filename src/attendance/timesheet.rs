//! The monthly sheet: which workers were on site, and for how long.
//!
//! In: [`Crossing`]es of the month and of the days around it, of one gateway or of all gateways of
//! a site. Out: a [`Timesheet`]. Pure. A missing passage is flagged and adds no hour: the sheet
//! never guesses.
//!
//! A *gate capture* is a passage that a gate recorded: by face or by a guard's release, passed or
//! unconfirmed. Hours, days, first in and last out come from gate captures only. Hours that rest on
//! an unconfirmed passage, and days without a confirmed one, have sums of their own: a broken
//! sensor neither takes a day nor makes one. A supplement (a passage that was added later) is
//! listed separately, and the sums with it stand beside the others. A disputed record is
//! listed separately with the person who disputes it, and the hours that a day has less because of
//! disputes stand beside the others.
//!
//! A record that no clock dates is listed apart, with the hours of its pair, and is on no day. It is
//! on a day, marked, only if its bounds are of that one working day.

mod parts;
mod undated;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp, civil::Date};

pub use self::parts::{
    Day, DisputeShown, Flag, Group, ListedSeparately, Note, Row, SheetFilter, Stretch, Sum,
    Timesheet, Totals, WithoutDate,
};
pub use super::{
    crossing::{Between, Crossing, Dispute, Passes, Text},
    days::{At, Days},
};
use crate::config::Direction;

/// Maximum length of a night shift that runs over the start of the working day.
pub const NIGHT_SHIFT: SignedDuration = SignedDuration::from_hours(16);

/// Returns the number of workers whose shift may still run at `read_at`. Their latest passage is an
/// entry, at most [`NIGHT_SHIFT`] before `read_at`.
pub fn still_inside(
    passes: &[Crossing],
    days: &Days,
    only: &SheetFilter,
    read_at: Timestamp,
) -> usize {
    let mut latest: HashMap<&str, &Crossing> = HashMap::new();
    let counts = |crossing: &&Crossing| {
        let counted = crossing.is_capture() || crossing.is_supplement();
        let is_dated = crossing.undated.is_none();
        counted && is_dated && crossing.disputed.is_none() && crossing.at <= read_at
    };
    for crossing in passes.iter().filter(counts) {
        let known = latest.entry(&crossing.worker).or_insert(crossing);
        if (known.at, known.seq) < (crossing.at, crossing.seq) {
            *known = crossing;
        }
    }
    let inside = latest.values().filter(|crossing| {
        crossing.direction == Direction::Entry
            && read_at.duration_since(crossing.at) <= NIGHT_SHIFT
            && days.of(crossing.at).is_some_and(|date| days.show(date))
            && only.admits(&crossing.contractor, &crossing.team, &crossing.worker)
    });
    inside.count()
}

/// Returns the gateways none of whose captures holds this.
fn never(passes: &[Crossing], holds: fn(&Crossing) -> bool) -> Vec<Text> {
    let mut ever: BTreeMap<&Text, bool> = BTreeMap::new();
    for crossing in passes.iter().filter(|crossing| crossing.is_capture()) {
        *ever.entry(&crossing.gateway).or_default() |= holds(crossing);
    }
    ever.into_iter().filter(|(_, ever)| !ever).map(|(gateway, _)| gateway.clone()).collect()
}

/// Makes the sheet. A whole day belongs to the team of its latest gate capture. So a worker who
/// changed teams has a row in each team with the days there, and no day is summed twice.
pub fn timesheet(mut passes: Vec<Crossing>, days: &Days, only: &SheetFilter) -> Timesheet {
    let mut sheet = Timesheet::default();
    let apart = passes.extract_if(.., |crossing| !has_day(crossing, days));
    sheet.undated = undated::listed(apart.collect(), days, only);
    passes.retain(|crossing| days.need(crossing.at));
    passes.sort_by(|a, b| (a.at, &a.ledger, a.seq).cmp(&(b.at, &b.ledger, b.seq)));
    sheet.unsynchronised = never(&passes, |crossing| crossing.synced);
    sheet.unconfirming = never(&passes, Crossing::is_confirmed);
    // A note names each unsynchronised gateway once, so its days are not flagged.
    for crossing in passes.iter_mut().filter(|crossing| !crossing.synced) {
        crossing.synced = sheet.unsynchronised.contains(&crossing.gateway);
    }
    let mut workers: BTreeMap<Text, Vec<&Crossing>> = BTreeMap::new();
    for crossing in &passes {
        if crossing.disputed.is_some() {
            let date = days.of(crossing.at).filter(|date| days.show(*date));
            let admitted = only.admits(&crossing.contractor, &crossing.team, &crossing.worker);
            sheet.disputed.extend(
                date.filter(|_| admitted).map(|date| listed_separately(crossing, date, days)),
            );
        }
        if crossing.is_capture() || crossing.is_supplement() {
            workers.entry(crossing.worker.clone()).or_default().push(crossing);
        }
        if crossing.is_corrected() {
            let date = days.of(crossing.at).filter(|date| days.show(*date));
            let admitted = only.admits(&crossing.contractor, &crossing.team, &crossing.worker);
            sheet.corrected.extend(
                date.filter(|_| admitted).map(|date| listed_separately(crossing, date, days)),
            );
        }
    }
    let mut rows = Vec::new();
    for passes in workers.values() {
        of_worker(passes, days, only, &mut rows, &mut sheet.supplements);
    }
    rows.sort_by(|a, b| {
        (&a.contractor, &a.team, &a.worker).cmp(&(&b.contractor, &b.team, &b.worker))
    });
    sheet.workers = distinct(&rows);
    for of_contractor in rows.chunk_by(|a, b| a.contractor == b.contractor) {
        for of_team in of_contractor.chunk_by(|a, b| a.team == b.team) {
            sheet.teams.extend(of_team.first().map(|row| group(of_team, Some(row.team.clone()))));
        }
        sheet.contractors.push(group(of_contractor, None));
    }
    for contractor in &sheet.contractors {
        sheet.total.add(&contractor.totals);
    }
    sheet.rows = rows;
    sheet
}

/// Returns whether the working day of a crossing is known.
fn has_day(crossing: &Crossing, days: &Days) -> bool {
    let Some(between) = &crossing.undated else { return true };
    let [after, before] = [between.after, between.before].map(|at| days.of(at?));
    after.is_some() && after == before
}

fn distinct(rows: &[Row]) -> u32 {
    let workers: BTreeSet<&str> = rows.iter().map(|row| &*row.worker).collect();
    u32::try_from(workers.len()).unwrap_or(u32::MAX)
}

/// Returns the sums of rows. `rows`: at least one, all of one contractor.
fn group(rows: &[Row], team: Option<Text>) -> Group {
    let contractor = rows.first().map_or_else(|| Text::from(""), |row| row.contractor.clone());
    let mut totals = Totals::default();
    rows.iter().for_each(|row| totals.add(&row.totals));
    Group { contractor, team, workers: distinct(rows), totals }
}

fn listed_separately(crossing: &Crossing, date: Date, days: &Days) -> ListedSeparately {
    ListedSeparately {
        contractor: crossing.contractor.clone(),
        team: crossing.team.clone(),
        worker: crossing.worker.clone(),
        name: crossing.name.clone(),
        date,
        direction: crossing.direction,
        at: days.at(crossing.at),
        means: crossing.means,
        gateway: crossing.gateway.clone(),
        ledger: crossing.ledger.clone(),
        seq: crossing.seq,
        lane: crossing.lane.clone(),
        reason: crossing.reason.clone(),
        by: crossing.by.clone(),
        recorded_at: days.at(crossing.recorded_at),
        clock_showed: crossing.clock_showed.map(|at| days.at(at)),
        disputed: crossing.disputed,
        dispute: crossing.dispute.as_ref().map(|Dispute { by, at, reason }| DisputeShown {
            by: by.clone(),
            at: days.at(*at),
            reason: reason.clone(),
        }),
    }
}

/// An entry and its exit, or one of them alone.
struct Pair<'a> {
    entry: Option<&'a Crossing>,
    exit: Option<&'a Crossing>,
    across: bool,
}

impl<'a> Pair<'a> {
    fn passes(&self) -> impl Iterator<Item = &'a Crossing> {
        self.entry.into_iter().chain(self.exit)
    }

    /// Whether the gate did not confirm one of its passages.
    fn is_unconfirmed(&self) -> bool {
        self.passes().any(|crossing| crossing.is_capture() && !crossing.is_confirmed())
    }

    fn is_added(&self) -> bool {
        self.passes().any(Crossing::is_supplement)
    }

    fn minutes(&self) -> u64 {
        let minute = |crossing: &Crossing| crossing.at.as_millisecond().div_euclid(60_000);
        let both = self.entry.zip(self.exit);
        both.map_or(0, |(entry, exit)| minute(exit).abs_diff(minute(entry)))
    }
}

/// Returns the pairs by working day. An exit that directly follows an entry makes a pair with it,
/// on the same working day or within [`NIGHT_SHIFT`]. A pair belongs to the working day of its
/// entry.
fn pairs<'a>(passes: &[&'a Crossing], days: &Days) -> BTreeMap<Date, Vec<Pair<'a>>> {
    let mut found: BTreeMap<Date, Vec<Pair<'a>>> = BTreeMap::new();
    let mut rest = passes.iter().copied().peekable();
    while let Some(crossing) = rest.next() {
        let Some(date) = days.of(crossing.at) else { continue };
        let mut pair = Pair { entry: None, exit: None, across: false };
        if crossing.direction == Direction::Exit {
            pair.exit = Some(crossing);
        } else {
            pair.entry = Some(crossing);
            pair.exit = rest.next_if(|next| {
                let same_day = days.of(next.at) == Some(date);
                next.direction == Direction::Exit
                    && (same_day || next.at.duration_since(crossing.at) <= NIGHT_SHIFT)
            });
            pair.across = pair.exit.is_some_and(|exit| days.of(exit.at) != Some(date));
        }
        found.entry(date).or_default().push(pair);
    }
    found
}

/// Adds the rows of one worker, one for each team, and the worker's supplements.
fn of_worker(
    passes: &[&Crossing],
    days: &Days,
    only: &SheetFilter,
    rows: &mut Vec<Row>,
    supplements: &mut Vec<ListedSeparately>,
) {
    let Some(latest) = passes.last() else { return };
    let only_if = |counts: fn(&Crossing) -> bool| -> Vec<&Crossing> {
        passes.iter().copied().filter(|crossing| counts(crossing)).collect()
    };
    let captures = only_if(|crossing| crossing.disputed.is_none() && crossing.is_capture());
    let undisputed = only_if(|crossing| crossing.disputed.is_none());
    let (gate, with, all) = (pairs(&captures, days), pairs(&undisputed, days), pairs(passes, days));
    let dates: BTreeSet<Date> = gate.keys().chain(with.keys()).chain(all.keys()).copied().collect();
    let none = Vec::new();
    let (mut teams, mut any) = (HashMap::<(Text, Text), Row>::new(), false);
    for date in dates.into_iter().filter(|date| days.show(*date)) {
        let [of_gate, of_all, with_disputed] =
            [&gate, &with, &all].map(|pairs| pairs.get(&date).unwrap_or(&none).as_slice());
        let whole = [of_gate, of_all, with_disputed].into_iter().find(|pairs| !pairs.is_empty());
        let Some(last) = whole.into_iter().flatten().flat_map(Pair::passes).last() else {
            continue;
        };
        let (contractor, team) = (last.contractor.clone(), last.team.clone());
        if !only.admits(&contractor, &team, &last.worker) {
            continue;
        }
        let added: Vec<&Crossing> = of_all
            .iter()
            .flat_map(Pair::passes)
            .filter(|crossing| crossing.is_supplement())
            .collect();
        supplements.extend(added.iter().map(|crossing| ListedSeparately {
            contractor: contractor.clone(),
            team: team.clone(),
            ..listed_separately(crossing, date, days)
        }));
        let row = teams.entry((contractor.clone(), team.clone())).or_insert_with(|| Row {
            contractor,
            team,
            worker: latest.worker.clone(),
            name: latest.name.clone(),
            trade: last.trade.clone(),
            id_tail: None,
            totals: Totals::default(),
            days: Vec::new(),
        });
        row.trade = last.trade.clone();
        let day = day(date, [of_gate, of_all, with_disputed], added.len(), days);
        let missing = |flag: fn(&Pair) -> bool| {
            u32::try_from(of_gate.iter().filter(|pair| flag(pair)).count()).unwrap_or(u32::MAX)
        };
        let counts = |crossing: &Crossing| crossing.is_confirmed() || crossing.is_supplement();
        let days_with = u32::from(of_all.iter().flat_map(Pair::passes).any(counts));
        // A supplement on another day can change the pairs, and so the sums, of this day too.
        any |= !added.is_empty()
            || of_gate.is_empty() != of_all.is_empty()
            || days_with != u32::from(day.confirmed)
            || day.minutes_with_supplements != Some(day.minutes);
        row.totals.add(&Totals {
            days_present: u32::from(day.confirmed),
            minutes: day.minutes,
            unconfirmed: Sum {
                days: u32::from(!of_gate.is_empty() && !day.confirmed),
                minutes: day.minutes_unconfirmed,
            },
            disputed: Sum {
                days: u32::from(day.is_only_disputed()),
                minutes: day.minutes_disputed,
            },
            missing_in: missing(|pair| pair.entry.is_none()),
            missing_out: missing(|pair| pair.exit.is_none()),
            supplements: day.supplements,
            with_supplements: day
                .minutes_with_supplements
                .map(|minutes| Sum { days: days_with, minutes }),
        });
        row.days.push(day);
    }
    if !any {
        for row in teams.values_mut() {
            row.totals.with_supplements = None;
            row.days.iter_mut().for_each(|day| day.minutes_with_supplements = None);
        }
    }
    rows.extend(teams.into_values());
}

/// Returns a working day. Its pairs: of captures; with the supplements; with the disputed passages
/// too.
fn day(
    date: Date,
    [of_gate, of_all, with_disputed]: [&[Pair]; 3],
    added: usize,
    days: &Days,
) -> Day {
    let mut flags = BTreeSet::new();
    for pair in of_gate {
        flags.extend(pair.entry.is_none().then_some(Flag::MissingIn));
        flags.extend(pair.exit.is_none().then_some(Flag::MissingOut));
        flags.extend(pair.across.then_some(Flag::Across));
        for crossing in pair.passes() {
            flags.extend((!crossing.is_confirmed()).then_some(Flag::Unconfirmed));
            flags.extend((!crossing.synced).then_some(Flag::Clock));
            flags.extend(crossing.is_corrected().then_some(Flag::Corrected));
            flags.extend(crossing.means.is_read().then_some(Flag::Reader));
        }
    }
    flags.extend((added > 0).then_some(Flag::Supplement));
    let mut passes = with_disputed.iter().flat_map(Pair::passes);
    let disputed = passes.any(|crossing| crossing.disputed.is_some());
    flags.extend(disputed.then_some(Flag::Disputed));
    let at = |crossing: Option<&Crossing>| crossing.map(|crossing| days.at(crossing.at));
    let sum = |pairs: &[Pair], counts: fn(&Pair) -> bool| -> u64 {
        pairs.iter().filter(|pair| counts(pair)).map(Pair::minutes).sum()
    };
    Day {
        date,
        first_in: at(of_gate.iter().find_map(|pair| pair.entry)),
        last_out: at(of_gate.iter().rev().find_map(|pair| pair.exit)),
        minutes: sum(of_gate, |pair| !pair.is_unconfirmed()),
        minutes_unconfirmed: sum(of_gate, |pair| pair.is_unconfirmed()),
        minutes_disputed: sum(with_disputed, |_| true).saturating_sub(sum(of_all, |_| true)),
        confirmed: of_gate.iter().flat_map(Pair::passes).any(Crossing::is_confirmed),
        stretches: of_gate
            .iter()
            .map(|p| Stretch {
                entry: at(p.entry),
                exit: at(p.exit),
                minutes: p.minutes(),
                unconfirmed: p.is_unconfirmed(),
            })
            .collect(),
        flags: flags.into_iter().collect(),
        supplements: u32::try_from(added).unwrap_or(u32::MAX),
        minutes_with_supplements: Some(sum(of_all, |pair| {
            pair.is_added() || !pair.is_unconfirmed()
        })),
    }
}

#[cfg(test)]
mod tests;
