//! The detector's network, prepared for several picture sizes.
//!
//! tract optimises a network for fixed shapes, which takes some tens of
//! milliseconds and some memory. A gate has few sizes (one for each camera,
//! and the photos of an enrolment), so the latest plans are kept.

use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::*;

use super::onnx;

/// Maximum number of plans that are kept. The least recently used plan is dropped.
const MAX_PLANS: usize = 8;

pub(super) struct Plans {
    network: InferenceModel,
    /// Most recently used last.
    ready: Mutex<Vec<Ready>>,
}

struct Ready {
    width: u32,
    height: u32,
    plan: Arc<TypedRunnableModel>,
}

impl Plans {
    pub(super) fn new(network: InferenceModel) -> Plans {
        Plans { network, ready: Mutex::new(Vec::with_capacity(MAX_PLANS)) }
    }

    /// Returns the network for input of this size.
    ///
    /// The lock is not held while a plan is built, so that cameras of other
    /// sizes go on. Two threads may build the same plan at the same time. The
    /// later plan is then dropped.
    pub(super) fn get(&self, width: u32, height: u32) -> TractResult<Arc<TypedRunnableModel>> {
        if let Some(plan) = self.kept(width, height) {
            return Ok(plan);
        }
        let plan = onnx::ready(self.network.clone(), width as usize, height as usize)?;
        if let Some(plan) = self.kept(width, height) {
            return Ok(plan);
        }
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.len() >= MAX_PLANS {
            ready.remove(0);
        }
        ready.push(Ready { width, height, plan: plan.clone() });
        Ok(plan)
    }

    /// Returns a kept plan, which becomes the most recently used.
    fn kept(&self, width: u32, height: u32) -> Option<Arc<TypedRunnableModel>> {
        // The list is always consistent under this lock, so a poisoned lock is
        // safe to use.
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let at = ready.iter().position(|r| (r.width, r.height) == (width, height))?;
        let found = ready.remove(at);
        let plan = found.plan.clone();
        ready.push(found);
        Some(plan)
    }
}

#[cfg(test)]
mod tests;
