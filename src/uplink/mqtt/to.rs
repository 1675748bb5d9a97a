//! Where a connection goes.

use std::sync::Arc;

use crate::{
    config::{Broker, MqttVersion, Upstream},
    uplink::{profiles::Profile, tls::Safety},
};

/// Where a connection goes, and how.
#[derive(Clone, Copy)]
pub struct To<'a> {
    pub upstream: &'a Upstream,
    pub profile: &'a Arc<dyn Profile>,
    pub broker: &'a Broker,
    pub version: MqttVersion,
    pub safety: &'a Safety,
}
