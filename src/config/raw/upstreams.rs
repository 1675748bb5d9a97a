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
        let profile = raw.profile.unwrap_or_else(|| "native".to_owned());
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
        let encrypted = brokers.iter().any(|broker| broker.tls);
        let tls = tls(&at, (raw.ca, raw.cert, raw.key), encrypted, base)?;
        let same = |other: &Upstream| {
            let theirs = |mine: &Broker| {
                other.brokers.iter().any(|b| (&b.host, b.port) == (&mine.host, mine.port))
            };
            brokers.iter().any(theirs)
        };
        if let Some(other) = upstreams.iter().find(|other| same(other)) {
            let problem = format!(
                "is that of the upstream {:?} too, whose topics are the same: a broker is one upstream's",
                other.name
            );
            return wrong(at("broker"), problem);
        }
        upstreams.push(Upstream {
            name,
            brokers,
            client_id: match raw.client_id {
                None => None,
                Some(id) => Some(plain_name(at("client_id"), id)?),
            },
            tls,
            version: raw.version,
            profile: plain_name(at("profile"), profile)?,
            encoding: raw.encoding,
            ack: raw.ack,
            remote_release: raw.remote_release.unwrap_or(false),
            username: raw.username,
            password: raw.password.map(|text| Secret::parse(&text, base)),
        });
    }
    Ok(upstreams)
}

/// `ca`, `cert` and `key`, as they are written.
type RawTls = (Option<PathBuf>, Option<PathBuf>, Option<String>);

fn tls(
    at: &impl Fn(&str) -> String,
    (ca, cert, key): RawTls,
    encrypted: bool,
    base: &Path,
) -> Checked<Tls> {
    let given = [("ca", ca.is_some()), ("cert", cert.is_some()), ("key", key.is_some())];
    if let Some((unused, _)) = given.iter().find(|(_, given)| *given && !encrypted) {
        let problem = "no broker of this upstream has mqtts://, so it would never be used: write \
                       mqtts://HOST:PORT, or leave it out";
        return wrong(at(unused), problem);
    }
    let own = match (cert, key.map(|text| Secret::parse(&text, base))) {
        (None, None) => None,
        (_, Some(Secret::Plain(_))) => {
            let remedy = "give file:PATH or credential:NAME, never the key itself";
            return wrong(at("key"), remedy);
        }
        (Some(cert), Some(key)) => Some((base.join(cert), key)),
        (Some(_), None) => {
            let remedy =
                "needs its private key as well: key = \"file:PATH\" or \"credential:NAME\"";
            return wrong(at("cert"), remedy);
        }
        (None, Some(_)) => {
            return wrong(
                at("key"),
                "needs the certificate it belongs to as well: cert = \"PATH\"",
            );
        }
    };
    Ok(Tls { ca: ca.map(|path| base.join(path)), own })
}

fn broker(key: String, url: &str, allow_plaintext: bool) -> Checked<Broker> {
    if url.contains('@') {
        let remedy = "write mqtts://HOST:PORT alone, username and password have keys of their own";
        return wrong(key, format!("the address has an @ in it: {remedy}"));
    }
    if let Some(message) = address::unclear(url) {
        return wrong(key, message);
    }
    let shown = address::shown(url);
    let (rest, tls, usual) = match (url.strip_prefix("mqtts://"), url.strip_prefix("mqtt://")) {
        (Some(rest), _) => (rest, true, 8883),
        (None, Some(rest)) => (rest, false, 1883),
        (None, None) => {
            let form = "mqtts://HOST:PORT, or mqtt://HOST:PORT on this machine";
            return wrong(key, format!("{shown} is no broker's address: it must be {form}"));
        }
    };
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (rest, Some(usual)),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let Some(port) = port.filter(|p| *p != 0) else {
        return wrong(key, format!("{shown} has no port from 1 to 65535"));
    };
    if rustls::pki_types::ServerName::try_from(host.as_str()).is_err() {
        return wrong(key, format!("{shown} names no host, such as broker.example or 10.0.0.9"));
    }
    let loopback = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if !tls && !loopback && !allow_plaintext {
        return wrong(
            key,
            format!(
                "{shown} would carry names in plain text off this machine: write mqtts://HOST:PORT, or set \
                 allow_plaintext = true where the link itself is private"
            ),
        );
    }
    Ok(Broker { host, port, tls })
}
