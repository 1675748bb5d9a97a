//! Builds the `gatehouse.toml` of a site. Every test that needs such a file builds it here.

use std::{os::unix::fs::PermissionsExt, path::Path};

use toml::{Table, Value};

/// A lane with its turnstile and cameras.
#[derive(Clone)]
pub struct Lane(Table);

impl Lane {
    /// Returns the usual lane: `north`, with a Modbus board at `tty` and a camera for entries at
    /// `camera`.
    pub fn north() -> Lane {
        Lane::modbus("north").camera("entry", "replay:camera")
    }

    /// Returns a lane with a Modbus board at `tty` and no camera.
    pub fn modbus(name: &str) -> Lane {
        Lane::driven(name, "modbus-rtu").turnstile("port", "tty")
    }

    /// Returns a lane with a simulated turnstile, which needs `mode = "bench"`, and no camera.
    pub fn simulated(name: &str) -> Lane {
        Lane::driven(name, "simulated")
    }

    /// Returns a lane with this driver and no further settings.
    pub fn driven(name: &str, driver: &str) -> Lane {
        Lane(Table::new()).set("name", name).turnstile("driver", driver)
    }

    /// Sets a key of `[[lane]]`.
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Lane {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// Sets a key of `[lane.turnstile]`.
    pub fn turnstile(mut self, key: &str, value: impl Into<Value>) -> Lane {
        table(&mut self.0, "turnstile").insert(key.to_owned(), value.into());
        self
    }

    /// Adds a `[[lane.camera]]`.
    pub fn camera(mut self, direction: &str, source: &str) -> Lane {
        let camera = [("direction", direction), ("source", source)];
        let camera: Table =
            camera.map(|(key, value)| (key.to_owned(), value.into())).into_iter().collect();
        list(&mut self.0, "camera").push(camera.into());
        self
    }

    /// Adds a `[[lane.reader]]`, whose port is its name.
    pub fn reader(self, name: &str, direction: &str, driver: &str) -> Lane {
        self.reader_with(name, direction, driver, Table::new())
    }

    /// Adds a `[[lane.reader]]` with further keys.
    pub fn reader_with(mut self, name: &str, direction: &str, driver: &str, more: Table) -> Lane {
        let reader = [("name", name), ("direction", direction), ("driver", driver), ("port", name)];
        let reader = reader.map(|(key, value)| (key.to_owned(), value.into()));
        let reader: Table = reader.into_iter().chain(more).collect();
        list(&mut self.0, "reader").push(reader.into());
        self
    }
}

/// The whole file. Setting a key that exists replaces its value.
#[derive(Clone)]
pub struct Configuration(Table);

impl Configuration {
    /// Returns the configuration of the site `P-1`, without a lane. Its files lie beside the
    /// configuration, its models are those of the checkout, and its upstream `platform` is this
    /// broker.
    pub fn new(broker: &str) -> Configuration {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        Configuration(Table::new())
            .set("site", "project_code", "P-1")
            .set("site", "gateway_id", "gate-1")
            .set("storage", "dir", "data")
            .set("models", "dir", models.to_str().unwrap())
            .set("control", "socket", "control.sock")
            .upstream("platform", broker)
    }

    /// Allows simulated turnstiles.
    pub fn bench(mut self) -> Configuration {
        self.0.insert("mode".to_owned(), "bench".into());
        self
    }

    /// Sets a key of the table with this name.
    pub fn set(mut self, name: &str, key: &str, value: impl Into<Value>) -> Configuration {
        table(&mut self.0, name).insert(key.to_owned(), value.into());
        self
    }

    /// Adds a lane.
    pub fn lane(mut self, lane: Lane) -> Configuration {
        list(&mut self.0, "lane").push(lane.0.into());
        self
    }

    /// Sets a key of the first camera of the first lane.
    pub fn camera(mut self, key: &str, value: impl Into<Value>) -> Configuration {
        let lane = list(&mut self.0, "lane")[0].as_table_mut().unwrap();
        let camera = list(lane, "camera")[0].as_table_mut().unwrap();
        camera.insert(key.to_owned(), value.into());
        self
    }

    /// Sets a key of every camera of the first lane.
    pub fn cameras(mut self, key: &str, value: impl Into<Value>) -> Configuration {
        let (value, lane) = (value.into(), list(&mut self.0, "lane")[0].as_table_mut().unwrap());
        for camera in list(lane, "camera") {
            camera.as_table_mut().unwrap().insert(key.to_owned(), value.clone());
        }
        self
    }

    /// Adds an upstream.
    pub fn upstream(mut self, name: &str, broker: &str) -> Configuration {
        let upstream = [("name", name), ("broker", broker)];
        let upstream: Table =
            upstream.map(|(key, value)| (key.to_owned(), value.into())).into_iter().collect();
        list(&mut self.0, "upstream").push(upstream.into());
        self
    }

    /// Sets a key of the last upstream.
    pub fn its(mut self, key: &str, value: impl Into<Value>) -> Configuration {
        let upstream = list(&mut self.0, "upstream").last_mut().unwrap().as_table_mut().unwrap();
        upstream.insert(key.to_owned(), value.into());
        self
    }

    /// Sets these upstreams in place of all others.
    pub fn upstreams(mut self, upstreams: Vec<Table>) -> Configuration {
        *list(&mut self.0, "upstream") = upstreams.into_iter().map(Value::from).collect();
        self
    }

    /// Makes the last upstream a platform that answers each call, with this profile.
    pub fn calls(mut self, url: &str, profile: &str) -> Configuration {
        let upstream = list(&mut self.0, "upstream").last_mut().unwrap().as_table_mut().unwrap();
        upstream.remove("broker");
        self.its("url", url).its("profile", profile)
    }

    /// Writes the file. A site with a replayed camera is in bench mode.
    pub fn write(&self, file: &Path) {
        let text = toml::to_string(&self.0).unwrap();
        let bench = text.contains("source = \"replay:") && !self.0.contains_key("mode");
        let mode = if bench { "mode = \"bench\"\n" } else { "" };
        std::fs::write(file, format!("{mode}{text}")).unwrap();
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
    }
}

fn table<'a>(of: &'a mut Table, name: &str) -> &'a mut Table {
    let table = of.entry(name).or_insert_with(|| Table::new().into());
    table.as_table_mut().unwrap()
}

fn list<'a>(of: &'a mut Table, name: &str) -> &'a mut Vec<Value> {
    let list = of.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    list.as_array_mut().unwrap()
}
