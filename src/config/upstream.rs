//! Upstreams and their brokers.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, SeqAccess, Visitor},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{
    PhotoCrop, Photos, PlatformUrl, Secret, SignerKey, address, photos,
    value::{self, ALIKE, Checked, keys, likeness, wrong},
    written::Written,
};
use crate::words::words;

/// One connection to a platform.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    #[serde(default, deserialize_with = "value::name")]
    pub name: String,
    /// The broker, or the nodes of a cluster. They are tried in turn. Empty if there is a `url`.
    #[serde(rename = "broker", default, deserialize_with = "one_or_many")]
    pub brokers: Vec<Broker>,
    /// The platform's address, where its profile does not speak MQTT.
    pub url: Option<PlatformUrl>,
    /// `None`: the client id is made of the gateway's id and the upstream's name.
    #[serde(default, deserialize_with = "value::mqtt_text")]
    pub client_id: Option<String>,
    /// The platform's profile: a name that the uplink knows and checks.
    #[serde(default = "native", deserialize_with = "value::name")]
    pub profile: String,
    /// PEM file: the authorities trusted for the broker; `None`: those of the operating system.
    pub ca: Option<PathBuf>,
    /// PEM file: the gateway's certificate with its chain.
    pub cert: Option<PathBuf>,
    /// PEM file: the certificate's private key. Both are given or neither.
    #[serde(default, deserialize_with = "Secret::kept_apart")]
    pub key: Option<Secret>,
    #[serde(default, deserialize_with = "value::mqtt_text")]
    pub username: Option<String>,
    pub password: Option<Secret>,
    #[serde(default)]
    pub ack: Ack,
    #[serde(default)]
    pub commands: CommandLevel,
    /// The key that signs the platform's commands and acknowledgements. With it, an unsigned one
    /// does not count.
    pub command_key: Option<SignerKey>,
    /// Whether faces in its signed commands count at once, without a person at the site.
    #[serde(default)]
    pub trust_faces: bool,
    /// `None`: MQTT 5, or 3.1.1 if the broker refuses MQTT 5.
    pub version: Option<MqttVersion>,
    /// Whether a broker on another machine may be used without encryption.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// Whether photos of passages go to the platform. Each worker's own consent is needed too.
    #[serde(default)]
    pub photos: Photos,
    /// Maximum size of a photo that is sent, in KiB.
    #[serde(default = "photos::kb", deserialize_with = "value::whole::<_, _, 10, 500>")]
    pub photo_kb: u16,
    /// Maximum amount of photos in a minute, in KiB as they are sent.
    #[serde(
        default = "photos::kb_per_minute",
        deserialize_with = "value::whole::<_, _, 10, 65_535>"
    )]
    pub photo_kb_per_minute: u16,
    #[serde(default)]
    pub photo_crop: PhotoCrop,
    /// The other keys of its table, which its profile reads.
    #[serde(skip)]
    pub own: OwnKeys,
}

/// Keys that are not common to all profiles, as the file has them.
#[derive(Clone, Default)]
pub struct OwnKeys(pub toml::Table);

impl OwnKeys {
    /// Returns the secrets that are kept apart, with their keys.
    pub fn secrets(&self) -> impl Iterator<Item = (String, Secret)> {
        let secret = |(key, value): (&String, &toml::Value)| match Secret::from(
            value.as_str()?.to_owned(),
        ) {
            Secret::Plain(_) => None,
            secret => Some((key.clone(), secret)),
        };
        self.0.iter().filter_map(secret)
    }

    /// Makes the path of each `file:` absolute, as of the other secrets.
    fn begin_at(&mut self, base: &Path) {
        for (_, value) in &mut self.0 {
            if let toml::Value::String(text) = value
                && let Some(path) = text.strip_prefix("file:")
            {
                *text = format!("file:{}", base.join(path).display());
            }
        }
    }
}

/// Shows the keys only, because a value may be a secret.
impl fmt::Debug for OwnKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Takes out of the tree each upstream's keys that are not common to all profiles. A misspelt
/// `broker` stays, so that its error names the right spelling.
pub(super) fn take_own_keys(tree: &mut DeTable<'_>) -> Vec<OwnKeys> {
    let Some(DeValue::Array(upstreams)) = tree.get_mut("upstream").map(Spanned::get_mut) else {
        return Vec::new();
    };
    let common = keys::<Upstream>();
    let take = |upstream: &mut Spanned<DeValue<'_>>| {
        let mut own = toml::Table::new();
        if let DeValue::Table(table) = upstream.get_mut() {
            let broker = table.contains_key("broker") || table.contains_key("url");
            for (key, value) in std::mem::take(table) {
                let misspelt = !broker && likeness(key.get_ref(), "broker") >= ALIKE;
                if misspelt || common.iter().any(|known| known == key.get_ref()) {
                    table.insert(key, value);
                } else if let Ok(value) = toml::Value::deserialize(ValueDeserializer::from(value)) {
                    own.insert(key.into_inner().into_owned(), value);
                }
            }
        }
        OwnKeys(own)
    };
    upstreams.iter_mut().map(take).collect()
}

impl Upstream {
    /// Returns the client id at a broker. The broker keeps the session under it.
    pub fn client_id(&self, gateway: &str) -> String {
        self.client_id.clone().unwrap_or_else(|| format!("{gateway}-{}", self.name))
    }

    /// Returns the first address, for people.
    pub fn address(&self) -> String {
        let url = self.url.as_ref().map(ToString::to_string);
        url.or_else(|| self.brokers.first().map(ToString::to_string)).unwrap_or_default()
    }

    /// Returns whether two upstreams have a broker in common.
    pub fn shares_a_broker(&self, other: &Upstream) -> bool {
        let has = |mine: &Broker| {
            other.brokers.iter().any(|b| (&b.host, b.port) == (&mine.host, mine.port))
        };
        self.brokers.iter().any(has)
    }

    /// Returns the certificates and the key for a broker with `mqtts:`.
    pub fn tls(&self) -> Tls {
        Tls { ca: self.ca.clone(), own: self.cert.clone().zip(self.key.clone()) }
    }

    fn complete(&mut self, i: usize, keeps_photos: bool, written: &Written<'_>) -> Checked<()> {
        let at = |key: &str| format!("upstream[{i}].{key}");
        if !written.has(&at("name")) {
            self.name = format!("upstream{i}");
        }
        if self.photos.are_sent() && !keeps_photos {
            let problem =
                "needs a storage.photo_keep_days of 1 or more: without it no photo is taken";
            return wrong(at("photos"), problem);
        }
        self.check_address(&at, written)?;
        if self.trust_faces && self.command_key.is_none() {
            let problem = "needs a command_key as well: without signatures, every client of the broker \
                           that may publish could enroll a face";
            return wrong(at("trust_faces"), problem);
        }
        if self.trust_faces && self.commands < CommandLevel::Roster {
            return wrong(at("trust_faces"), "needs commands = \"roster\" or \"all\" as well");
        }
        if self.password.is_some() && self.username.is_none() {
            return wrong(at("password"), "needs a username, or it is never sent");
        }
        let plain = |broker: &Broker| !broker.tls && !broker.is_here() && !self.allow_plaintext;
        if let Some(n) = self.brokers.iter().position(plain) {
            let of_list = at(&format!("broker[{n}]"));
            let key = if written.has(&of_list) { of_list } else { at("broker") };
            let broker = self.brokers.get(n).map(ToString::to_string).unwrap_or_default();
            return wrong(
                key,
                format!(
                    "{broker:?} would send names unencrypted to another machine: write mqtts://HOST:PORT, \
                     or set allow_plaintext = true if the link itself is private"
                ),
            );
        }
        self.check_files(&at)?;
        [&mut self.ca, &mut self.cert]
            .into_iter()
            .flatten()
            .for_each(|path| written.absolute(path));
        let secrets = [&mut self.key, &mut self.password];
        secrets.into_iter().flatten().for_each(|secret| secret.begin_at(written.base));
        if let Some(SignerKey::Hmac(secret)) = &mut self.command_key {
            secret.begin_at(written.base);
        }
        self.own.begin_at(written.base);
        Ok(())
    }

    /// Checks that there is a broker or a url, and the keys that belong to a broker only.
    fn check_address(&self, at: &impl Fn(&str) -> String, written: &Written<'_>) -> Checked<()> {
        let Some(url) = &self.url else {
            if self.brokers.is_empty() {
                return wrong(
                    at("broker"),
                    "is missing: add broker = … under [[upstream]], or url = … if the platform's \
                     profile does not speak MQTT",
                );
            }
            return Ok(());
        };
        if !self.brokers.is_empty() {
            return wrong(at("url"), "cannot stand beside a broker: delete one of the two");
        }
        let of_brokers = ["client_id", "version", "username", "password", "ack"];
        if let Some(key) = of_brokers.into_iter().find(|key| written.has(&at(key))) {
            return wrong(at(key), "belongs to a broker, and this upstream has a url: delete it");
        }
        if !url.tls() && !url.is_here() && !self.allow_plaintext {
            return wrong(
                at("url"),
                format!(
                    "{:?} would send names unencrypted to another machine: write https:// if the \
                     platform has it, or set allow_plaintext = true if the link itself is private",
                    url.to_string()
                ),
            );
        }
        Ok(())
    }

    fn check_files(&self, at: &impl Fn(&str) -> String) -> Checked<()> {
        let (cert, key) = (self.cert.is_some(), self.key.is_some());
        let given = [("ca", self.ca.is_some()), ("cert", cert), ("key", key)];
        let unused = given.iter().find(|(_, given)| *given);
        let url_tls = self.url.as_ref().is_some_and(PlatformUrl::tls);
        if let Some((unused, _)) =
            unused.filter(|_| !url_tls && self.brokers.iter().all(|b| !b.tls))
        {
            let problem = "no address of this upstream has mqtts:// or https://, so it would never be \
                           used: write one of these, or delete this key";
            return wrong(at(unused), problem);
        }
        match (cert, key) {
            (true, false) => wrong(
                at("cert"),
                "needs its private key as well: key = \"file:PATH\" or \"credential:NAME\"",
            ),
            (false, true) => {
                wrong(at("key"), "needs the certificate it belongs to as well: cert = \"PATH\"")
            }
            _ => Ok(()),
        }
    }
}

/// Completes each upstream, and checks that no two have the same name.
pub(super) fn complete(
    upstreams: &mut [Upstream],
    keeps_photos: bool,
    written: &Written<'_>,
) -> Checked<()> {
    for i in 0..upstreams.len() {
        let Some((upstream, before)) = upstreams.get_mut(..=i).and_then(<[_]>::split_last_mut)
        else {
            continue;
        };
        upstream.complete(i, keeps_photos, written)?;
        if before.iter().any(|other| other.name == upstream.name) {
            return wrong(
                format!("upstream[{i}].name"),
                format!("{:?} occurs twice", upstream.name),
            );
        }
    }
    Ok(())
}

fn native() -> String {
    "native".to_owned()
}

/// The certificates and the key for the connection to a broker with `mqtts:`.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// PEM file: the authorities trusted for the broker; `None`: those of the operating system.
    pub ca: Option<PathBuf>,
    /// PEM file: the gateway's certificate with its chain, and its private key.
    pub own: Option<(PathBuf, Secret)>,
}

words! {
    /// The commands that a platform may give. Each level includes the ones before it.
    #[derive(Default, PartialOrd, Ord)]
    pub enum CommandLevel {
        None = "none",
        /// Commands whose replies contain no worker, and that change nothing on the roster.
        #[default]
        Status = "status",
        /// Commands that read and change the roster.
        Roster = "roster",
        /// A release of a gate too, if `remote_release` allows it.
        All = "all",
    }
}

words! {
    pub enum MqttVersion {
        V4 = "3.1.1",
        V5 = "5",
    }
}

/// The acknowledgement that takes a row out of the outbox (I3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// The broker acknowledges each message.
    #[default]
    Broker,
    /// The consumer acknowledges all records up to a seq.
    Platform,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Broker {
    pub host: String,
    pub port: u16,
    /// Whether the scheme is `mqtts:`.
    pub tls: bool,
}

impl std::fmt::Display for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl Broker {
    /// Returns whether the broker is on this machine.
    fn is_here(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl TryFrom<String> for Broker {
    type Error = String;

    fn try_from(url: String) -> Result<Broker, String> {
        broker(&url)
    }
}

fn broker(url: &str) -> Result<Broker, String> {
    if url.contains('@') {
        let remedy = "write mqtts://HOST:PORT alone, username and password have keys of their own";
        return Err(format!("the address has an @ in it: {remedy}"));
    }
    if let Some(message) = address::unclear(url) {
        return Err(message);
    }
    let shown = address::shown(url);
    let (rest, tls, usual) = match (url.strip_prefix("mqtts://"), url.strip_prefix("mqtt://")) {
        (Some(rest), _) => (rest, true, 8883),
        (None, Some(rest)) => (rest, false, 1883),
        (None, None) => {
            let form = "mqtts://HOST:PORT, or mqtt://HOST:PORT on this machine";
            return Err(format!("{shown} is not a broker's address: it must be {form}"));
        }
    };
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (rest, Some(usual)),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let Some(port) = port.filter(|p| *p != 0) else {
        return Err(format!("{shown} has no port from 1 to 65535"));
    };
    if rustls::pki_types::ServerName::try_from(host.as_str()).is_err() {
        return Err(format!("{shown} has no valid host, such as broker.example or 10.0.0.9"));
    }
    Ok(Broker { host, port, tls })
}

/// The form of a broker's key, in serde's error message.
pub(super) const ADDRESSES: &str = "an address in quotes, or a list of them";

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Broker>, D::Error> {
    struct OneOrMany;

    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<Broker>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(ADDRESSES)
        }

        fn visit_str<E: Error>(self, url: &str) -> Result<Vec<Broker>, E> {
            broker(url).map(|one| vec![one]).map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Broker>, A::Error> {
            let mut brokers = Vec::new();
            while let Some(broker) = list.next_element()? {
                brokers.push(broker);
            }
            if brokers.is_empty() {
                let remedy = "name at least one, such as \"mqtt://127.0.0.1:1883\"";
                return Err(A::Error::custom(remedy));
            }
            Ok(brokers)
        }
    }

    from.deserialize_any(OneOrMany)
}
