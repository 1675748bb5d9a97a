//! The detector made ready for one picture size after another.
//!
//! tract optimises a network for fixed shapes, which takes some tens of
//! milliseconds and some memory. A gate sees few sizes (one a camera, and the
//! photos of an enrolment), so the latest few are kept.

use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::*;

use super::onnx;

/// Sizes kept. The least recently used one goes.
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

    /// The network for input of this size.
    ///
    /// The lock is not held while a plan is built, so cameras of other sizes
    /// go on. Two threads may build the same plan at the same moment; the
    /// later one is then dropped.
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

    /// A plan that is there, which thereby is the most recently used.
    fn kept(&self, width: u32, height: u32) -> Option<Arc<TypedRunnableModel>> {
        // Nothing is left half done under this lock, so a poisoned one is
        // as good as new.
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
