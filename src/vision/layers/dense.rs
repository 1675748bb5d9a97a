//! A dense layer with weights of int8 in blocks, a quarter of their memory as f32.

use multiversion::multiversion;
use tract_onnx::tract_hir::internal::*;

use super::{output, plain};

/// The product of f32 [n, inputs] and the transpose of weights [outputs, inputs]. Its further inputs
/// are constants: the weights as int8 [outputs, inputs], and for each block of them in its row a
/// scale as f32 and a zero point as int8, both [outputs, blocks]. A weight is (value - zero point) *
/// scale, as of <https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html>.
#[derive(Clone, Debug)]
pub(in crate::vision) struct Dense;

impl Expansion for Dense {
    fn name(&self) -> StaticName {
        "Dense".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 4)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        solver.equals(&inputs[0].rank, 2)?;
        solver.equals(&outputs[0].rank, 2)?;
        solver.equals(&inputs[0].shape[0], &outputs[0].shape[0])?;
        solver.equals(&inputs[0].shape[1], &inputs[1].shape[1])?;
        solver.equals(&outputs[0].shape[1], &inputs[1].shape[0])
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let constant = |at: usize| {
            let constant = model.outlet_fact(inputs[at])?.konst.clone();
            constant.with_context(|| format!("the weights of Dense {prefix} are not constant"))
        };
        let [values, scales, zeros] = [constant(1)?, constant(2)?, constant(3)?];
        model.wire_node(prefix, Blocks { values, scales, zeros }, &inputs[..1])
    }
}

/// [`Dense`], with its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Blocks {
    values: Arc<Tensor>,
    scales: Arc<Tensor>,
    zeros: Arc<Tensor>,
}

impl Op for Blocks {
    fn name(&self) -> StaticName {
        "Dense".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Blocks {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = args_1!(inputs);
        let (inputs, blocks) = (self.values.shape()[1], self.scales.shape()[1]);
        output(&[x.shape()[0], self.values.shape()[0]], |out| {
            let rows = plain::<i8>(&self.values)?.chunks_exact(inputs);
            let scales = plain::<f32>(&self.scales)?.chunks_exact(blocks);
            let zeros = plain::<i8>(&self.zeros)?.chunks_exact(blocks);
            let weights = rows.zip(scales.zip(zeros));
            for (x, out) in plain(&x)?.chunks_exact(inputs).zip(out.chunks_exact_mut(weights.len()))
            {
                for (out, (values, (scales, zeros))) in out.iter_mut().zip(weights.clone()) {
                    *out = product(x, values, scales, zeros);
                }
            }
            Ok(())
        })
    }
}

impl TypedOp for Blocks {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact([inputs[0].shape[0].clone(), self.values.shape()[0].to_dim()])))
    }

    as_op!();
}

/// Sums that are formed side by side, so that the compiler can make vector instructions of them.
const LANES: usize = 16;

/// Returns the product of `x` and one row of weights.
#[multiversion(targets("x86_64+avx2", "x86_64+avx"))]
fn product(x: &[f32], values: &[i8], scales: &[f32], zeros: &[i8]) -> f32 {
    let block = x.len() / scales.len();
    let blocks = x.chunks_exact(block).zip(values.chunks_exact(block));
    let mut sums = [0.0; LANES];
    for ((x, values), (scale, zero)) in blocks.zip(scales.iter().zip(zeros)) {
        let zero = f32::from(*zero);
        let (x, x_rest) = x.as_chunks::<LANES>();
        let (values, values_rest) = values.as_chunks::<LANES>();
        let mut of_block = [0.0; LANES];
        for (x, values) in x.iter().zip(values) {
            for ((sum, x), value) in of_block.iter_mut().zip(x).zip(values) {
                *sum += x * (f32::from(*value) - zero);
            }
        }
        for ((sum, x), value) in of_block.iter_mut().zip(x_rest).zip(values_rest) {
            *sum += x * (f32::from(*value) - zero);
        }
        for (sum, of_block) in sums.iter_mut().zip(of_block) {
            *sum += of_block * scale;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_row_of_weights_gives_the_product_that_f64_gives(
            (x, values) in (vec(-4.0f32..4.0, 50_176), vec(any::<i8>(), 50_176)),
            of_blocks in vec((0.001f32..0.1, any::<i8>()), 784),
            (block, blocks) in (1..65usize, 1..785usize),
        ) {
            let (scales, zeros): (Vec<f32>, Vec<i8>) = of_blocks.into_iter().take(blocks).unzip();
            let (x, values) = (&x[..block * blocks], &values[..block * blocks]);
            let parts = x.iter().zip(values).enumerate().map(|(at, (x, value))| {
                let weight = f64::from(*value) - f64::from(zeros[at / block]);
                f64::from(*x) * weight * f64::from(scales[at / block])
            });
            let (wanted, size) = parts
                .fold((0.0, 0.0), |(sum, size), part| (sum + part, size + part.abs()));
            let found = f64::from(product(x, values, &scales, &zeros));
            prop_assert!((found - wanted).abs() <= 1e-6 * size, "{found}, {wanted}");
        }
    }
}
