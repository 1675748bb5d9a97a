//! Default-router check: a box that was moved to another place finds another router.
//!
//! In: the hardware address of the default route's router, from the kernel. Out: a trouble if the
//! router is not the known one. The first router becomes the known one without an alarm. Another
//! router, for long enough, is a trouble until the known one is back, or for seven days. By then an
//! admin has seen the alarm, and the other router becomes the known one.
//!
//! The check is skipped without a route, with a route without a router (a modem's point-to-point
//! link), and with a router whose address the kernel does not know. IPv6 routes are not read.

use std::{
    fs::File,
    io::{self, Read},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{PartState, Trouble};
use crate::{
    clock::{Monotonic, Stamp},
    ledger::{AlarmWhat, Detail},
};

/// Minimum number of checks, and minimum time, that find the same other router and no different one
/// in between.
const SEEN: u32 = 4;
const HOLDS: Duration = Duration::from_secs(30);
/// Time after which the other router becomes the known one.
const KNOWN_AFTER_MS: i64 = 7 * 24 * 3600 * 1000;
/// Maximum number of bytes read from each of the kernel's files. Routes and neighbours beyond it
/// are ignored.
const MOST_BYTES: u64 = 256 * 1024;

/// The hardware address of an Ethernet device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Mac, Self::Err> {
        let byte = |part: &str| hex_number(part).filter(|_| part.len() == 2)?.try_into().ok();
        let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
        match bytes.map(<[u8; 6]>::try_from) {
            // The kernel writes all zeros while it does not know the address.
            Some(Ok(bytes)) if bytes != [0; 6] => Ok(Mac(bytes)),
            _ => Err("must be six bytes such as 02:fc:00:00:00:05"),
        }
    }
}

impl TryFrom<String> for Mac {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Mac, Self::Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

/// Parses hexadecimal digits. `from_str_radix` alone would accept a sign, too.
fn hex_number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
    u32::from_str_radix(text, 16).ok().filter(|_| digits)
}

/// The folder of the kernel's routing and neighbour tables.
#[derive(Clone, Debug)]
pub struct Proc(PathBuf);

impl Default for Proc {
    fn default() -> Proc {
        Proc::at(Path::new("/proc/net"))
    }
}

impl Proc {
    pub fn at(dir: &Path) -> Proc {
        Proc(dir.to_owned())
    }

    /// Returns the default router's hardware address; `None` if there is no router, or if the
    /// kernel does not know its address.
    pub fn router(&self) -> io::Result<Option<Mac>> {
        let Some((device, router)) = default_route(&bounded(&self.0.join("route"))?) else {
            return Ok(None);
        };
        Ok(hardware_address(&bounded(&self.0.join("arp"))?, &device, router))
    }
}

fn bounded(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the device and the router of the default route with the lowest metric.
fn default_route(table: &str) -> Option<(String, Ipv4Addr)> {
    const UP: u32 = 0x1;
    const GATEWAY: u32 = 0x2;
    const REJECT: u32 = 0x200;
    let routes = table.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [device, destination, gateway, flags, _, _, metric, mask, ..] = columns[..] else {
            return None;
        };
        let eight = |text: &str| hex_number(text).filter(|_| text.len() == 8);
        let default = eight(destination)? == 0 && eight(mask)? == 0;
        let gateway = eight(gateway)?;
        let flags = hex_number(flags)?;
        let usable = flags & UP != 0 && flags & GATEWAY != 0 && flags & REJECT == 0;
        let metric: u32 = metric.parse().ok()?;
        // The kernel writes the address as a number in its memory order (native endian).
        let router = Ipv4Addr::from(gateway.to_ne_bytes());
        (default && usable && gateway != 0).then(|| (metric, device.to_owned(), router))
    });
    let (_, device, router) = routes.min_by_key(|(metric, ..)| *metric)?;
    Some((device, router))
}

fn hardware_address(table: &str, device: &str, router: Ipv4Addr) -> Option<Mac> {
    const ETHERNET: u32 = 1;
    const COMPLETE: u32 = 0x2;
    let number = |text: &str| hex_number(text.strip_prefix("0x")?);
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [address, hardware, flags, mac, _, on] = columns[..] else { return None };
        let ours = address.parse() == Ok(router) && on == device;
        let whole = number(hardware)? == ETHERNET && number(flags)? & COMPLETE != 0;
        mac.parse().ok().filter(|_| ours && whole)
    })
}

/// The known router, and the current one if it differs, as stored in the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownRouter {
    known: Mac,
    moved: Option<Moved>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Moved {
    to: Mac,
    /// Wall time of the change; `None` until the clock is synchronised.
    since_ms: Option<i64>,
}

impl KnownRouter {
    fn current(&self) -> Mac {
        self.moved.as_ref().map_or(self.known, |moved| moved.to)
    }
}

/// Compares the router with the known one. Pure.
#[derive(Debug, Default)]
pub struct Relocation {
    kept: Option<KnownRouter>,
    /// A router other than the current one: first time, and number of checks that found it.
    other: Option<(Mac, Monotonic, u32)>,
    /// Time in this run since which the trouble is known.
    since: Option<Monotonic>,
}

impl Relocation {
    /// Continues from the stored router. If it cannot be read, the next router is learned.
    pub fn resumed(kept: Option<&[u8]>) -> Relocation {
        let read = kept.map(serde_json::from_slice).transpose();
        let kept = read.unwrap_or_else(|error| {
            tracing::error!(%error, "the stored router is damaged: the next router is learned");
            None
        });
        Relocation { kept, ..Relocation::default() }
    }

    /// Checks the router. Returns the value to store, if it changes. After the commit the caller
    /// calls [`adopt`](Self::adopt).
    pub fn look(&mut self, stamp: Stamp, seen: Option<Mac>) -> Option<KnownRouter> {
        let now = Monotonic::from_millis(stamp.uptime_ms);
        let seen = seen?;
        match &self.kept {
            Some(kept) if kept.current() == seen => {
                self.other = None;
                return settled(kept, stamp);
            }
            _ => {}
        }
        let (since, times) = match self.other {
            Some((mac, since, times)) if mac == seen => (since, times.saturating_add(1)),
            _ => (now, 1),
        };
        self.other = Some((seen, since, times));
        if times < SEEN || now.since(since) < HOLDS {
            return None;
        }
        let since_ms = stamp.synced.then_some(stamp.wall_ms);
        Some(match &self.kept {
            Some(KnownRouter { known, .. }) if *known != seen => {
                KnownRouter { known: *known, moved: Some(Moved { to: seen, since_ms }) }
            }
            _ => KnownRouter { known: seen, moved: None },
        })
    }

    /// Takes over the value that is now in the database.
    pub fn adopt(&mut self, kept: KnownRouter, now: Monotonic) {
        let moved = |kept: &KnownRouter| kept.moved.as_ref().map(|moved| moved.to);
        if self.kept.as_ref().and_then(moved) != moved(&kept) {
            self.since = Some(now);
        }
        self.other = None;
        self.kept = Some(kept);
    }

    /// Returns the trouble of another router; the subject is that router's address.
    pub fn trouble(&self, started: Monotonic) -> Option<PartState> {
        let KnownRouter { known, moved } = self.kept.as_ref()?;
        let to = moved.as_ref()?.to;
        let detail = Detail::new("router_changed")
            .with("router", to.to_string())
            .with("known", known.to_string());
        let trouble = Trouble { since: self.since.unwrap_or(started), detail, count: None };
        Some(PartState::new(AlarmWhat::Neighbourhood, to.to_string(), Some(trouble)))
    }
}

/// Returns the new value when the other router has been there long enough to be the known one.
fn settled(kept: &KnownRouter, stamp: Stamp) -> Option<KnownRouter> {
    let moved = kept.moved.as_ref().filter(|_| stamp.synced)?;
    match moved.since_ms {
        // The clock was not synchronised at the change: the days count from now.
        None => {
            let moved = Some(Moved { to: moved.to, since_ms: Some(stamp.wall_ms) });
            Some(KnownRouter { known: kept.known, moved })
        }
        Some(since) => (stamp.wall_ms.saturating_sub(since) >= KNOWN_AFTER_MS)
            .then_some(KnownRouter { known: moved.to, moved: None }),
    }
}

#[cfg(test)]
mod tests;
