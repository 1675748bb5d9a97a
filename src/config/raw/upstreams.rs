//! Upstreams and their brokers.

use super::*;

pub(super) fn upstreams(raw: Vec<RawUpstream>, base: &Path) -> Checked<Vec<Upstream>> {
    let mut upstreams: Vec<Upstream> = Vec::new();
    for (i, raw) in raw.into_iter().enumerate() {
        let at = |key: &str| format!("upstream[{i}].{key}");
        let name = plain_name(at("name"), raw.name.unwrap_or_else(|| format!("upstream{i}")))?;
        if upstreams.iter().any(|other| other.name == name) {
            return wrong(at("name"), format!("{name:?} stands twice"));
        }
        only(at("profile"), raw.profile, "native")?;
        if raw.photos == Some(true) {
            return wrong(at("photos"), "is not in this version; it has false");
        }
        if raw.password.is_some() && raw.username.is_none() {
            return wrong(at("password"), "needs a username, or it is never sent");
        }
        let (many, listed) = match raw.broker {
            OneOrMany::One(one) => (false, vec![one]),
            OneOrMany::Many(many) => (true, many),
        };
        if listed.is_empty() {
            return wrong(at("broker"), "name at least one, such as \"mqtt://127.0.0.1:1883\"");
        }
        let mut brokers = Vec::new();
        for (j, url) in listed.iter().enumerate() {
            let key = if many { at(&format!("broker[{j}]")) } else { at("broker") };
            brokers.push(broker(key, url, raw.allow_plaintext.unwrap_or(false))?);
        }
        upstreams.push(Upstream {
            name,
            brokers,
            client_id: match raw.client_id {
                None => None,
                Some(id) => Some(plain_name(at("client_id"), id)?),
            },
            tls: Tls::default(),
            version: raw.version,
            encoding: raw.encoding,
            ack: raw.ack,
            remote_release: raw.remote_release.unwrap_or(false),
            username: raw.username,
            password: raw.password.map(|text| Secret::parse(&text, base)),
        });
    }
    Ok(upstreams)
}

fn broker(key: String, url: &str, allow_plaintext: bool) -> Checked<Broker> {
    let Some(rest) = url.strip_prefix("mqtt://") else {
        return wrong(key, format!("{url:?} is not in this version; it has mqtt://HOST:PORT"));
    };
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (rest, Some(1883)),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let Some(port) = port.filter(|p| *p != 0) else {
        return wrong(key, format!("{url:?} has no port from 1 to 65535"));
    };
    if host.is_empty() || host.contains(['@', '/', ' ']) {
        return wrong(
            key,
            format!(
                "{url:?} must be mqtt://HOST:PORT; username and password have keys of their own"
            ),
        );
    }
    let loopback = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if !loopback && !allow_plaintext {
        return wrong(
            key,
            format!(
                "{url:?} would carry names in plain text off this machine; set allow_plaintext = true where the link itself is private"
            ),
        );
    }
    Ok(Broker { host, port, tls: false })
}
