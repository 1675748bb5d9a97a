//! The brokers between the gateway and the platform, and their failures.

use std::path::Path;

use crate::common::{
    Broker,
    nats::{Cluster, NODES},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Mosquitto,
    Cluster,
}

pub enum Brokers {
    Mosquitto(Broker),
    Cluster(Cluster),
}

impl Brokers {
    pub fn start(kind: Kind, dir: &Path) -> Brokers {
        match kind {
            Kind::Mosquitto => {
                let mut broker = Broker::that_saves_seldom(dir);
                broker.start();
                Brokers::Mosquitto(broker)
            }
            Kind::Cluster => {
                let mut cluster = Cluster::new(dir);
                cluster.start();
                Brokers::Cluster(cluster)
            }
        }
    }

    pub fn ports(&self) -> Vec<u16> {
        match self {
            Brokers::Mosquitto(broker) => vec![broker.port],
            Brokers::Cluster(cluster) => cluster.ports(),
        }
    }

    /// Kills the broker, as a power cut would. Of a cluster it kills one node, and never two at
    /// once.
    pub fn kill(&mut self, random: usize) {
        match self {
            Brokers::Mosquitto(broker) => broker.kill(),
            Brokers::Cluster(cluster) => {
                cluster.start();
                cluster.kill(random % NODES);
            }
        }
    }

    /// Freezes the brokers: they neither read nor send until `go_on`.
    pub fn stall(&self) {
        match self {
            Brokers::Mosquitto(broker) => broker.stall(),
            Brokers::Cluster(cluster) => cluster.signal(libc::SIGSTOP),
        }
    }

    pub fn go_on(&self) {
        match self {
            Brokers::Mosquitto(broker) => broker.go_on(),
            Brokers::Cluster(cluster) => cluster.signal(libc::SIGCONT),
        }
    }

    /// Starts mosquitto again. A cluster runs without the killed node until another node is killed.
    pub fn restart(&mut self) {
        if let Brokers::Mosquitto(broker) = self {
            broker.start();
        }
    }

    pub fn all_well(&mut self) {
        if let Brokers::Cluster(cluster) = self {
            cluster.start();
        }
    }
}
