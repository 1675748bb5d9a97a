//! What stands in a site's `gatehouse.toml`: every test that needs one builds it here.

use std::path::Path;

use toml::{Table, Value};

/// A lane and what hangs on it.
#[derive(Clone)]
pub struct Lane(Table);

impl Lane {
    /// The usual one: `north`, with a Modbus board at `tty` and a camera for entries at `camera`.
    pub fn north() -> Lane {
        Lane::modbus("north").camera("entry", "replay:camera")
    }

    /// With a Modbus board at `tty`, and no camera.
    pub fn modbus(name: &str) -> Lane {
        Lane::driven(name, "modbus-rtu").turnstile("port", "tty")
    }

    /// With no real turnstile, which `mode = "bench"` allows, and no camera.
    pub fn simulated(name: &str) -> Lane {
        Lane::driven(name, "simulated")
    }

    /// With this driver, of which no more is said.
    pub fn driven(name: &str, driver: &str) -> Lane {
        Lane(Table::new()).set("name", name).turnstile("driver", driver)
    }

    /// A key of `[[lane]]`.
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Lane {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// A key of `[lane.turnstile]`.
    pub fn turnstile(mut self, key: &str, value: impl Into<Value>) -> Lane {
        table(&mut self.0, "turnstile").insert(key.to_owned(), value.into());
        self
    }

    /// One more `[[lane.camera]]`.
    pub fn camera(mut self, direction: &str, source: &str) -> Lane {
        let camera = [("direction", direction), ("source", source)];
        let camera: Table =
            camera.map(|(key, value)| (key.to_owned(), value.into())).into_iter().collect();
        list(&mut self.0, "camera").push(camera.into());
        self
    }
}

/// The whole file. Keys are added one by one; one that is there already is replaced.
#[derive(Clone)]
pub struct Configuration(Table);

impl Configuration {
    /// The site `P-1`, its files beside the configuration, the checkout's models, and the upstream
    /// `platform` at this broker. No lane.
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

    /// Simulated turnstiles are allowed.
    pub fn bench(mut self) -> Configuration {
        self.0.insert("mode".to_owned(), "bench".into());
        self
    }

    /// A key of the table of this name.
    pub fn set(mut self, name: &str, key: &str, value: impl Into<Value>) -> Configuration {
        table(&mut self.0, name).insert(key.to_owned(), value.into());
        self
    }

    /// One more lane.
    pub fn lane(mut self, lane: Lane) -> Configuration {
        list(&mut self.0, "lane").push(lane.0.into());
        self
    }

    /// A key of the first lane's first camera.
    pub fn camera(mut self, key: &str, value: impl Into<Value>) -> Configuration {
        let lane = list(&mut self.0, "lane")[0].as_table_mut().unwrap();
        let camera = list(lane, "camera")[0].as_table_mut().unwrap();
        camera.insert(key.to_owned(), value.into());
        self
    }

    /// One more upstream.
    pub fn upstream(mut self, name: &str, broker: &str) -> Configuration {
        let upstream = [("name", name), ("broker", broker)];
        let upstream: Table =
            upstream.map(|(key, value)| (key.to_owned(), value.into())).into_iter().collect();
        list(&mut self.0, "upstream").push(upstream.into());
        self
    }

    /// A key of the last upstream.
    pub fn its(mut self, key: &str, value: impl Into<Value>) -> Configuration {
        let upstream = list(&mut self.0, "upstream").last_mut().unwrap().as_table_mut().unwrap();
        upstream.insert(key.to_owned(), value.into());
        self
    }

    /// Writes the file.
    pub fn write(&self, file: &Path) {
        std::fs::write(file, toml::to_string(&self.0).unwrap()).unwrap();
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
