//! The table in docs/develop/bounds.md has the values of the constants and of the configuration.

use std::collections::BTreeMap;

use super::page;
use crate::structure::modules;

/// Rows that this test cannot check, with the reason.
const UNCHECKED: [(&str, &str); 21] = [
    ("Frames that wait in a camera's slot", "one field"),
    ("Frames of a camera that wait to be searched", "one field"),
    ("Poor looks of a visit that wait for a better one", "one field"),
    ("Passages of a lane without an outcome", "one field"),
    ("Enrolment photos of a connection in memory", "one variable"),
    ("Enrolment photos that are examined at once", "one lock"),
    ("Enrolments at a lane's camera at once", "one flag"),
    ("Changes of the roster at once", "one lock"),
    ("Consents of a worker", "one row a purpose"),
    ("Photos on their way to a broker", "one field"),
    ("Frames of a `v4l2` camera in the kernel", "linuxvideo's"),
    ("Pictures that the H.264 decoder keeps", "openh264's"),
    ("Messages of a broker that are read at once", "rumqttc's"),
    ("Lines in the journal (`systemd/gatehouse.service`)", "systemd's"),
    ("Size of the journal on the disk (`systemd/journald.conf`)", "systemd's"),
    ("Time without a whole frame", "a literal in CameraConfig::stalled_after"),
    ("A worker's id; name, team or trade; contractor; reason; phone number", "literals"),
    ("RTSP packet or H.264 picture that is being received", "no number"),
    ("Change of the sealing key", "no number"),
    ("Looks at a camera in a row while other cameras wait", "Agreement::needed"),
    ("Resident memory with 1,000 workers and 4 cameras", "measured by a soak"),
];

/// Factors to bytes and to milliseconds.
const UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("ms", 1),
    ("s", 1000),
    ("minutes", 60_000),
    ("h", 3_600_000),
    ("days", 86_400_000),
];

/// Returns the numbers of a text: 20 and 60,000 for "20 in 60 s". A plus sign adds two.
fn numbers(text: &str) -> Vec<u64> {
    let words = text.split_whitespace().map(|word| word.trim_matches(['(', ')', ',', ';']));
    let words: Vec<&str> = words.collect();
    let mut numbers = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Ok(number) = word.replace(',', "").parse::<u64>() else { continue };
        let unit = UNITS.iter().find(|(unit, _)| Some(unit) == words.get(at + 1));
        let number = number * unit.map_or(1, |unit| unit.1);
        match numbers.last_mut() {
            Some(last) if words[at - 1] == "+" => *last += number,
            _ => numbers.push(number),
        }
    }
    numbers
}

/// The code of each module, by its path: `camera::link`.
struct Sources(BTreeMap<String, String>);

impl Sources {
    /// Returns the expression of a constant.
    fn expression(&self, module: &str, name: &str) -> Option<&str> {
        let (_, rest) = self.0.get(module)?.split_once(&format!("const {name}: "))?;
        Some(rest.split_once(';')?.0.split_once('=')?.1.trim())
    }

    /// Evaluates an expression of numbers, durations and constants of the same room.
    fn values(&self, module: &str, code: &str) -> Option<Vec<u64>> {
        if let Some((from, to)) = code.split_once("..=") {
            return Some([self.values(module, from)?, self.values(module, to)?].concat());
        }
        let value = |code: &str| self.values(module, code).map(|values| values[0]);
        if let Some((from, amount)) = code.strip_suffix(')').and_then(|code| code.split_once('(')) {
            let units = [("millis", 1), ("secs", 1000), ("hours", 3_600_000)];
            let factor = units.into_iter().find(|(unit, _)| from.ends_with(unit))?.1;
            return Some(vec![value(amount)? * factor]);
        }
        type Apply = fn(u64, u64) -> u64;
        let signs: [(&str, Apply); 3] =
            [(" << ", |a, b| a << b), (" + ", |a, b| a + b), (" * ", |a, b| a * b)];
        for (sign, apply) in signs {
            if let Some((left, right)) = code.rsplit_once(sign) {
                return Some(vec![apply(value(left)?, value(right)?)]);
            }
        }
        let code = code.split(" as ").next()?.trim();
        if let Ok(number) = code.replace('_', "").parse() {
            return Some(vec![number]);
        }
        let room = |module: &str| module.split("::").next().map(str::to_owned);
        let near = self.0.keys().filter(|other| room(other) == room(module)).map(String::as_str);
        let mut near = [module].into_iter().chain(near);
        let there = near.find(|module| self.expression(module, code).is_some())?;
        self.values(there, self.expression(there, code)?)
    }

    /// Returns the value of a constant, or the default of a configuration key.
    fn look_up(&self, name: &str) -> Result<Vec<u64>, String> {
        if let Some((module, constant)) = name.rsplit_once("::") {
            let code = self.expression(module, constant).ok_or_else(|| {
                let has = |module: &&String| self.expression(module, constant).is_some();
                let now: Vec<_> = self.0.keys().filter(has).collect();
                format!("{module} has no such constant; modules with a {constant}: {now:?}")
            })?;
            return self.values(module, code).ok_or(format!("cannot evaluate {code:?}"));
        }
        let default = name.split_once('.').and_then(|(section, key)| {
            let text = include_str!("../../../config/gatehouse.toml");
            let (_, section) = text.split_once(&format!("\n[{section}]"))?;
            let value = section.split_once(&format!("\n#{key} = "))?.1.lines().next()?;
            Some(numbers(&format!("{value} {}", key.rsplit('_').next()?)))
        });
        default.ok_or("neither a constant nor a key; UNCHECKED lists rows without".to_owned())
    }

    /// Checks that the maximum of a row begins with the values of its constants.
    fn check(&self, maximum: &str, constants: &str) -> Result<(), String> {
        let mut values = Vec::new();
        for name in constants.split(", ").map(|name| name.trim_matches('`')) {
            values.extend(self.look_up(name).map_err(|problem| format!("{name:?}: {problem}"))?);
        }
        values.dedup();
        if !values.is_empty() && numbers(maximum).starts_with(&values) {
            return Ok(());
        }
        Err(format!("it says {maximum:?}, and {constants} is {values:?} (bytes, ms)"))
    }
}

#[test]
fn the_table_of_bounds_has_the_values_of_the_code() {
    let code = modules().into_iter().map(|(path, code)| (path.join("::"), code));
    let sources = Sources(code.collect());
    let pages = page::all();
    let page = pages.iter().find(|page| page.name == "docs/develop/bounds.md").unwrap();
    let (mut wrong, mut unchecked, mut checked) = (Vec::new(), Vec::from(UNCHECKED), 0);
    let is_row = |line: &str| line.starts_with("| ") && !line.starts_with("| What");
    for (at, line) in page.prose.lines().enumerate().filter(|(_, line)| is_row(line)) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, what, maximum, _, constants, _] = cells[..] else { panic!("{line}: four columns") };
        let listed = unchecked.iter().position(|(row, _)| *row == what && constants.is_empty());
        if let Some(listed) = listed {
            unchecked.remove(listed);
            continue;
        }
        if let Err(problem) = sources.check(maximum, constants) {
            wrong.push(format!("{}:{}: mend the row {what:?}: {problem}", page.name, at + 1));
        }
        checked += 1;
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(unchecked, [], "UNCHECKED lists rows that are not there or name a constant");
    assert!(checked > 100, "{checked} rows");
}
