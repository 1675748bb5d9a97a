//! Layers of the face networks that tract computes slowly, as operations of our own in its plans.
//!
//! tract spends two thirds of a network's time on depthwise convolutions of small pictures, on
//! activations and on maxima. A [`Depthwise`] includes the scaling and the activations around it, so
//! that its data passes through memory once. The matrix products stay tract's, save for the
//! [`dense`] layer, whose weights are most of a network's memory.
//!
//! The compiler makes vector instructions of the loops, for the CPU that is found at run time.

pub(super) mod dense;
pub(super) mod rules;

use multiversion::multiversion;
use tract_onnx::tract_hir::internal::*;

/// ONNX `PRelu` with constant slopes, one for each channel or one for all: x where x > 0, else a x.
/// <https://onnx.ai/onnx/operators/onnx__PRelu.html>
#[derive(Clone, Debug)]
pub(super) struct PRelu;

impl Expansion for PRelu {
    fn name(&self) -> StaticName {
        "PRelu".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 2)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        solver.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let channels = model.outlet_fact(inputs[0])?.shape.get(1).and_then(|c| c.to_usize().ok());
        let slopes =
            channels.and_then(|c| of_channels(model, inputs[1], c)).with_context(|| {
                format!("the slopes of PRelu {prefix} are not constant, one for each channel")
            })?;
        model.wire_node(prefix, Activation { slopes: numbers(slopes) }, &inputs[..1])
    }
}

/// Numbers of the channels.
type Numbers = Arc<Tensor>;

fn numbers(values: Vec<f32>) -> Numbers {
    tensor1(&values).into_arc_tensor()
}

fn plain<T: Datum>(numbers: &Tensor) -> TractResult<&[T]> {
    let view = numbers.to_plain_array_view::<T>()?;
    view.to_slice().context("its values are not in sequence")
}

/// Returns constants, one for each channel. A single one is repeated.
fn of_channels(model: &TypedModel, outlet: OutletId, channels: usize) -> Option<Vec<f32>> {
    let constant = model.outlet_fact(outlet).ok()?.konst.as_ref()?;
    let values = plain(constant).ok()?;
    // The channels come before height and width.
    let of_channels = matches!(constant.shape(), [_] | [_, 1, 1] | [1, _, 1, 1]);
    match values {
        [value] => Some(vec![*value; channels]),
        values => (of_channels && values.len() == channels).then(|| values.to_vec()),
    }
}

/// Returns an output of this shape. `write` must write all of its values.
fn output(
    shape: &[usize],
    write: impl FnOnce(&mut [f32]) -> TractResult<()>,
) -> TractResult<TVec<TValue>> {
    // SAFETY: each f32 is valid whatever its bits, and `write` writes all of them.
    let mut output = unsafe { Tensor::uninitialized::<f32>(shape)? };
    let mut view = output.to_plain_array_view_mut::<f32>()?;
    write(view.as_slice_mut().context("its values are not in sequence")?)?;
    drop(view);
    Ok(tvec!(output.into_tvalue()))
}

/// x where x > 0, else a x, with a slope a for each channel.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Activation {
    slopes: Numbers,
}

impl Op for Activation {
    fn name(&self) -> StaticName {
        "Activation".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Activation {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut x = args_1!(inputs).into_tensor();
        let plane = x.shape().iter().skip(2).product::<usize>().max(1);
        let mut view = x.to_plain_array_view_mut::<f32>()?;
        let values = view.as_slice_mut().context("its values are not in sequence")?;
        for (values, slope) in
            values.chunks_exact_mut(plane).zip(plain(&self.slopes)?.iter().cycle())
        {
            values.iter_mut().for_each(|value| *value = activated(*value, *slope));
        }
        drop(view);
        Ok(tvec!(x.into_tvalue()))
    }
}

impl TypedOp for Activation {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].without_value()))
    }

    as_op!();
}

#[inline(always)]
fn activated(value: f32, slope: f32) -> f32 {
    if value > 0.0 { value } else { value * slope }
}

/// A depthwise convolution of 3 x 3 with a stride of 1 or 2, with an activation of its input and of
/// its output. Its tensors are f32 [channels, height, width], or [1, channels, height, width].
#[derive(Clone, Debug, PartialEq, Eq)]
struct Depthwise {
    plane: Plane,
    /// Nine weights of each channel.
    kernel: Numbers,
    bias: Numbers,
    /// Slopes of the activations; 1 for none.
    before: Numbers,
    after: Numbers,
    /// Shape of the output.
    shape: TVec<usize>,
}

/// The geometry of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plane {
    width: usize,
    height: usize,
    output_width: usize,
    output_height: usize,
    stride: usize,
    /// Rows and columns of zeros before the input.
    top: usize,
    left: usize,
}

impl Op for Depthwise {
    fn name(&self) -> StaticName {
        "Depthwise".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Depthwise {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = args_1!(inputs);
        output(&self.shape, |out| {
            let plane = &self.plane;
            let channels = plain(&x)?
                .chunks_exact(plane.width * plane.height)
                .zip(out.chunks_exact_mut(plane.output_width * plane.output_height));
            let kernels = plain(&self.kernel)?.as_chunks::<9>().0.iter().zip(plain(&self.bias)?);
            let slopes = plain(&self.before)?.iter().zip(plain(&self.after)?);
            let mut scratch = plane.scratch();
            for (((x, out), (kernel, bias)), (before, after)) in channels.zip(kernels).zip(slopes) {
                plane.pad(x, *before, &mut scratch);
                plane.convolve(kernel, [*bias, *after], &mut scratch, out);
            }
            Ok(())
        })
    }
}

impl TypedOp for Depthwise {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&self.shape)))
    }

    as_op!();
}

/// Minimum number of sums that are formed at once, where there are as many.
const SUMS: usize = 1024;

struct Scratch {
    /// The input with its padding of zeros, in phases: for a stride of 2 the even columns of the even
    /// rows, the odd columns of the even rows, and the same for the odd rows. So each weight meets
    /// numbers in sequence.
    padded: Vec<f32>,
    sums: Vec<f32>,
}

impl Plane {
    /// Returns the length and the number of the rows of a phase.
    fn phase(&self) -> (usize, usize) {
        let more = 2usize.div_ceil(self.stride);
        (self.output_width + more, self.output_height + more)
    }

    /// Returns the place of a value of the padded input.
    fn place(&self, x: usize, y: usize) -> usize {
        let ((row, rows), stride) = (self.phase(), self.stride);
        ((y % stride * stride + x % stride) * rows + y / stride) * row + x / stride
    }

    fn scratch(&self) -> Scratch {
        let (row, rows) = self.phase();
        // The sums at the end of the last row are not used, but read two numbers more.
        let padded = vec![0.0; row * rows * self.stride * self.stride + 2];
        Scratch { padded, sums: vec![0.0; row * SUMS.div_ceil(row)] }
    }

    fn pad(&self, x: &[f32], slope: f32, scratch: &mut Scratch) {
        let ((row, rows), stride) = (self.phase(), self.stride);
        for (y, values) in (self.top..rows * stride).zip(x.chunks_exact(self.width)) {
            if stride == 1 {
                let start = self.place(0, y);
                activate_row(values, slope, &mut scratch.padded[start + self.left..start + row]);
                continue;
            }
            let (even, odd) = scratch.padded.split_at_mut(self.place(1, y));
            let (even, odd) = (&mut even[self.place(0, y)..][..row], &mut odd[..row]);
            let skipped = self.left / 2;
            if self.left.is_multiple_of(2) {
                split_row(values, slope, &mut even[skipped..], &mut odd[skipped..]);
            } else {
                split_row(values, slope, &mut odd[skipped..], &mut even[skipped + 1..]);
            }
        }
    }

    fn convolve(
        &self,
        kernel: &[f32; 9],
        [bias, slope]: [f32; 2],
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let (row, _) = self.phase();
        let taps: [usize; 9] = std::array::from_fn(|tap| self.place(tap % 3, tap / 3));
        let at_once = scratch.sums.len() / row;
        for (begin, out) in (0..).step_by(at_once).zip(out.chunks_mut(at_once * self.output_width))
        {
            let sums = &mut scratch.sums[..out.len() / self.output_width * row];
            let inputs = taps.map(|tap| &scratch.padded[begin * row + tap..][..sums.len()]);
            add_up(inputs, kernel, bias, slope, sums);
            for (out, sums) in out.chunks_exact_mut(self.output_width).zip(sums.chunks(row)) {
                out.copy_from_slice(&sums[..self.output_width]);
            }
        }
    }
}

#[multiversion(targets("x86_64+avx2", "x86_64+avx"))]
fn activate_row(from: &[f32], slope: f32, to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = activated(*from, slope);
    }
}

/// Puts the values at even places into `even`, and the others into `odd`.
#[multiversion(targets("x86_64+avx2", "x86_64+avx"))]
fn split_row(from: &[f32], slope: f32, even: &mut [f32], odd: &mut [f32]) {
    let (pairs, rest) = from.as_chunks::<2>();
    if let (Some(last), [value]) = (even.get_mut(pairs.len()), rest) {
        *last = activated(*value, slope);
    }
    for (([first, second], even), odd) in pairs.iter().zip(even.iter_mut()).zip(odd) {
        *even = activated(*first, slope);
        *odd = activated(*second, slope);
    }
}

/// Writes the activated sums of nine weighted inputs, each of the length of `sums`.
#[multiversion(targets("x86_64+avx2", "x86_64+avx"))]
fn add_up(inputs: [&[f32]; 9], kernel: &[f32; 9], bias: f32, slope: f32, sums: &mut [f32]) {
    let length = sums.len();
    // Of one length for all, so that the compiler needs no check within the loop.
    let [a, b, c, d, e, f, g, h, i] = inputs;
    let (a, b, c) = (&a[..length], &b[..length], &c[..length]);
    let (d, e, f) = (&d[..length], &e[..length], &f[..length]);
    let (g, h, i) = (&g[..length], &h[..length], &i[..length]);
    for at in 0..length {
        // In rows, because each sum waits for its parts.
        let above = kernel[0] * a[at] + kernel[1] * b[at] + kernel[2] * c[at];
        let middle = kernel[3] * d[at] + kernel[4] * e[at] + kernel[5] * f[at];
        let below = kernel[6] * g[at] + kernel[7] * h[at] + kernel[8] * i[at];
        sums[at] = activated(bias + above + (middle + below), slope);
    }
}

/// The maxima of 2 x 2 values each. Its tensors are as those of [`Depthwise`].
#[derive(Clone, Debug, PartialEq, Eq)]
struct Maxima {
    width: usize,
    /// Shape of the output.
    shape: TVec<usize>,
}

impl Op for Maxima {
    fn name(&self) -> StaticName {
        "Maxima".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Maxima {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = args_1!(inputs);
        output(&self.shape, |out| {
            let rows = plain(&x)?.chunks_exact(2 * self.width);
            for (rows, out) in rows.zip(out.chunks_exact_mut(self.width / 2)) {
                let (above, below) = rows.split_at(self.width);
                maxima_of(above, below, out);
            }
            Ok(())
        })
    }
}

impl TypedOp for Maxima {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&self.shape)))
    }

    as_op!();
}

#[multiversion(targets("x86_64+avx2", "x86_64+avx"))]
fn maxima_of(above: &[f32], below: &[f32], out: &mut [f32]) {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let pairs = above.as_chunks::<2>().0.iter().zip(below.as_chunks::<2>().0);
    for (out, ([a, b], [c, d])) in out.iter_mut().zip(pairs) {
        *out = larger(larger(*a, *b), larger(*c, *d));
    }
}

#[cfg(test)]
mod tests;
