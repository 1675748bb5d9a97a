//! ONNX bytes into a network that tract can run.
//!
//! The models have block-quantised weights: int8 values, with an f32 scale and
//! an int8 zero point for each block. A `DequantizeLinear` node (ONNX opset 21,
//! attributes `axis` and `block_size`), mostly followed by a `Reshape`, joins
//! them at run time. tract 0.23 refuses these nodes. All their inputs are
//! constants, so the nodes are carried out once during loading. tract gets a
//! network with plain f32 weights.
//!
//! Some layers are computed by operations of our own: see [`layers`]. One of
//! them reads the int8 weights themselves.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use prost::Message;
use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};
use tract_onnx::prelude::tract_ndarray::{ArrayD, Axis};
use tract_onnx::prelude::*;
use tract_onnx::tensor::load_tensor;
use tract_onnx::tract_hir::ops::expandable::expand;

use super::layers::{self, PRelu, dense::Dense};
use tract_onnx::tract_core::ops::change_axes::compute_shape_with_tf_rules;

/// The reason why a model's bytes do not make a network.
#[derive(Debug, thiserror::Error)]
pub(super) enum OnnxError {
    #[error("it is not an ONNX file: {0}")]
    Protobuf(#[from] prost::DecodeError),
    #[error("it has no graph")]
    NoGraph,
    #[error("weight {tensor}: {why}")]
    Weight { tensor: String, why: String },
    #[error("it cannot be used as the configuration says: {0}")]
    Use(String),
    #[error("{0:#}")]
    Tract(tract_onnx::prelude::TractError),
}

/// Reads a network whose weights may be block-quantised. Shapes stay open
/// where the model leaves them open; `with_input_fact` sets them.
pub(super) fn load(bytes: Vec<u8>) -> Result<InferenceModel, OnnxError> {
    let mut proto = ModelProto::decode(&*bytes)?;
    // From here on only `proto` holds the weights.
    drop(bytes);
    let graph = proto.graph.as_mut().ok_or(OnnxError::NoGraph)?;
    mark_dense(graph);
    fold(graph)?;
    mark_prelus(graph);
    network(&proto)
}

fn network(proto: &ModelProto) -> Result<InferenceModel, OnnxError> {
    let mut reader = tract_onnx::onnx();
    reader.op_register.insert(OUR_PRELU, |_, _| Ok((expand(PRelu), Vec::new())));
    reader.op_register.insert(OUR_DENSE, |_, _| Ok((expand(Dense), Vec::new())));
    reader
        // The files give the shapes for one input size, and we use others.
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true)
        .model_for_proto_model(proto)
        .map_err(OnnxError::Tract)
}

/// Prepares a network for pictures of one size, which takes some tens of milliseconds.
pub(super) fn ready(
    network: InferenceModel,
    width: usize,
    height: usize,
) -> TractResult<Arc<TypedRunnableModel>> {
    let shape = f32::fact([1, 3, height, width]);
    let mut model = network.with_input_fact(0, shape.into())?.into_typed()?.into_decluttered()?;
    layers::rules::replace(&mut model)?;
    model.into_optimized()?.into_runnable()
}

/// Replaces each block-quantised weight by its f32 values, in place, and
/// removes constants from the graph's inputs.
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
    // Old exporters list every weight as an input too, some under names that no
    // node reads. The caller would have to supply them.
    let constants: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let read: HashSet<&str> =
        graph.node.iter().flat_map(|node| node.input.iter().map(String::as_str)).collect();
    graph.input.retain(|input| {
        read.contains(input.name.as_str()) && !constants.contains(input.name.as_str())
    });
    Ok(())
}

/// Returns the node's output, if its inputs are constants and tract does not
/// support the node.
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
            let (Some(values), Some(scales)) = (weights.use_up(input), weights.use_up(second))
            else {
                return Ok(None);
            };
            let zero_points = if third.is_empty() { None } else { weights.use_up(third) };
            let axis = attribute(node, "axis").unwrap_or(1);
            dequantised(output, (axis, block_size), &values, &scales, zero_points.as_ref())
                .map(Some)
        }
        "Reshape" if weights.is_folded(input) && weights.has(second) => {
            let shape = weights.use_up(second);
            let (Some(shape), Some(mut tensor)) = (shape, weights.use_up(input)) else {
                return Ok(None);
            };
            let from: Vec<TDim> = tensor.dims.iter().map(|size| TDim::from(*size)).collect();
            let to: Vec<TDim> = array::<i64>(&shape, input)?.iter().map(TDim::from).collect();
            let dims = compute_shape_with_tf_rules(&from, &to)
                .and_then(|dims| dims.iter().map(|size| Ok(size.to_i64()?)).collect());
            tensor.dims = dims.map_err(|error| bad(input, format!("its Reshape: {error:#}")))?;
            tensor.name = output.clone();
            Ok(Some(tensor))
        }
        _ => Ok(None),
    }
}

/// The graph's constants, with the number of nodes that still read each. The
/// last reader takes the tensor, so that no unused copies stay in memory.
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

    /// Returns the tensor to one of its readers: itself to the last reader, a
    /// copy to the others.
    fn use_up(&mut self, name: &str) -> Option<TensorProto> {
        let left = self.readers.get_mut(name)?;
        *left = left.saturating_sub(1);
        if *left == 0 { self.tensors.remove(name) } else { self.tensors.get(name).cloned() }
    }

    fn add(&mut self, tensor: TensorProto) {
        self.folded.push(tensor.name.clone());
        self.tensors.insert(tensor.name.clone(), tensor);
    }

    /// Returns the tensors that the graph's remaining nodes read, in a fixed order.
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

/// Carries out one `DequantizeLinear` with constant inputs: y = (x - zero point) * scale.
/// Scale and zero point have x's shape except along `axis`. There each of their
/// values covers `block_size` values of x (the last block may be short).
/// <https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html>
fn dequantised(
    name: &str,
    (axis, block_size): (i64, i64),
    values: &TensorProto,
    scales: &TensorProto,
    zero_points: Option<&TensorProto>,
) -> Result<TensorProto, OnnxError> {
    let dims = values.dims.clone();
    let (values, scales) = (array::<i8>(values, name)?, array::<f32>(scales, name)?);
    let zero_points = match zero_points {
        Some(tensor) => array(tensor, name)?,
        None => ArrayD::zeros(scales.raw_dim()),
    };
    let axis = if axis < 0 { axis + values.ndim() as i64 } else { axis };
    let axis = usize::try_from(axis).ok().filter(|axis| *axis < values.ndim());
    let axis = Axis(axis.ok_or_else(|| bad(name, "it has no such axis"))?);
    let block = usize::try_from(block_size).ok().filter(|block| *block > 0);
    let block = block.ok_or_else(|| bad(name, "its block size is not positive"))?;
    let mut blocks = values.raw_dim();
    blocks[axis.index()] = blocks[axis.index()].div_ceil(block);
    if scales.raw_dim() != blocks || zero_points.raw_dim() != blocks {
        return Err(bad(name, "it lacks a scale or a zero point for each block"));
    }

    let mut floats = values.mapv(f32::from);
    let of_blocks = scales.axis_iter(axis).zip(zero_points.axis_iter(axis));
    for (mut values, (scale, zero)) in floats.axis_chunks_iter_mut(axis, block).zip(of_blocks) {
        values -= &zero.mapv(|zero: i8| f32::from(zero)).insert_axis(axis);
        values *= &scale.insert_axis(axis);
    }
    Ok(float_tensor(name, dims, &floats))
}

/// The type of the nodes that [`PRelu`] computes.
const OUR_PRELU: &str = "gatehouse.PRelu";

/// Lets our layer compute each `PRelu` with constant slopes, one for each channel or one for all.
fn mark_prelus(graph: &mut GraphProto) {
    let is_ours = |tensor: &&TensorProto| {
        let of_channels = matches!(&*tensor.dims, [1] | [_, 1, 1] | [1, _, 1, 1]);
        of_channels && tensor.data_type == DataType::Float as i32
    };
    let constants = graph.initializer.iter().filter(is_ours).map(|tensor| &*tensor.name);
    let constants: HashSet<&str> = constants.collect();
    let prelus = graph.node.iter_mut().filter(|node| node.op_type == "PRelu");
    for node in prelus.filter(|node| node.input.get(1).is_some_and(|a| constants.contains(&**a))) {
        node.op_type = OUR_PRELU.to_owned();
    }
}

/// The type of the nodes that [`Dense`] computes.
const OUR_DENSE: &str = "gatehouse.Dense";

/// Lets our layer compute each `Gemm` whose weights are block-quantised along its inputs, and which
/// alone reads them. What the `Gemm` adds to its product becomes a node of its own.
fn mark_dense(graph: &mut GraphProto) {
    let nodes = std::mem::take(&mut graph.node);
    let mut used_up = HashSet::new();
    for gemm in &nodes {
        let Some(dequantised) = block_quantised(gemm, &nodes, graph) else {
            graph.node.push(gemm.clone());
            continue;
        };
        used_up.extend(dequantised.output.iter().cloned());
        let mut dense = gemm.clone();
        dense.op_type = OUR_DENSE.to_owned();
        dense.attribute.clear();
        dense.input = gemm.input.iter().take(1).chain(&dequantised.input).cloned().collect();
        let Some(bias) = gemm.input.get(2).filter(|bias| !bias.is_empty()) else {
            graph.node.push(dense);
            continue;
        };
        let mut sum = gemm.clone();
        let product = format!("{}.product", gemm.output.join("."));
        sum.op_type = "Add".to_owned();
        sum.attribute.clear();
        sum.input = vec![product.clone(), bias.clone()];
        (dense.name, dense.output) = (product.clone(), vec![product]);
        graph.node.extend([dense, sum]);
    }
    graph.node.retain(|node| !node.output.iter().any(|output| used_up.contains(output)));
}

/// Returns the `DequantizeLinear` of the weights, if [`Dense`] can compute this `Gemm`.
/// <https://onnx.ai/onnx/operators/onnx__Gemm.html>
fn block_quantised<'n>(
    gemm: &NodeProto,
    nodes: &'n [NodeProto],
    graph: &GraphProto,
) -> Option<&'n NodeProto> {
    let weights = gemm.input.get(1).filter(|_| gemm.op_type == "Gemm")?;
    let plain = gemm.attribute.iter().all(|attribute| match &*attribute.name {
        "alpha" | "beta" => attribute.f == 1.0,
        "transA" => attribute.i == 0,
        name => name == "transB",
    });
    let outputs = graph.output.iter().map(|output| &output.name);
    let readers = nodes.iter().flat_map(|node| &node.input).chain(outputs);
    let alone = readers.filter(|reader| *reader == weights).count() == 1;
    if !plain || !alone || attribute(gemm, "transB") != Some(1) {
        return None;
    }
    let dequantised = nodes
        .iter()
        .find(|node| node.op_type == "DequantizeLinear" && node.output.first() == Some(weights))?;
    let constant = |at: usize, kind: DataType| {
        let name = dequantised.input.get(at)?;
        let tensor = graph.initializer.iter().find(|tensor| tensor.name == *name)?;
        (tensor.data_type == kind as i32).then_some(&*tensor.dims)
    };
    let (values, scales) = (constant(0, DataType::Int8)?, constant(1, DataType::Float)?);
    let ([outputs, inputs], [_, blocks]) = (values, scales) else { return None };
    let size = attribute(dequantised, "block_size")?.checked_mul(*blocks);
    let fits = size == Some(*inputs)
        && [*inputs, *outputs, *blocks].iter().all(|size| *size > 0)
        && matches!(attribute(dequantised, "axis"), None | Some(1 | -1))
        && scales == [*outputs, *blocks]
        && constant(2, DataType::Int8) == Some(scales);
    fits.then_some(dequantised)
}

fn float_tensor(name: &str, dims: Vec<i64>, values: &ArrayD<f32>) -> TensorProto {
    let mut raw_data = Vec::with_capacity(4 * values.len());
    values.iter().for_each(|value| raw_data.extend(value.to_le_bytes()));
    TensorProto {
        name: name.to_owned(),
        dims,
        data_type: DataType::Float as i32,
        raw_data,
        ..TensorProto::default()
    }
}

fn attribute(node: &NodeProto, name: &str) -> Option<i64> {
    node.attribute.iter().find(|a| a.name == name).map(|a| a.i)
}

/// Returns a tensor's values. `of` names the weight in errors.
fn array<T: Datum>(tensor: &TensorProto, of: &str) -> Result<ArrayD<T>, OnnxError> {
    load_tensor(&MmapDataResolver, tensor, None)
        .and_then(|read| Ok(read.to_plain_array_view::<T>()?.to_owned()))
        .map_err(|error| bad(of, format!("{error:#}")))
}

fn bad(tensor: &str, why: impl Into<String>) -> OnnxError {
    OnnxError::Weight { tensor: tensor.to_owned(), why: why.into() }
}

#[cfg(test)]
mod tests;
