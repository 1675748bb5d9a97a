//! Where a connection goes.

use std::sync::Arc;

use crate::{
    config::{Broker, MqttVersion, Upstream},
    uplink::{
        client,
        link::{Context, LinkError},
        profiles::Profile,
        tls::Safety,
    },
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

pub fn options(to: To<'_>, context: &Context) -> Result<client::Options, LinkError> {
    let To { upstream, profile, broker, version, safety } = to;
    let default_id = || format!("{}-{}", context.origin.gateway, upstream.name);
    let login = match &upstream.username {
        None => None,
        Some(username) => {
            let password = upstream.password.as_ref().map(|p| p.read()).transpose()?;
            Some((username.clone(), password.unwrap_or_default()))
        }
    };
    Ok(client::Options {
        version,
        host: broker.host.clone(),
        port: broker.port,
        transport: safety.transport(broker)?,
        client_id: upstream.client_id.clone().unwrap_or_else(default_id),
        login,
        will: profile.offline()?,
    })
}
