//! The address of a platform that does not speak MQTT.

use std::{fmt, net::Ipv4Addr};

use serde::Deserialize;
use url::{Host, Url};

use super::address;

/// `https://HOST[:PORT]/PATH`, or `tcp://HOST:PORT`. `http:` and `tcp:` are not encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PlatformUrl {
    url: Url,
}

impl PlatformUrl {
    /// Returns the scheme: `https`, `http` or `tcp`.
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// Returns whether the link is encrypted.
    pub fn tls(&self) -> bool {
        self.scheme() == "https"
    }

    /// Returns the host, an IPv6 address without brackets.
    pub fn host(&self) -> String {
        match self.url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => String::new(),
        }
    }

    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or_default()
    }

    /// Returns the value of the header `Host`.
    pub fn authority(&self) -> &str {
        self.url.authority()
    }

    /// Returns the path, which begins with a slash.
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// Returns whether the platform is on this machine.
    pub fn is_here(&self) -> bool {
        match self.url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            // The parser knows addresses of IPv4 in `http:` and `https:` only.
            Some(Host::Domain(name)) => {
                let address = name.parse::<Ipv4Addr>();
                name == "localhost" || address.is_ok_and(|address| address.is_loopback())
            }
            None => false,
        }
    }
}

impl fmt::Display for PlatformUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

impl TryFrom<String> for PlatformUrl {
    type Error = String;

    fn try_from(text: String) -> Result<PlatformUrl, String> {
        const FORM: &str = "it must be https://HOST/PATH or tcp://HOST:PORT";
        if let Some(message) = address::unclear(&text) {
            return Err(message);
        }
        if text.contains(['@', '?', '#']) {
            return Err(format!(
                "the platform's address has an @, a ? or a # in it: {FORM}; the login of a platform \
                 belongs to the keys of its profile"
            ));
        }
        let wrong = || format!("{} is not a platform's address: {FORM}", address::shown(&text));
        // The parser does not know the form of `tcp:` and would take a port for optional.
        let url = Url::parse(&text).map_err(|_| wrong())?;
        let url = PlatformUrl { url };
        let is_known = match url.scheme() {
            "https" | "http" => true,
            "tcp" => url.path().trim_end_matches('/').is_empty(),
            _ => false,
        };
        if !is_known || url.host().is_empty() {
            return Err(wrong());
        }
        if url.port() == 0 {
            return Err(format!("{} has no port from 1 to 65535", address::shown(&text)));
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_on_this_machine_is_known_in_each_scheme() {
        for scheme in ["http", "https", "tcp"] {
            let is_here = |host: &str| {
                PlatformUrl::try_from(format!("{scheme}://{host}:8010")).unwrap().is_here()
            };
            for here in ["localhost", "127.0.0.1", "127.0.0.9", "[::1]"] {
                assert!(is_here(here), "{scheme}://{here}");
            }
            for elsewhere in ["10.0.0.9", "platform.example", "[2001:db8::1]"] {
                assert!(!is_here(elsewhere), "{scheme}://{elsewhere}");
            }
        }
    }
}
