//! Lanes, their turnstiles and their cameras.

use std::collections::BTreeSet;

use super::*;

pub(super) fn lanes(raw: Vec<RawLane>, mode: Mode, base: &Path) -> Checked<Vec<Lane>> {
    let mut names = BTreeSet::new();
    let mut lanes = Vec::new();
    for (i, lane) in raw.into_iter().enumerate() {
        let at = |key: &str| format!("lane[{i}].{key}");
        let name = plain_name(at("name"), lane.name)?;
        if !names.insert(name.clone()) {
            return wrong(at("name"), format!("{name:?} stands twice; each lane has its own name"));
        }
        let mut cameras: Vec<Camera> = Vec::new();
        for (j, raw) in lane.camera.into_iter().enumerate() {
            let camera = camera(raw, base, &format!("lane[{i}].camera[{j}]"))?;
            if cameras.iter().any(|c| c.direction == camera.direction) {
                let message = format!("a second {} camera; a side has one", camera.direction);
                return wrong(at(&format!("camera[{j}].direction")), message);
            }
            cameras.push(camera);
        }
        let turnstile = turnstile(lane.turnstile, mode, base, &at("turnstile"))?;
        let pass_within = seconds(at("pass_within_s"), lane.pass_within_s, 8.0, 60.0)?;
        if let TurnstileDriver::ModbusRtu(board) = &turnstile
            && board.pulse > pass_within
        {
            let message = "is longer than pass_within_s: the gate would stay open for the next one";
            return wrong(at("turnstile.pulse_ms"), message);
        }
        lanes.push(Lane {
            cool_down: seconds(at("cool_down_s"), lane.cool_down_s, 5.0, 3600.0)?,
            pass_within,
            turnstile,
            name,
            cameras,
        });
    }
    for (i, lane) in lanes.iter().enumerate() {
        let TurnstileDriver::ModbusRtu(this) = &lane.turnstile else { continue };
        let shared = lanes[..i].iter().find(|other| {
            matches!(&other.turnstile, TurnstileDriver::ModbusRtu(o) if o.port == this.port)
        });
        if let Some(other) = shared {
            return wrong(
                format!("lane[{i}].turnstile.port"),
                format!(
                    "{} already serves lane {:?}; this version drives one lane a port",
                    this.port.display(),
                    other.name
                ),
            );
        }
    }
    Ok(lanes)
}

fn camera(raw: RawCamera, base: &Path, at: &str) -> Checked<Camera> {
    let Some(path) = raw.source.strip_prefix("replay:").filter(|p| !p.is_empty()) else {
        return wrong(
            format!("{at}.source"),
            format!(
                "{:?} is not in this version; it has replay:DIR, replay:FILE and replay:PIPE",
                raw.source
            ),
        );
    };
    let fps = raw.fps.unwrap_or(10.0);
    if !(0.1..=60.0).contains(&fps) {
        return wrong(format!("{at}.fps"), format!("{fps} must be from 0.1 to 60 frames a second"));
    }
    Ok(Camera {
        direction: raw.direction,
        source: CameraSource::Replay(base.join(path)),
        fps,
        looped: raw.looped.unwrap_or(false),
    })
}

fn turnstile(raw: RawTurnstile, mode: Mode, base: &Path, at: &str) -> Checked<TurnstileDriver> {
    match raw.driver.as_str() {
        "modbus-rtu" => {
            if raw.pass_after_ms.is_some() || raw.passes.is_some() {
                return wrong(at, "pass_after_ms and passes belong to driver = \"simulated\"");
            }
            let Some(port) = raw.port else {
                return wrong(
                    format!("{at}.port"),
                    "modbus-rtu needs one, such as \"/dev/ttyUSB0\"",
                );
            };
            let address = raw.address.unwrap_or(1);
            if !(1..=247).contains(&address) {
                return wrong(format!("{at}.address"), format!("{address} must be from 1 to 247"));
            }
            let baud = raw.baud.unwrap_or(9600);
            if !(1200..=921_600).contains(&baud) {
                return wrong(format!("{at}.baud"), format!("{baud} must be from 1200 to 921600"));
            }
            let pulse_ms = raw.pulse_ms.unwrap_or(500);
            if !(50..=10_000).contains(&pulse_ms) {
                return wrong(format!("{at}.pulse_ms"), format!("{pulse_ms} must be 50 to 10000"));
            }
            let defaults = PerDirection { entry: 0, exit: 1 };
            let pair = |key: &str, given: Option<PerDirection>| match given.unwrap_or(defaults) {
                pair if pair.entry == pair.exit => {
                    wrong(format!("{at}.{key}"), "entry and exit must differ")
                }
                pair => Ok(pair),
            };
            Ok(TurnstileDriver::ModbusRtu(ModbusRtu {
                port: base.join(port),
                baud,
                address,
                release_coil: pair("release_coil", raw.release_coil)?,
                passage_input: pair("passage_input", raw.passage_input)?,
                pulse: Duration::from_millis(pulse_ms),
            }))
        }
        "simulated" if mode != Mode::Bench => {
            wrong(format!("{at}.driver"), "\"simulated\" needs mode = \"bench\" at the file's top")
        }
        "simulated" => {
            let real = [
                ("port", raw.port.is_some()),
                ("baud", raw.baud.is_some()),
                ("address", raw.address.is_some()),
                ("release_coil", raw.release_coil.is_some()),
                ("passage_input", raw.passage_input.is_some()),
                ("pulse_ms", raw.pulse_ms.is_some()),
            ];
            if let Some((key, _)) = real.iter().find(|(_, given)| *given) {
                return wrong(format!("{at}.{key}"), "belongs to driver = \"modbus-rtu\"");
            }
            let after = Duration::from_millis(raw.pass_after_ms.unwrap_or(700));
            let pass_after = raw.passes.unwrap_or(true).then_some(after);
            Ok(TurnstileDriver::Simulated(SimulatedTurnstile { pass_after }))
        }
        other => wrong(
            format!("{at}.driver"),
            format!("{other:?} is not in this version; it has \"modbus-rtu\" and \"simulated\""),
        ),
    }
}
