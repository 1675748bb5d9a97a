//! Who is next to this box on the network: the hardware address of the router that its default
//! route leads to. A box that was carried away finds another router.
//!
//! The first router is learned without a word. Another one in its place, for long enough, is a
//! trouble until the first is back, or for seven days: by then somebody has seen it, and it is the
//! known one. No route, a route without a router (a modem's point-to-point link) and a router whose
//! address the kernel does not know say nothing. Of IPv6 routes nothing is read.

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

/// Another router is one when it was seen so often, and for so long, and no other in between.
const SEEN: u32 = 4;
const HOLDS: Duration = Duration::from_secs(30);
/// Then it is the known one.
const KNOWN_AFTER_MS: i64 = 7 * 24 * 3600 * 1000;
/// Read of each of the kernel's files; a longer one is a crowd of routes or neighbours, and what is
/// beyond is passed over.
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
            // All zeros is what the kernel writes before it knows.
            Some(Ok(bytes)) if bytes != [0; 6] => Ok(Mac(bytes)),
            _ => Err("it must be six bytes such as 02:fc:00:00:00:05"),
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

/// Digits only: Rust's own reading takes a sign as well.
fn hex_number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
    u32::from_str_radix(text, 16).ok().filter(|_| digits)
}

/// Where the kernel says who is next.
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

    /// The router's hardware address, where there is one and it is known.
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

/// The device and the router of the default route with the least metric.
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
        // The kernel writes the address as the number that it is in memory.
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

/// What is kept of it in the database.
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
    /// Since when, by a clock that is trusted.
    since_ms: Option<i64>,
}

impl KnownRouter {
    fn current(&self) -> Mac {
        self.moved.as_ref().map_or(self.known, |moved| moved.to)
    }
}

/// Looks at the router now and then. Pure.
#[derive(Debug, Default)]
pub struct Relocation {
    kept: Option<KnownRouter>,
    /// Another one than the current: since when, and how often it was seen.
    other: Option<(Mac, Monotonic, u32)>,
    /// Since when, in this run, the trouble is known.
    since: Option<Monotonic>,
}

impl Relocation {
    /// Goes on from what was kept. What cannot be read is learned anew.
    pub fn resumed(kept: Option<&[u8]>) -> Relocation {
        let read = kept.map(serde_json::from_slice).transpose();
        let kept = read.unwrap_or_else(|error| {
            tracing::error!(%error, "which router is known is damaged; it is learned anew");
            None
        });
        Relocation { kept, ..Relocation::default() }
    }

    /// What is to be kept from now on, where that changes: once it is, [`adopt`](Self::adopt) it.
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

    /// This is in the database.
    pub fn adopt(&mut self, kept: KnownRouter, now: Monotonic) {
        let moved = |kept: &KnownRouter| kept.moved.as_ref().map(|moved| moved.to);
        if self.kept.as_ref().and_then(moved) != moved(&kept) {
            self.since = Some(now);
        }
        self.other = None;
        self.kept = Some(kept);
    }

    /// What is wrong with it; the subject is the router's address.
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

/// Another router that is there for long enough becomes the known one.
fn settled(kept: &KnownRouter, stamp: Stamp) -> Option<KnownRouter> {
    let moved = kept.moved.as_ref().filter(|_| stamp.synced)?;
    match moved.since_ms {
        // The clock was not trusted then: the days count from now.
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
