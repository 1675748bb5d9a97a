use proptest::collection::vec;
use proptest::prelude::*;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::nn::DataFormat;

use super::rules::replace;
use super::*;

fn run(model: TypedModel, x: &Tensor) -> (Vec<String>, Vec<f32>) {
    let model = model.into_optimized().unwrap();
    let names = model.nodes.iter().map(|node| node.op.name().to_string()).collect();
    let outputs = model.into_runnable().unwrap().run(tvec!(x.clone().into_tvalue())).unwrap();
    (names, outputs[0].to_plain_array_view::<f32>().unwrap().iter().copied().collect())
}

/// Asserts that tract's layers and ours give the same values, and returns the names of ours.
fn same(model: TypedModel, x: &Tensor) -> Vec<String> {
    let model = model.into_decluttered().unwrap();
    let mut ours = model.clone();
    replace(&mut ours).unwrap();
    let ((_, wanted), (names, found)) = (run(model, x), run(ours, x));
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(&wanted) {
        assert!((found - wanted).abs() <= 1e-4, "{found}, {wanted}");
    }
    names
}

fn pool(channels: usize, side: usize, stride: usize, padding: PaddingSpec) -> PoolSpec {
    PoolSpec {
        data_format: DataFormat::NCHW,
        kernel_shape: tvec!(side, side),
        padding,
        dilations: None,
        strides: Some(tvec!(stride, stride)),
        input_channels: channels,
        output_channels: channels,
    }
}

fn has(names: &[String], name: &str) -> bool {
    names.iter().any(|found| found == name)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_depthwise_convolution_with_what_is_around_it_gives_the_same_values(
        (channels, height, width) in (1..4usize, 3..40usize, 3..70usize),
        stride in 1..3usize,
        padding in prop_oneof![
            Just(PaddingSpec::Valid),
            Just(PaddingSpec::SameUpper),
            (vec(0..3usize, 2), vec(0..3usize, 2))
                .prop_map(|(before, after)| PaddingSpec::Explicit(before.into(), after.into())),
        ],
        (before, scale, after) in any::<(bool, bool, Option<bool>)>(),
        numbers in vec(-2.0f32..2.0, 4 * 40 * 70),
    ) {
        let mut numbers = numbers.into_iter().cycle();
        let mut some = |shape: &[usize]| {
            let values: Vec<f32> = numbers.by_ref().take(shape.iter().product()).collect();
            Tensor::from_shape(shape, &values).unwrap()
        };
        let mut model = TypedModel::default();
        let shape = [1, channels, height, width];
        let mut y = model.add_source("x", f32::fact(shape)).unwrap();
        if before {
            let slopes = some(&[channels]).into_arc_tensor();
            y = model.wire_node("before", Activation { slopes }, &[y]).unwrap()[0];
        }
        let pool_spec = pool(channels, 3, stride, padding);
        let kernel = model.add_const("kernel", some(&[channels, 1, 3, 3])).unwrap();
        let bias = model.add_const("bias", some(&[channels])).unwrap();
        let conv = Conv { pool_spec, kernel_fmt: KernelFormat::OIHW, group: channels, q_params: None };
        y = model.wire_node("conv", conv, &[y, kernel, bias]).unwrap()[0];
        if scale {
            let each = [1, channels, 1, 1];
            let factor = model.add_const("factor", some(&each)).unwrap();
            y = model.wire_node("scaled", math::mul(), &[y, factor]).unwrap()[0];
            let more = model.add_const("more", some(&each)).unwrap();
            y = model.wire_node("added", math::add(), &[y, more]).unwrap()[0];
        }
        match after {
            Some(true) => {
                let slopes = some(&[channels]).into_arc_tensor();
                y = model.wire_node("after", Activation { slopes }, &[y]).unwrap()[0];
            }
            Some(false) => {
                let zero = model.add_const("zero", Tensor::zero::<f32>(&[1, 1, 1, 1]).unwrap()).unwrap();
                y = model.wire_node("after", math::max(), &[y, zero]).unwrap()[0];
            }
            None => {}
        }
        model.select_output_outlets(&[y]).unwrap();
        let names = same(model, &some(&shape));
        prop_assert!(has(&names, "Depthwise") || channels == 1, "{names:?}");
        prop_assert!(!has(&names, "DepthWiseConv"), "{names:?}");
    }

    #[test]
    fn maxima_give_the_same_values(
        (channels, height, width) in (1..4usize, 2..20usize, 2..40usize),
        numbers in vec(-2.0f32..2.0, 4 * 20 * 40),
    ) {
        let shape = [1, channels, height, width];
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact(shape)).unwrap();
        let pool_spec = pool(channels, 2, 2, PaddingSpec::Valid);
        let largest = MaxPool { pool_spec, with_index_outputs: None };
        let y = model.wire_node("y", largest, &[x]).unwrap();
        model.select_output_outlets(&y).unwrap();
        let x = Tensor::from_shape(&shape, &numbers[..shape.iter().product()]).unwrap();
        let names = same(model, &x);
        prop_assert_eq!(has(&names, "Maxima"), height % 2 == 0 && width % 2 == 0);
    }
}

/// Returns a depthwise convolution of three channels, times a constant of this shape.
fn scaled(shape: &[usize]) -> TypedModel {
    let mut model = TypedModel::default();
    let x = model.add_source("x", f32::fact([1, 3, 8, 8])).unwrap();
    let kernel = Tensor::from_shape(&[3, 1, 3, 3], &[0.5f32; 27]).unwrap();
    let kernel = model.add_const("kernel", kernel).unwrap();
    let bias = model.add_const("bias", Tensor::zero::<f32>(&[3]).unwrap()).unwrap();
    let pool_spec = pool(3, 3, 1, PaddingSpec::SameUpper);
    let conv = Conv { pool_spec, kernel_fmt: KernelFormat::OIHW, group: 3, q_params: None };
    let y = model.wire_node("conv", conv, &[x, kernel, bias]).unwrap()[0];
    let factor = Tensor::from_shape(shape, &[1.0f32, 2.0, 3.0]).unwrap();
    let factor = model.add_const("factor", factor).unwrap();
    let y = model.wire_node("scaled", math::mul(), &[y, factor]).unwrap();
    model.select_output_outlets(&y).unwrap();
    model
}

#[test]
fn what_is_not_of_the_channels_stays_tracts() {
    let x = Tensor::from_shape(&[1, 3, 8, 8], &[1.0f32; 192]).unwrap();
    for shape in [[1, 3, 1, 1], [3, 1, 1, 1]] {
        same(scaled(&shape), &x);
    }
    // Padding before the picture shifts the squares.
    let mut model = TypedModel::default();
    let x = model.add_source("x", f32::fact([1, 1, 4, 4])).unwrap();
    let padding = PaddingSpec::Explicit(tvec!(1, 1), tvec!(0, 0));
    let largest = MaxPool { pool_spec: pool(1, 2, 2, padding), with_index_outputs: None };
    let y = model.wire_node("y", largest, &[x]).unwrap();
    model.select_output_outlets(&y).unwrap();
    let values: Vec<f32> = (0..16).map(|v| v as f32).collect();
    let names = same(model, &Tensor::from_shape(&[1, 1, 4, 4], &values).unwrap());
    assert!(!has(&names, "Maxima"), "{names:?}");
}
