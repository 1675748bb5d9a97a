//! Calls over HTTPS (HTTP/1.1, POST).

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{
    profiles::{Calls, Parcel, Verdict},
    tls::Safety,
    wire::{Wire, WireError},
};
use crate::{clock::Clock, config::PlatformUrl};

pub(super) struct Https {
    url: PlatformUrl,
    calls: Arc<dyn Calls>,
    safety: Arc<Safety>,
    clock: Arc<dyn Clock>,
}

impl Https {
    pub fn new(
        url: PlatformUrl,
        calls: Arc<dyn Calls>,
        safety: Arc<Safety>,
        clock: Arc<dyn Clock>,
    ) -> Https {
        Https { url, calls, safety, clock }
    }
}

impl Wire for Https {
    fn open(&mut self) -> BoxFuture<'_, Result<(), WireError>> {
        let _ = (&self.calls, &self.safety, &self.clock);
        Box::pin(async { Err(WireError::new(format!("{}: not in this version", self.url))) })
    }

    fn deliver(&mut self, _: Vec<Parcel>) -> BoxFuture<'_, Result<Vec<Verdict>, WireError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}
