//! Which algorithm of cuDNN computes which convolution: asked once for each shape, direction and precision of a device.
//!
//! cuDNN takes milliseconds to rank its algorithms, longer than most convolutions take. Of its ranking those that are deterministic, as precise as the
//! device may be and content with [`MOST_WORKSPACE`] are kept in order, each with its math type: cuDNN's workspace is that of both together. When one
//! refuses, which cuDNN may do for a shape in spite of its ranking, the next one is taken for good.

use super::cudarc::cudnn::{result, sys};
use super::{Attempt, Counters, lock};
use crate::kernels::ConvShape;
use crate::{NnError, Precision};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex};

/// Memory that an algorithm may use alongside its operands.
const MOST_WORKSPACE: usize = 1 << 30;
/// More than there are algorithms of any direction.
const MOST_ALGORITHMS: usize = 16;

static FACTORS: [f32; 2] = [1.0, 0.0];

/// What is computed of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Direction {
    Forward,
    GradInput,
    GradWeight,
}

/// The plans of a device.
#[derive(Default)]
pub(super) struct Plans(Mutex<HashMap<(ConvShape, Direction, Precision), Arc<Mutex<Plan>>>>);

impl Plans {
    /// The plan of a convolution, made when first asked for.
    pub(super) fn of(
        &self,
        counters: &Counters,
        handle: sys::cudnnHandle_t,
        key: (ConvShape, Direction, Precision),
    ) -> Result<Arc<Mutex<Plan>>, NnError> {
        let mut plans = lock(&self.0);
        if let Some(plan) = plans.get(&key) {
            return Ok(plan.clone());
        }
        counters.lookup();
        let plan = Plan::new(handle, key)?;
        if plan.choice().is_none() {
            counters.plain_convolution();
        }
        let plan = Arc::new(Mutex::new(plan));
        plans.insert(key, plan.clone());
        Ok(plan)
    }
}

/// How one convolution is computed.
pub(super) struct Plan {
    description: Description,
    choices: Vec<Choice>,
    /// The choice that did not refuse so far.
    at: usize,
}

// SAFETY: descriptors of cuDNN belong to no thread; the mutex around a plan keeps one thread at a time.
unsafe impl Send for Plan {}

/// An algorithm of one of cuDNN's three lists.
#[derive(Clone, Copy)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    GradInput(sys::cudnnConvolutionBwdDataAlgo_t),
    GradWeight(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// An algorithm, and what it is used with.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    algorithm: Algorithm,
    math: sys::cudnnMathType_t,
    pub(super) workspace: usize,
}

/// Asks for the ranking of one direction, and keeps what may be used of it.
macro_rules! ranked {
    ($list:path, $record:ty, $algorithm:path, $precision:expr, [$($argument:expr),*]) => {{
        let mut found: c_int = 0;
        // SAFETY: cuDNN's record of an algorithm is plain numbers, of which all zeros are valid.
        let mut records: [$record; MOST_ALGORITHMS] = unsafe { std::mem::zeroed() };
        // SAFETY: handle and descriptors are alive; there is room for as many records as are asked for.
        let listed = unsafe { $list($($argument),*, MOST_ALGORITHMS as c_int, &mut found, records.as_mut_ptr()) };
        let found = if listed.is_ok() { usize::try_from(found).unwrap_or(0) } else { 0 };
        let usable = records.iter().take(found).filter(|record| {
            record.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS
                && record.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC
                && record.memory <= MOST_WORKSPACE
        });
        let choices = usable.filter_map(|record| {
            let math = allowed($precision, record.mathType)?;
            Some(Choice { algorithm: $algorithm(record.algo), math, workspace: record.memory })
        });
        choices.collect::<Vec<Choice>>()
    }};
}

/// The math type to set for one of the ranking, if it is as precise as asked.
fn allowed(precision: Precision, math: sys::cudnnMathType_t) -> Option<sys::cudnnMathType_t> {
    use sys::cudnnMathType_t::{CUDNN_DEFAULT_MATH, CUDNN_FMA_MATH, CUDNN_TENSOR_OP_MATH};
    match precision {
        // The default would round to TF32.
        Precision::F32 => (math == CUDNN_FMA_MATH || math == CUDNN_DEFAULT_MATH).then_some(CUDNN_FMA_MATH),
        // With a conversion products would be rounded to half precision.
        Precision::Tf32 => {
            (math == CUDNN_FMA_MATH || math == CUDNN_DEFAULT_MATH || math == CUDNN_TENSOR_OP_MATH).then_some(math)
        }
        Precision::Bf16 => Some(math),
    }
}

impl Plan {
    fn new(
        handle: sys::cudnnHandle_t,
        (s, direction, precision): (ConvShape, Direction, Precision),
    ) -> Result<Self, NnError> {
        let description = Description::new(&s, precision)?;
        let d = &description;
        let choices = match direction {
            Direction::Forward => ranked!(
                result::get_convolution_forward_algorithm,
                sys::cudnnConvolutionFwdAlgoPerf_t,
                Algorithm::Forward,
                precision,
                [handle, d.x, d.w, d.conv, d.y]
            ),
            Direction::GradInput => ranked!(
                result::get_convolution_backward_data_algorithm,
                sys::cudnnConvolutionBwdDataAlgoPerf_t,
                Algorithm::GradInput,
                precision,
                [handle, d.w, d.y, d.conv, d.x]
            ),
            Direction::GradWeight => ranked!(
                result::get_convolution_backward_filter_algorithm,
                sys::cudnnConvolutionBwdFilterAlgoPerf_t,
                Algorithm::GradWeight,
                precision,
                [handle, d.x, d.y, d.conv, d.w]
            ),
        };
        let plan = Self { description, choices, at: 0 };
        plan.set_math()?;
        Ok(plan)
    }

    /// The algorithm to use; none when plain kernels must do.
    pub(super) fn choice(&self) -> Option<Choice> {
        self.choices.get(self.at).copied()
    }

    /// Queues the convolution from its two operands, in the order of cuDNN's arguments, to `to`.
    ///
    /// # Safety
    /// The memory has the sizes that the plan's shape says, and is used on the handle's stream alone.
    pub(super) unsafe fn run(
        &self,
        handle: sys::cudnnHandle_t,
        choice: Choice,
        operands: [*const c_void; 2],
        space: *mut c_void,
        to: *mut c_void,
    ) -> Result<(), result::CudnnError> {
        let (d, [a, b], bytes) = (&self.description, operands, choice.workspace);
        // cuDNN's `to = 1 result + 0 to`.
        let (one, zero) = ((&raw const FACTORS[0]).cast(), (&raw const FACTORS[1]).cast());
        // SAFETY: the descriptors describe the memory by the caller's promise; the factors are floats, as the convolution computes in.
        unsafe {
            match choice.algorithm {
                Algorithm::Forward(algorithm) => result::convolution_forward(
                    handle, one, d.x, a, d.w, b, d.conv, algorithm, space, bytes, zero, d.y, to,
                ),
                Algorithm::GradInput(algorithm) => result::convolution_backward_data(
                    handle, one, d.w, a, d.y, b, d.conv, algorithm, space, bytes, zero, d.x, to,
                ),
                Algorithm::GradWeight(algorithm) => result::convolution_backward_filter(
                    handle, one, d.x, a, d.y, b, d.conv, algorithm, space, bytes, zero, d.w, to,
                ),
            }
        }
    }

    fn set_math(&self) -> Result<(), NnError> {
        let Some(choice) = self.choice() else { return Ok(()) };
        // SAFETY: the descriptor is alive.
        unsafe { result::set_convolution_math_type(self.description.conv, choice.math) }.attempt("cuDNN's math type")
    }

    /// Goes on to the next choice when cuDNN refused this one, and says whether it did.
    pub(super) fn refused(&mut self, counters: &Counters, error: result::CudnnError) -> Result<bool, NnError> {
        // Not supported, with its reason in the last digits; and memory, of the host or the device, that is not there.
        let refused = matches!(error.0 as u32, 3000..=3999 | 4003 | 4004);
        if refused {
            self.at += 1;
            self.set_math()?;
            if self.choice().is_none() {
                counters.plain_convolution();
            }
        }
        Ok(refused)
    }
}

/// Descriptions of a convolution for cuDNN, freed when dropped.
struct Description {
    x: sys::cudnnTensorDescriptor_t,
    y: sys::cudnnTensorDescriptor_t,
    w: sys::cudnnFilterDescriptor_t,
    conv: sys::cudnnConvolutionDescriptor_t,
}

impl Description {
    fn new(s: &ConvShape, precision: Precision) -> Result<Self, NnError> {
        let made = "describing a convolution to cuDNN";
        let null = std::ptr::null_mut();
        let mut this = Self { x: null, y: null.cast(), w: null.cast(), conv: null.cast() };
        this.x = result::create_tensor_descriptor().attempt(made)?;
        this.y = result::create_tensor_descriptor().attempt(made)?;
        this.w = result::create_filter_descriptor().attempt(made)?;
        this.conv = result::create_convolution_descriptor().attempt(made)?;
        let sizes = |sizes: [usize; 4]| sizes.map(|size| size as c_int);
        let (math, kind) = match precision {
            Precision::F32 => (sys::cudnnMathType_t::CUDNN_FMA_MATH, sys::cudnnDataType_t::CUDNN_DATA_FLOAT),
            Precision::Tf32 => (sys::cudnnMathType_t::CUDNN_DEFAULT_MATH, sys::cudnnDataType_t::CUDNN_DATA_FLOAT),
            Precision::Bf16 => (sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH, sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16),
        };
        let format = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
        let float = sys::cudnnDataType_t::CUDNN_DATA_FLOAT;
        let correlation = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        let ([ph, pw], [sh, sw], [dh, dw]) = (s.pad, s.stride, s.dilation);
        let [ph, pw, sh, sw, dh, dw] = [ph, pw, sh, sw, dh, dw].map(|size| size as c_int);
        // SAFETY: the descriptors were made above and are not freed; sizes are in cuDNN's order n, c, h, w and k, c, h, w for any format.
        unsafe {
            result::set_tensor4d_descriptor(this.x, format, kind, sizes([s.n, s.c, s.h, s.w])).attempt(made)?;
            result::set_tensor4d_descriptor(this.y, format, kind, sizes([s.n, s.k, s.out_h(), s.out_w()]))
                .attempt(made)?;
            let weight = sizes([s.k, s.c / s.groups, s.kh, s.kw]);
            result::set_filter4d_descriptor(this.w, kind, format, weight).attempt(made)?;
            result::set_convolution2d_descriptor(this.conv, ph, pw, sh, sw, dh, dw, correlation, float)
                .attempt(made)?;
            result::set_convolution_group_count(this.conv, s.groups as c_int).attempt(made)?;
            result::set_convolution_math_type(this.conv, math).attempt(made)?;
        }
        Ok(this)
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: each was made once and is freed once; nothing can be done about an error here.
        unsafe {
            if !self.conv.is_null() {
                let _ = result::destroy_convolution_descriptor(self.conv);
            }
            if !self.w.is_null() {
                let _ = result::destroy_filter_descriptor(self.w);
            }
            for tensor in [self.x, self.y] {
                if !tensor.is_null() {
                    let _ = result::destroy_tensor_descriptor(tensor);
                }
            }
        }
    }
}
