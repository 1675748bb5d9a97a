//! Sessions over TCP, one for each topic.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{
    profiles::{Parcel, Sessions, Verdict},
    wire::{Wire, WireError},
};
use crate::{clock::Clock, config::PlatformUrl};

pub(super) struct Tcp {
    url: PlatformUrl,
    sessions: Arc<dyn Sessions>,
    clock: Arc<dyn Clock>,
}

impl Tcp {
    pub fn new(url: PlatformUrl, sessions: Arc<dyn Sessions>, clock: Arc<dyn Clock>) -> Tcp {
        Tcp { url, sessions, clock }
    }
}

impl Wire for Tcp {
    fn open(&mut self) -> BoxFuture<'_, Result<(), WireError>> {
        let _ = (&self.sessions, &self.clock);
        Box::pin(async { Err(WireError::new(format!("{}: not in this version", self.url))) })
    }

    fn deliver(&mut self, _: Vec<Parcel>) -> BoxFuture<'_, Result<Vec<Verdict>, WireError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}
