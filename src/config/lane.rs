//! Lanes: a turnstile and its cameras.

use std::time::Duration;

use super::{
    Mode,
    camera::Camera,
    tables::LaneTable,
    typed,
    value::{Checked, Wrong, wrong},
    written::Written,
};
use crate::{
    reader::{Given, Reader, ReaderDriver, WithFace},
    turnstile::{
        TurnstileDriver, drivers,
        settings::{FireSignal, Keys, OF_THE_LANE},
    },
};

#[derive(Clone, Debug)]
pub struct Lane {
    pub name: String,
    /// Interval after a passage in which the same worker is not admitted again on the same side.
    pub cool_down: Duration,
    /// Timeout after a release, until which a person may walk through.
    pub pass_within: Duration,
    /// The input that is on while there is a fire alarm.
    pub fire_input: Option<u16>,
    pub fire_signal: FireSignal,
    pub turnstile: TurnstileDriver,
    pub cameras: Vec<Camera>,
    pub readers: Vec<Reader>,
}

pub(super) fn lanes(
    tables: Vec<LaneTable>,
    mode: Mode,
    written: &Written<'_>,
) -> Checked<Vec<Lane>> {
    let mut lanes: Vec<Lane> = Vec::new();
    for (i, mut table) in tables.into_iter().enumerate() {
        let at = |key: &str| format!("lane[{i}].{key}");
        let name = table.name;
        if lanes.iter().any(|lane| lane.name == name) {
            return wrong(at("name"), format!("{name:?} occurs twice; each lane has its own name"));
        }
        let mut sides = Vec::new();
        for (j, camera) in table.camera.iter_mut().enumerate() {
            camera.complete(written, &at(&format!("camera[{j}]")), mode)?;
            if sides.contains(&camera.direction) {
                let message = format!("a second {} camera: a side has only one", camera.direction);
                return wrong(at(&format!("camera[{j}].direction")), message);
            }
            sides.push(camera.direction);
        }
        let (pass_within, bench) = (table.pass_within_s, mode == Mode::Bench);
        let keys = Keys { table: table.turnstile, base: written.base, pass_within, bench };
        let fire_signal = table.fire_signal.unwrap_or_default();
        if fire_signal == FireSignal::Pulse && table.fire_input.is_none() {
            return wrong(
                at("fire_signal"),
                "needs fire_input, the input on which the alarm comes",
            );
        }
        let fire_input = table.fire_input.as_ref().and_then(toml::Value::as_integer);
        let fire_input = fire_input.and_then(|input| u16::try_from(input).ok());
        let turnstile = turnstile(&at, keys, [table.entry_side, table.fire_input])?;
        for (j, reader) in table.reader.iter_mut().enumerate() {
            let place = at(&format!("reader[{j}]"));
            complete_reader(reader, written, &place)?;
            if reader.with_face == WithFace::Require && !sides.contains(&reader.direction) {
                let message = format!(
                    "\"require\" needs a camera of this lane with direction = \"{}\"",
                    reader.direction
                );
                return wrong(format!("{place}.with_face"), message);
            }
        }
        let (cool_down, cameras, readers) = (table.cool_down_s, table.camera, table.reader);
        let lane = Lane {
            name,
            cool_down,
            pass_within,
            fire_input,
            fire_signal,
            turnstile,
            cameras,
            readers,
        };
        check_shared_line(i, &lane, &lanes)?;
        lanes.push(lane);
    }
    check_readers(&lanes)?;
    Ok(lanes)
}

/// Reads `[lane.turnstile]`, and the driver's keys in `[[lane]]`.
fn turnstile(
    at: &impl Fn(&str) -> String,
    mut keys: Keys<'_>,
    of_the_lane: [Option<toml::Value>; 2],
) -> Checked<TurnstileDriver> {
    let place = |key: &str| match OF_THE_LANE.contains(&key) {
        true => at(key),
        false if key.is_empty() => at("turnstile"),
        false => at(&format!("turnstile.{key}")),
    };
    let explained = |path: &str, message: &str| {
        let (key, message) = typed::explain(path, message);
        Err(Wrong { key, message })
    };
    for (key, value) in OF_THE_LANE.into_iter().zip(of_the_lane) {
        if keys.table.contains_key(key) {
            let path = at(&format!("turnstile.{key}"));
            return explained(&path, &drivers::unknown(key));
        }
        keys.table.extend(value.map(|value| (key.to_owned(), value)));
    }
    TurnstileDriver::read(&keys).or_else(|wrong| explained(&place(&wrong.key), &wrong.message))
}

/// Fills in and checks the keys of a reader.
fn complete_reader(reader: &mut Reader, written: &Written<'_>, at: &str) -> Checked<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !(1..=64).contains(&reader.name.len()) || !reader.name.chars().all(allowed) {
        let message = format!("{:?} must be 1 to 64 of A-Z, a-z, 0-9, - and _", reader.name);
        return wrong(format!("{at}.name"), message);
    }
    let key = format!("{at}.card_format");
    let typed = reader.driver == ReaderDriver::Keyboard;
    if reader.driver != ReaderDriver::Line && !typed && written.has(&key) {
        let message = "belongs to driver = \"line\" or \"keyboard\"; the others have one format";
        return wrong(key, message);
    }
    if typed && reader.baud.is_some() {
        return wrong(format!("{at}.baud"), "a keyboard has no speed; remove this line");
    }
    check_accept(reader, at)?;
    written.absolute(&mut reader.port);
    Ok(())
}

/// Checks that the reader can give what it may give.
fn check_accept(reader: &Reader, at: &str) -> Checked<()> {
    let Some(accept) = &reader.accept else { return Ok(()) };
    let (key, driver) = (format!("{at}.accept"), reader.driver);
    let list = |all: &[Given]| all.iter().map(|g| format!("{:?}", g.word())).collect::<Vec<_>>();
    let gives = list(driver.gives()).join(", ");
    if accept.is_empty() {
        return wrong(key, format!("is empty; the driver {driver} gives {gives}"));
    }
    if let Some(never) = accept.iter().find(|given| !driver.gives().contains(given)) {
        return wrong(key, format!("{:?}: the driver {driver} gives {gives}", never.word()));
    }
    if accept.contains(&Given::Card) && accept.contains(&Given::QrStatic) {
        let message = "\"card\" and \"qr_static\" exclude each other: a line with a number does not \
                       say which it is";
        return wrong(key, message);
    }
    Ok(())
}

/// Checks that each reader has its own name and its own port.
fn check_readers(lanes: &[Lane]) -> Checked<()> {
    let mut others: Vec<&Reader> = Vec::new();
    for (i, lane) in lanes.iter().enumerate() {
        for (j, reader) in lane.readers.iter().enumerate() {
            let at = |key: &str| format!("lane[{i}].reader[{j}].{key}");
            if others.iter().any(|other| other.name == reader.name) {
                let name = &reader.name;
                let message = format!("{name:?} occurs twice; each reader has its own name");
                return wrong(at("name"), message);
            }
            let port = reader.port.display();
            if let Some(other) = others.iter().find(|other| other.port == reader.port) {
                return wrong(at("port"), format!("{port} is the port of reader {:?}", other.name));
            }
            let here =
                |l: &&Lane| l.turnstile.place().is_some_and(|(line, _)| line.port == reader.port);
            if let Some(other) = lanes.iter().find(here) {
                let message =
                    format!("{port} is the port of the turnstile of lane {:?}", other.name);
                return wrong(at("port"), message);
            }
            others.push(reader);
        }
    }
    Ok(())
}

/// Checks that lanes on one line have the same protocol, the same speed and different addresses.
fn check_shared_line(i: usize, lane: &Lane, before: &[Lane]) -> Checked<()> {
    let at = |key: &str| format!("lane[{i}].turnstile.{key}");
    let Some((line, address)) = lane.turnstile.place() else { return Ok(()) };
    for other in before {
        let Some((shared, taken)) = other.turnstile.place() else { continue };
        if shared.port != line.port {
            continue;
        }
        let (port, name) = (line.port.display(), &other.name);
        if shared.baud != line.baud {
            let speed = shared.baud;
            return wrong(at("baud"), format!("{port} runs at {speed} for lane {name:?}"));
        }
        if other.turnstile.word() != lane.turnstile.word() {
            let word = other.turnstile.word();
            let message = format!("{port} speaks {word:?} for lane {name:?}; use another port");
            return wrong(at("driver"), message);
        }
        if taken == address {
            let message = format!("{address} on {port} is lane {name:?}'s; set another address");
            return wrong(at("address"), message);
        }
    }
    Ok(())
}
