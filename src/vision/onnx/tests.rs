use super::*;
use crate::config::ModelFiles;
use crate::vision::align::ALIGNED_SIDE;
use crate::vision::template::Template;
use std::path::Path;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, TypeProto, ValueInfoProto, type_proto};

fn tensor(name: &str, dims: &[i64], kind: DataType, raw: Vec<u8>) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: kind as i32,
        raw_data: raw,
        ..TensorProto::default()
    }
}

fn node(op: &str, input: &[&str], output: &str, attributes: &[(&str, i64)]) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        input: input.iter().map(|s| s.to_string()).collect(),
        output: vec![output.to_owned()],
        attribute: attributes
            .iter()
            .map(|(name, i)| AttributeProto {
                name: name.to_string(),
                i: *i,
                r#type: AttributeType::Int as i32,
                ..AttributeProto::default()
            })
            .collect(),
        ..NodeProto::default()
    }
}

fn input(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: name.to_owned(), ..ValueInfoProto::default() }
}

fn of_floats(name: &str) -> ValueInfoProto {
    let tensor_type = type_proto::Tensor { elem_type: DataType::Float as i32, shape: None };
    let kind = type_proto::Value::TensorType(tensor_type);
    ValueInfoProto {
        r#type: Some(TypeProto { value: Some(kind), ..TypeProto::default() }),
        ..input(name)
    }
}

fn floats(tensor: &TensorProto) -> Vec<f32> {
    array(tensor, "w").unwrap().into_iter().collect()
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Returns a graph with 2 x 3 values in blocks of 2 along axis 1. Each row has
/// two blocks, and the second is short.
fn graph(axis: i64) -> GraphProto {
    let values: [i8; 6] = [10, -20, 30, 1, 2, -128];
    let zero_points: [i8; 4] = [1, -2, 0, 127];
    let shape: Vec<u8> = [3i64, -1].iter().flat_map(|v| v.to_le_bytes()).collect();
    GraphProto {
        node: vec![
            node("DequantizeLinear", &["q", "s", "z"], "w", &[("axis", axis), ("block_size", 2)]),
            node("Reshape", &["w", "shape"], "weight", &[]),
            node("MatMul", &["x", "weight"], "y", &[]),
        ],
        initializer: vec![
            tensor("q", &[2, 3], DataType::Int8, values.iter().map(|v| *v as u8).collect()),
            tensor("s", &[2, 2], DataType::Float, f32s(&[0.5, 2.0, 10.0, 0.1])),
            tensor("z", &[2, 2], DataType::Int8, zero_points.iter().map(|v| *v as u8).collect()),
            tensor("shape", &[2], DataType::Int64, shape),
        ],
        input: vec![input("x"), input("q"), input("weight")],
        output: vec![input("y")],
        ..GraphProto::default()
    }
}

#[test]
fn block_quantised_weights_become_f32() {
    for axis in [1, -1] {
        let mut graph = graph(axis);
        fold(&mut graph).unwrap();
        assert_eq!(graph.node.len(), 1);
        assert_eq!(graph.input, vec![input("x")]);
        assert_eq!(graph.initializer.len(), 1);
        let weight = &graph.initializer[0];
        assert_eq!((weight.name.as_str(), &*weight.dims), ("weight", &[3, 2][..]));
        // (10-1)*0.5, (-20-1)*0.5, (30+2)*2, (1-0)*10, (2-0)*10, (-128-127)*0.1
        assert_eq!(floats(weight), [4.5, -10.5, 64.0, 10.0, 20.0, -25.5]);
    }
}

#[test]
fn blocks_along_the_first_axis_run_across_rows() {
    let mut graph = graph(0);
    graph.initializer[1] = tensor("s", &[1, 3], DataType::Float, f32s(&[1.0, 2.0, 3.0]));
    graph.initializer[2] = tensor("z", &[1, 3], DataType::Int8, vec![0, 1, 0]);
    fold(&mut graph).unwrap();
    let weight = floats(&graph.initializer[0]);
    assert_eq!(weight, [10.0, -42.0, 90.0, 1.0, 2.0, -384.0]);
}

#[test]
fn a_weight_with_two_readers_serves_both() {
    let mut graph = graph(1);
    graph.node.push(node("MatMul", &["x", "w"], "v", &[]));
    fold(&mut graph).unwrap();
    let mut names: Vec<_> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["w", "weight"]);
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let mut missing_scale = graph(1);
    missing_scale.initializer[1] = tensor("s", &[3], DataType::Float, f32s(&[1.0; 3]));
    let mut no_axis = graph(5);
    no_axis.initializer.truncate(4);
    let mut short = graph(1);
    short.initializer[0].raw_data.pop();
    let mut reshape = graph(1);
    reshape.initializer[3].raw_data = 5i64.to_le_bytes().to_vec();
    for mut graph in [missing_scale, no_axis, short, reshape] {
        let error = fold(&mut graph).unwrap_err().to_string();
        assert!(error.starts_with("weight w:"), "{error}");
    }
}

/// Runs y = PRelu(x) with these slopes, as ours or as tract's.
fn prelu(slopes: &[f32], x: &[f32], ours: bool) -> (String, Vec<f32>) {
    let mut graph = GraphProto {
        node: vec![node("PRelu", &["x", "a"], "y", &[])],
        initializer: vec![tensor("a", &[3, 1, 1], DataType::Float, f32s(slopes))],
        input: vec![of_floats("x")],
        output: vec![input("y")],
        ..GraphProto::default()
    };
    if ours {
        mark_prelus(&mut graph);
    }
    let operation = graph.node[0].op_type.clone();
    let network = network(&ModelProto { graph: Some(graph), ..ModelProto::default() }).unwrap();
    let picture = tract_ndarray::Array::from_shape_vec([1, 3, 1, x.len() / 3], x.to_vec()).unwrap();
    let plan = ready(network, x.len() / 3, 1).unwrap();
    let y = plan.run(tvec!(Tensor::from(picture).into_tvalue())).unwrap();
    (operation, y[0].to_plain_array_view::<f32>().unwrap().iter().copied().collect())
}

#[test]
fn our_prelu_gives_the_same_values() {
    let x = [-8.0, -0.25, 0.0, 0.25, 8.0, 1.0, -3.0, 3.0, -1.0, 0.0, 5.0, -5.0];
    for slopes in [[-0.5, 0.25, 1.0], [0.25, 2.5, -1.5]] {
        let [(tracts, wanted), (ours, found)] = [false, true].map(|ours| prelu(&slopes, &x, ours));
        assert_eq!([&*tracts, &*ours], ["PRelu", OUR_PRELU]);
        assert_eq!(found, wanted);
    }
}

#[test]
fn a_prelu_with_other_slopes_stays_tracts() {
    let slopes = tensor("b", &[3, 2, 2], DataType::Float, f32s(&[0.5; 12]));
    let nodes = vec![node("PRelu", &["x", "a"], "y", &[]), node("PRelu", &["y", "b"], "z", &[])];
    let mut graph =
        GraphProto { node: nodes.clone(), initializer: vec![slopes], ..GraphProto::default() };
    mark_prelus(&mut graph);
    assert_eq!(graph.node, nodes);
}

/// Returns the graph of y = x W^T + c with 3 rows of 130 weights in two blocks.
fn gemm() -> GraphProto {
    let values = (0..3 * 130).map(|at| (at * 37 % 256) as u8).collect();
    GraphProto {
        node: vec![
            node("DequantizeLinear", &["q", "s", "z"], "w", &[("axis", 1), ("block_size", 65)]),
            node("Gemm", &["x", "w", "c"], "y", &[("transB", 1)]),
        ],
        initializer: vec![
            tensor("q", &[3, 130], DataType::Int8, values),
            tensor("s", &[3, 2], DataType::Float, f32s(&[0.5, 0.25, 1.0, 0.125, 2.0, 0.0625])),
            tensor("z", &[3, 2], DataType::Int8, vec![0, 7, 250, 128, 127, 1]),
            tensor("c", &[1, 3], DataType::Float, f32s(&[100.0, -3.0, 0.5])),
        ],
        input: vec![of_floats("x")],
        output: vec![input("y")],
        ..GraphProto::default()
    }
}

#[test]
fn a_dense_layer_gives_the_same_values_from_weights_that_stay_int8() {
    let mut without_sum = gemm();
    without_sum.node[1].input.pop();
    for mut ours in [gemm(), without_sum] {
        let mut tracts = ours.clone();
        fold(&mut tracts).unwrap();
        mark_dense(&mut ours);
        fold(&mut ours).unwrap();
        assert!(ours.node.iter().any(|node| node.op_type == OUR_DENSE), "{:?}", ours.node);
        assert!(ours.initializer.iter().all(|tensor| tensor.name != "w"));
        let x: Vec<f32> = (0..2 * 130u16).map(|at| f32::from(at * 53 % 128) / 32.0 - 2.0).collect();
        let x = Tensor::from_shape(&[2, 130], &x).unwrap();
        let [wanted, found] = [tracts, ours].map(|graph| {
            let proto = ModelProto { graph: Some(graph), ..ModelProto::default() };
            let model = network(&proto).unwrap().with_input_fact(0, f32::fact([2, 130]).into());
            let plan = model.unwrap().into_optimized().unwrap().into_runnable().unwrap();
            let outputs = plan.run(tvec!(x.clone().into_tvalue())).unwrap();
            outputs[0].to_plain_array_view::<f32>().unwrap().iter().copied().collect::<Vec<f32>>()
        });
        assert_eq!(found.len(), 6);
        for (found, wanted) in found.iter().zip(wanted) {
            // The parts of a sum are up to 500.
            assert!((found - wanted).abs() <= 0.01, "{found}, {wanted}");
        }
    }
}

#[test]
fn a_dense_layer_of_another_kind_stays_tracts() {
    let changed = |change: &dyn Fn(&mut GraphProto)| {
        let mut graph = gemm();
        change(&mut graph);
        graph
    };
    let attributes = |name: &str, value: f32| AttributeProto {
        name: name.to_owned(),
        f: value,
        i: 1,
        ..AttributeProto::default()
    };
    let others = [
        changed(&|graph| graph.node[1].attribute.clear()),
        changed(&|graph| graph.node[1].attribute.push(attributes("alpha", 0.5))),
        changed(&|graph| graph.node[1].attribute.push(attributes("beta", 2.0))),
        changed(&|graph| graph.node[1].attribute.push(attributes("transA", 0.0))),
        changed(&|graph| graph.node[0].attribute[0].i = 0),
        changed(&|graph| graph.node[0].attribute[1].i = 66),
        changed(&|graph| drop(graph.node[0].input.pop())),
        changed(&|graph| graph.initializer[0].data_type = DataType::Uint8 as i32),
        changed(&|graph| graph.initializer[1].dims = vec![2, 3]),
        changed(&|graph| drop(graph.initializer.remove(0))),
        changed(&|graph| graph.output.push(input("w"))),
        changed(&|graph| graph.node.push(node("MatMul", &["y", "w"], "v", &[]))),
    ];
    for mut graph in others {
        let before = graph.clone();
        mark_dense(&mut graph);
        assert_eq!(graph, before);
    }
}

/// Returns the outputs of a network's last layers, a `Gemm` and its scaling, calculated in f64.
fn last_layers(graph: &GraphProto, x: &[f32]) -> Vec<f32> {
    let [.., gemm, scaling] = &*graph.node else { panic!("{:?}", graph.node) };
    assert_eq!([&*gemm.op_type, &*scaling.op_type], ["Gemm", "BatchNormalization"]);
    let constant =
        |name: &String| floats(graph.initializer.iter().find(|t| t.name == *name).unwrap());
    let (weights, bias) = (constant(&gemm.input[1]), constant(&gemm.input[2]));
    let [factor, shift, mean, variance] = [1, 2, 3, 4].map(|at| constant(&scaling.input[at]));
    let epsilon = scaling.attribute.iter().find(|a| a.name == "epsilon").unwrap().f;
    let rows = weights.chunks_exact(x.len()).enumerate();
    rows.map(|(at, weights)| {
        let products = weights.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
        let sum = products.sum::<f64>() + f64::from(bias[at]);
        let deviation = f64::from(variance[at] + epsilon).sqrt();
        let scaled = (sum - f64::from(mean[at])) / deviation * f64::from(factor[at]);
        (scaled + f64::from(shift[at])) as f32
    })
    .collect()
}

/// The reference is the same network with all layers as tract runs them, but the last ones in f64:
/// tract's sums of 50,176 products in f32 and ours differ by 1.3e-6.
#[test]
fn templates_equal_those_of_the_network_without_our_layers() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let bytes =
        std::fs::read(ModelFiles::in_dir(&models).embedder).expect("run models/fetch first");
    let mut proto = ModelProto::decode(&*bytes).unwrap();
    let graph = proto.graph.as_mut().unwrap();
    fold(graph).unwrap();
    assert_eq!(graph.node.iter().filter(|node| node.op_type == "PRelu").count(), 27);
    let whole = graph.clone();
    let gemm = graph.node.iter().find(|node| node.op_type == "Gemm").unwrap();
    graph.output = vec![input(&gemm.input[0])];
    let shape = f32::fact([1, 3, ALIGNED_SIDE, ALIGNED_SIDE]);
    let tracts = network(&proto).unwrap().with_input_fact(0, shape.into()).unwrap();
    let tracts = tracts.into_optimized().unwrap().into_runnable().unwrap();
    let ours = ready(load(bytes).unwrap(), ALIGNED_SIDE, ALIGNED_SIDE).unwrap();
    let plans = [tracts, ours];
    drop(proto);
    let photos = ["person_a_1.jpg", "person_a_2.jpg", "person_b_1.jpg", "impostor_1.jpg"];
    for photo in photos {
        let photo = std::fs::read(models.join("photos").join(photo)).unwrap();
        let photo = image::load_from_memory(&photo).unwrap();
        let side = ALIGNED_SIDE as u32;
        let face = photo.resize_exact(side, side, image::imageops::FilterType::Triangle).to_rgb8();
        let values = tract_ndarray::Array::from_shape_fn(
            (1, 3, ALIGNED_SIDE, ALIGNED_SIDE),
            |(_, channel, y, x)| f32::from(face.get_pixel(x as u32, y as u32)[channel]),
        );
        let [before, now] = plans.each_ref().map(|plan| {
            let outputs = plan.run(tvec!(values.clone().into_tensor().into_tvalue())).unwrap();
            let output = outputs[0].to_plain_array_view::<f32>().unwrap();
            output.as_slice().unwrap().to_vec()
        });
        let [before, now] = [last_layers(&whole, &before), now]
            .map(|numbers| Template::normalised(&numbers).unwrap());
        for (before, now) in before.as_slice().iter().zip(now.as_slice()) {
            assert!((before - now).abs() <= 1e-6, "{before}, {now}");
        }
    }
}

#[test]
fn bytes_that_are_not_a_model_are_an_error() {
    assert!(load(b"\xff\xff\xff".to_vec()).is_err());
    assert!(matches!(load(Vec::new()), Err(OnnxError::NoGraph)));
}
