//! Finds the layers that ours replace, with their scaling and their activations.

use tract_onnx::tract_core::ops::{
    binary::{BinMiniOp, TypedBinOp},
    cnn::{Conv, KernelFormat, MaxPool, PoolSpec},
    math::{Add, Max, Mul},
    nn::DataFormat,
};

use super::*;

/// Puts our layers in the place of tract's, where they have the shape that ours compute.
pub(in crate::vision) fn replace(model: &mut TypedModel) -> TractResult<()> {
    Rewriter::default()
        .with_rule_for("depthwise", depthwise)
        .with_rule_for("maxima", maxima)
        .rewrite(&(), model)
}

/// Returns the channels, the height and the width of a picture's known shape, and of its output.
fn planes(pool: &PoolSpec, x: &TypedFact) -> Option<[[usize; 3]; 2]> {
    let planar = matches!(pool.data_format, DataFormat::NCHW | DataFormat::CHW);
    let plain = x.datum_type == f32::datum_type() && pool.dilations().iter().all(|d| *d == 1);
    let shape = x.shape.as_concrete().filter(|_| planar && plain)?;
    let output = pool.output_shape(shape).ok()?;
    let last = |shape: &[usize]| match shape {
        [c, h, w] | [1, c, h, w] => Some([*c, *h, *w]),
        _ => None,
    };
    Some([last(shape)?, last(&output.shape)?])
}

/// Replaces a depthwise convolution and what is around it: its scaling, and the activations.
fn depthwise(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    conv: &Conv,
) -> TractResult<Option<TypedModelPatch>> {
    let mut x = node.inputs[0];
    let pool = &conv.pool_spec;
    let shapes = planes(pool, model.outlet_fact(x)?);
    let strides = pool.strides();
    let ours = pool.kernel_shape[..] == [3, 3]
        && (strides[..] == [1, 1] || strides[..] == [2, 2])
        && conv.q_params.is_none()
        && conv.kernel_fmt == KernelFormat::OIHW
        && conv.group == pool.input_channels
        && conv.group == pool.output_channels;
    let (Some([[channels, height, width], [_, output_height, output_width]]), true) =
        (shapes, ours)
    else {
        return Ok(None);
    };
    let (Some(kernel), Some(mut bias)) = (
        model.outlet_fact(node.inputs[1])?.konst.clone(),
        of_channels(model, node.inputs[2], channels),
    ) else {
        return Ok(None);
    };
    let padding = pool.computed_padding(&[height, width]);
    let (top, left) = (padding[0].pad_before, padding[1].pad_before);
    let mut kernel = plain(&kernel)?.to_vec();
    if kernel.len() != 9 * channels
        || padding.iter().any(|side| side.pad_before > 2 || side.pad_after > 2)
    {
        return Ok(None);
    }

    let mut before = vec![1.0; channels];
    let above = model.node(x.node);
    if let (Some(slopes), [_]) = (slopes(model, above, channels), model.outlet_successors(x)) {
        (before, x) = (slopes, above.inputs[0]);
    }
    let (mut after, mut last) = (vec![1.0; channels], node);
    while let Some(next) = model.single_succ(last.id)? {
        if let Some(slopes) = slopes(model, next, channels) {
            (after, last) = (slopes, next);
            break;
        }
        let Some((operation, values)) = by_constant(model, next, channels) else { break };
        if operation.is::<Mul>() {
            for ((kernel, bias), factor) in
                kernel.as_chunks_mut::<9>().0.iter_mut().zip(&mut bias).zip(values)
            {
                kernel.iter_mut().chain([bias]).for_each(|weight| *weight *= factor);
            }
        } else if operation.is::<Add>() {
            bias.iter_mut().zip(values).for_each(|(bias, more)| *bias += more);
        } else {
            break;
        }
        last = next;
    }
    let plane = Plane { width, height, output_width, output_height, stride: strides[0], top, left };
    let shape = model.outlet_fact(last.id.into())?.shape.as_concrete().map(TVec::<usize>::from);
    // What follows must not have another shape, as by a constant with more dimensions.
    let of_conv = node.outputs[0].fact.shape.as_concrete();
    let Some(shape) = shape.filter(|shape| of_conv == Some(&**shape)) else { return Ok(None) };
    let [kernel, bias, before, after] = [kernel, bias, before, after].map(numbers);
    let ours = Depthwise { plane, kernel, bias, before, after, shape };
    replaced(model, x, name, ours, last).map(Some)
}

/// Returns the slopes of an activation; `None` for another node.
fn slopes(model: &TypedModel, node: &TypedNode, channels: usize) -> Option<Vec<f32>> {
    if let Some(activation) = node.op_as::<Activation>() {
        return plain(&activation.slopes).ok().map(<[f32]>::to_vec);
    }
    let (operation, values) = by_constant(model, node, channels)?;
    (operation.is::<Max>() && values.iter().all(|v| *v == 0.0))
        .then_some(values.as_slice().iter().map(|_| 0.0).collect())
}

/// Returns an operation with a constant for each channel.
fn by_constant<'n>(
    model: &TypedModel,
    node: &'n TypedNode,
    channels: usize,
) -> Option<(&'n dyn BinMiniOp, Vec<f32>)> {
    let TypedBinOp(operation, None) = node.op_as::<TypedBinOp>()? else { return None };
    let values = node.inputs.iter().find_map(|input| of_channels(model, *input, channels))?;
    Some((&**operation, values))
}

fn maxima(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    pool: &MaxPool,
) -> TractResult<Option<TypedModelPatch>> {
    let spec = &pool.pool_spec;
    let ours = spec.kernel_shape[..] == [2, 2]
        && spec.strides()[..] == [2, 2]
        && pool.with_index_outputs.is_none();
    // Of a padded picture the sizes may agree too.
    let padded = |h, w| spec.computed_padding(&[h, w]).iter().any(|side| side.pad_before > 0);
    let shapes = planes(spec, model.outlet_fact(node.inputs[0])?).filter(|_| ours);
    let Some([[_, height, width], [_, output_height, output_width]]) = shapes else {
        return Ok(None);
    };
    let shape = node.outputs[0].fact.shape.as_concrete().map(Into::into);
    let halves = [height, width] == [2 * output_height, 2 * output_width];
    let Some(shape) = shape.filter(|_| halves && !padded(height, width)) else {
        return Ok(None);
    };
    replaced(model, node.inputs[0], name, Maxima { width, shape }, node).map(Some)
}

/// Returns the patch that puts a layer in the place of the nodes from `x` to `last`.
fn replaced(
    model: &TypedModel,
    x: OutletId,
    name: &str,
    layer: impl Into<Box<dyn TypedOp>>,
    last: &TypedNode,
) -> TractResult<TypedModelPatch> {
    let mut patch = TypedModelPatch::default();
    let x = patch.tap_model(model, x)?;
    let outputs = patch.wire_node(name, layer, &[x])?;
    patch.shunt_outside(model, last.id.into(), outputs[0])?;
    Ok(patch)
}
