//! ONNX bytes into a network tract can run.
//!
//! The models are stored with block-quantised weights: int8 values, and for
//! every block of them an f32 scale and an int8 zero point, joined at run time
//! by a `DequantizeLinear` node (ONNX opset 21, attributes `axis` and
//! `block_size`), mostly with a `Reshape` behind it. tract 0.23 refuses
//! these nodes. All their inputs are constants, so we carry the nodes out once,
//! while loading, and hand tract a network with plain f32 weights.

use std::collections::{HashMap, HashSet};

use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};
use tract_onnx::prelude::{Framework, InferenceModel};

/// Why a model's bytes do not make a network.
#[derive(Debug, thiserror::Error)]
pub(super) enum OnnxError {
    #[error("it is no ONNX file: {0}")]
    Protobuf(#[from] prost::DecodeError),
    #[error("it has no graph")]
    NoGraph,
    #[error("weight {tensor}: {why}")]
    Weight { tensor: String, why: &'static str },
    #[error("{0:#}")]
    Tract(tract_onnx::prelude::TractError),
}

/// Reads a network whose weights may be block-quantised. Shapes are left open
/// where the model leaves them open; set them with `with_input_fact`.
pub(super) fn load(bytes: Vec<u8>) -> Result<InferenceModel, OnnxError> {
    let mut proto = ModelProto::decode(&*bytes)?;
    // From here on the weights live in `proto` alone: at its worst moment a
    // 10 MB file costs its 40 MB of f32 weights twice, and no more.
    drop(bytes);
    fold(proto.graph.as_mut().ok_or(OnnxError::NoGraph)?)?;
    tract_onnx::onnx()
        // The files state the shapes for one input size; we choose others.
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true)
        .model_for_proto_model(&proto)
        .map_err(OnnxError::Tract)
}

/// Replaces each block-quantised weight by its f32 values, in place, and
/// leaves only true inputs among the graph's inputs.
fn fold(graph: &mut GraphProto) -> Result<(), OnnxError> {
    let mut weights = Weights::take(graph);
    let mut kept = Vec::with_capacity(graph.node.len());
    // ONNX lists nodes in topological order, so a Reshape comes after the
    // DequantizeLinear it reads.
    for node in std::mem::take(&mut graph.node) {
        match folded(&node, &mut weights)? {
            Some(tensor) => weights.add(tensor),
            None => kept.push(node),
        }
    }
    graph.node = kept;
    graph.initializer = weights.into_used(graph);
    // Old exporters list every weight as an input as well, some of them under
    // names no node reads any more; a caller would be asked to supply them.
    let constants: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let read: HashSet<&str> =
        graph.node.iter().flat_map(|node| node.input.iter().map(String::as_str)).collect();
    graph.input.retain(|input| {
        read.contains(input.name.as_str()) && !constants.contains(input.name.as_str())
    });
    Ok(())
}

/// The node's output, if it can be told now and is one of the kinds tract
/// needs help with.
fn folded(node: &NodeProto, weights: &mut Weights) -> Result<Option<TensorProto>, OnnxError> {
    let (Some(input), Some(output)) = (node.input.first(), node.output.first()) else {
        return Ok(None);
    };
    let second = node.input.get(1).map(String::as_str).unwrap_or_default();
    let third = node.input.get(2).map(String::as_str).unwrap_or_default();
    match node.op_type.as_str() {
        "DequantizeLinear" => {
            let block_size = attribute(node, "block_size").unwrap_or(0);
            if block_size == 0 || !weights.has(input) || !weights.has(second) {
                return Ok(None);
            }
            let quantised = Quantised {
                axis: attribute(node, "axis").unwrap_or(1),
                block_size,
                values: weights.use_up(input),
                scales: weights.use_up(second),
                zero_points: if third.is_empty() { None } else { weights.use_up(third) },
            };
            Ok(Some(quantised.dequantise(output)?))
        }
        "Reshape" if weights.is_folded(input) && weights.has(second) => {
            let shape = weights.use_up(second);
            let (Some(shape), Some(mut tensor)) = (shape, weights.use_up(input)) else {
                return Ok(None);
            };
            tensor.dims = reshaped(&tensor.dims, &int64s(&shape)?)
                .ok_or_else(|| bad(input, "its Reshape does not fit its size"))?;
            tensor.name = output.clone();
            Ok(Some(tensor))
        }
        _ => Ok(None),
    }
}

/// The graph's constants, and how many nodes still want each: a tensor leaves
/// with its last reader, so that quantised and folded weights do not pile up.
struct Weights {
    tensors: HashMap<String, TensorProto>,
    readers: HashMap<String, usize>,
    folded: Vec<String>,
}

impl Weights {
    fn take(graph: &mut GraphProto) -> Weights {
        let mut readers = HashMap::new();
        let outputs = graph.output.iter().map(|output| &output.name);
        for name in graph.node.iter().flat_map(|node| &node.input).chain(outputs) {
            *readers.entry(name.clone()).or_insert(0) += 1;
        }
        let tensors = std::mem::take(&mut graph.initializer)
            .into_iter()
            .map(|tensor| (tensor.name.clone(), tensor))
            .collect();
        Weights { tensors, readers, folded: Vec::new() }
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn is_folded(&self, name: &str) -> bool {
        self.has(name) && self.folded.iter().any(|folded| folded == name)
    }

    /// The tensor for one of its readers: itself for the last, a copy before.
    fn use_up(&mut self, name: &str) -> Option<TensorProto> {
        let left = self.readers.get_mut(name)?;
        *left = left.saturating_sub(1);
        if *left == 0 { self.tensors.remove(name) } else { self.tensors.get(name).cloned() }
    }

    fn add(&mut self, tensor: TensorProto) {
        self.folded.push(tensor.name.clone());
        self.tensors.insert(tensor.name.clone(), tensor);
    }

    /// What the graph's remaining nodes read, in a fixed order.
    fn into_used(mut self, graph: &GraphProto) -> Vec<TensorProto> {
        graph
            .node
            .iter()
            .flat_map(|node| &node.input)
            .chain(graph.output.iter().map(|output| &output.name))
            .filter_map(|name| self.tensors.remove(name))
            .collect()
    }
}

/// One `DequantizeLinear` with constant inputs: y = (x - zero point) * scale,
/// where scale and zero point have x's shape except along `axis`, on which
/// each of theirs covers `block_size` of x's (the last block may be short).
/// <https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html>
struct Quantised {
    axis: i64,
    block_size: i64,
    values: Option<TensorProto>,
    scales: Option<TensorProto>,
    zero_points: Option<TensorProto>,
}

impl Quantised {
    fn dequantise(self, name: &str) -> Result<TensorProto, OnnxError> {
        let (Some(values), Some(scales)) = (self.values, self.scales) else {
            return Err(bad(name, "its values or scales are missing"));
        };
        let dims = sizes(&values.dims).ok_or_else(|| bad(name, "it has a negative size"))?;
        let rank = dims.len() as i64;
        let axis = if self.axis < 0 { self.axis + rank } else { self.axis };
        let (outer, length, inner) = usize::try_from(axis)
            .ok()
            .and_then(|axis| {
                let length = *dims.get(axis)?;
                Some((product(dims.get(..axis)?)?, length, product(dims.get(axis + 1..)?)?))
            })
            .ok_or_else(|| bad(name, "it has no such axis"))?;
        let block = usize::try_from(self.block_size)
            .ok()
            .filter(|block| *block > 0)
            .ok_or_else(|| bad(name, "its block size is not positive"))?;
        let blocks = length.div_ceil(block);

        let quantised = int8s(&values)?;
        let scale = floats(&scales)?;
        let zero_point = match &self.zero_points {
            Some(tensor) => int8s(tensor)?,
            None => vec![0; scale.len()],
        };
        let expected = product(&[outer, length, inner]);
        let expected_scales = product(&[outer, blocks, inner]);
        if Some(quantised.len()) != expected {
            return Err(bad(name, "its values do not fill its shape"));
        }
        if Some(scale.len()) != expected_scales || zero_point.len() != scale.len() {
            return Err(bad(name, "it has not one scale and zero point a block"));
        }

        let mut raw = Vec::with_capacity(quantised.len() * 4);
        for (i, value) in quantised.iter().enumerate() {
            // i = (o * length + l) * inner + k, with l inside block l / block.
            let (o, l, k) = (i / (length * inner), i / inner % length, i % inner);
            let at = (o * blocks + l / block) * inner + k;
            let folded = match (scale.get(at), zero_point.get(at)) {
                (Some(scale), Some(zero)) => {
                    f32::from(i16::from(*value) - i16::from(*zero)) * scale
                }
                _ => return Err(bad(name, "it has not one scale and zero point a block")),
            };
            raw.extend(folded.to_le_bytes());
        }
        Ok(TensorProto {
            name: name.to_owned(),
            dims: values.dims,
            data_type: DataType::Float as i32,
            raw_data: raw,
            ..TensorProto::default()
        })
    }
}

/// ONNX Reshape: 0 keeps a size, one -1 takes what is left. None if it does
/// not fit.
fn reshaped(from: &[i64], to: &[i64]) -> Option<Vec<i64>> {
    let total = product(&sizes(from)?)? as i64;
    let mut dims = Vec::with_capacity(to.len());
    for (i, size) in to.iter().enumerate() {
        dims.push(match *size {
            0 => *from.get(i)?,
            size => size,
        });
    }
    if let Some(open) = dims.iter().position(|size| *size == -1) {
        let known: i64 = dims
            .iter()
            .filter(|size| **size != -1)
            .try_fold(1i64, |all, size| all.checked_mul(*size))?;
        *dims.get_mut(open)? = total.checked_div(known)?;
    }
    (product(&sizes(&dims)?)? as i64 == total).then_some(dims)
}

fn sizes(dims: &[i64]) -> Option<Vec<usize>> {
    dims.iter().map(|size| usize::try_from(*size).ok()).collect()
}

fn product(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1usize, |all, size| all.checked_mul(*size))
}

fn attribute(node: &NodeProto, name: &str) -> Option<i64> {
    node.attribute.iter().find(|a| a.name == name).map(|a| a.i)
}

fn int8s(tensor: &TensorProto) -> Result<Vec<i8>, OnnxError> {
    if tensor.data_type != DataType::Int8 as i32 {
        return Err(bad(&tensor.name, "it is not int8"));
    }
    if tensor.raw_data.is_empty() {
        return Ok(tensor.int32_data.iter().map(|v| *v as i8).collect());
    }
    Ok(tensor.raw_data.iter().map(|v| *v as i8).collect())
}

fn floats(tensor: &TensorProto) -> Result<Vec<f32>, OnnxError> {
    if tensor.data_type != DataType::Float as i32 {
        return Err(bad(&tensor.name, "it is not f32"));
    }
    if tensor.raw_data.is_empty() {
        return Ok(tensor.float_data.clone());
    }
    let (values, _) = tensor.raw_data.as_chunks();
    Ok(values.iter().map(|v| f32::from_le_bytes(*v)).collect())
}

fn int64s(tensor: &TensorProto) -> Result<Vec<i64>, OnnxError> {
    if tensor.data_type != DataType::Int64 as i32 {
        return Err(bad(&tensor.name, "it is not int64"));
    }
    if tensor.raw_data.is_empty() {
        return Ok(tensor.int64_data.clone());
    }
    let (values, _) = tensor.raw_data.as_chunks();
    Ok(values.iter().map(|v| i64::from_le_bytes(*v)).collect())
}

fn bad(tensor: &str, why: &'static str) -> OnnxError {
    OnnxError::Weight { tensor: tensor.to_owned(), why }
}

#[cfg(test)]
mod tests;
