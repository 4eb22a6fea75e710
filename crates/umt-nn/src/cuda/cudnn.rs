//! Convolutions by cuDNN, on NHWC activations.
//!
//! Weights are `[kh][kw][c / groups][k]` in memory and cuDNN wants `[k][kh][kw][c / groups]` beside NHWC activations, so each call transposes them
//! (and the gradient back): they are few against activations, the host keeps its layout and files stay the same, and for bfloat16 a copy is needed
//! anyway because the weights themselves stay `f32`.
//!
//! Of the ways that cuDNN ranks for a shape the first deterministic one is taken; its choice depends on the shape alone.

use super::cudarc::cudnn::{result, sys};
use super::cudarc::driver::{CudaSlice, DevicePtr, DevicePtrMut};
use super::launch::launch;
use super::{Attempt, Gpu, Kind, Memory, Source};
use crate::kernels::ConvShape;
use crate::{NnError, Precision};
use candle_core::cuda_backend::DeviceId;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::rc::Rc;

/// Memory that a way may use beside its operands.
const MOST_WORKSPACE: usize = 1 << 30;
/// More than there are ways of any kind.
const WAYS: usize = 16;

thread_local! {
    /// cuDNN's handles may not be shared between threads.
    static HANDLES: RefCell<HashMap<DeviceId, Rc<Handle>>> = RefCell::new(HashMap::new());
}

/// cuDNN opened for a device's stream.
struct Handle(sys::cudnnHandle_t);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: made once and freed once; nothing can be done about an error here.
        let _ = unsafe { result::destroy_handle(self.0) };
    }
}

fn handle(gpu: &Gpu) -> Result<Rc<Handle>, NnError> {
    HANDLES.with(|handles| {
        if let Some(handle) = handles.borrow().get(&gpu.device().id()) {
            return Ok(handle.clone());
        }
        let stream = gpu.stream();
        stream.context().bind_to_thread().attempt("opening cuDNN")?;
        let handle = Handle(result::create_handle().attempt("opening cuDNN")?);
        // SAFETY: handle and stream are alive; the stream lives as long as the device, which the process never closes.
        unsafe { result::set_stream(handle.0, stream.cu_stream().cast()) }.attempt("cuDNN's stream")?;
        let handle = Rc::new(handle);
        handles.borrow_mut().insert(gpu.device().id(), handle.clone());
        Ok(handle)
    })
}

/// Descriptions of a convolution for cuDNN, freed when dropped.
struct Description {
    x: sys::cudnnTensorDescriptor_t,
    y: sys::cudnnTensorDescriptor_t,
    w: sys::cudnnFilterDescriptor_t,
    conv: sys::cudnnConvolutionDescriptor_t,
}

impl Description {
    fn new(gpu: &Gpu, s: &ConvShape) -> Result<Self, NnError> {
        let made = "describing a convolution to cuDNN";
        let null = std::ptr::null_mut();
        let mut this = Self { x: null, y: null.cast(), w: null.cast(), conv: null.cast() };
        this.x = result::create_tensor_descriptor().attempt(made)?;
        this.y = result::create_tensor_descriptor().attempt(made)?;
        this.w = result::create_filter_descriptor().attempt(made)?;
        this.conv = result::create_convolution_descriptor().attempt(made)?;
        let sizes = |sizes: [usize; 4]| sizes.map(|size| size as c_int);
        let (math, kind) = match gpu.precision() {
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

/// What is asked of a way, in the words of each of cuDNN's three lists.
macro_rules! first_way {
    ($gpu:expr, $list:path, $perf:ty, [$($argument:expr),*]) => {{
        let allowed = |math: sys::cudnnMathType_t| match $gpu.precision() {
            // Whatever cuDNN thinks of its default, `f32` may not be rounded.
            Precision::F32 => math == sys::cudnnMathType_t::CUDNN_FMA_MATH || math == sys::cudnnMathType_t::CUDNN_DEFAULT_MATH,
            Precision::Tf32 | Precision::Bf16 => true,
        };
        let mut found: c_int = 0;
        // SAFETY: cuDNN's record of a way is plain numbers, of which all zeros are valid.
        let mut ways: [$perf; WAYS] = unsafe { std::mem::zeroed() };
        // SAFETY: descriptors are alive; `ways` has room for as many records as are asked for.
        let listed = unsafe { $list($($argument),*, WAYS as c_int, &mut found, ways.as_mut_ptr()) };
        let found = if listed.is_ok() { usize::try_from(found).unwrap_or(0) } else { 0 };
        ways.iter().take(found).find(|way| {
            way.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS
                && way.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC
                && way.memory <= MOST_WORKSPACE
                && allowed(way.mathType)
        }).map(|way| (way.algo, way.memory))
    }};
}

/// Memory for a way, at least one byte.
fn workspace(gpu: &Gpu, bytes: usize) -> Result<CudaSlice<u8>, NnError> {
    // SAFETY: scratch, which the library writes before it reads.
    unsafe { gpu.stream().alloc::<u8>(bytes.max(1)) }.attempt("workspace of cuDNN")
}

/// Weights as cuDNN takes them.
fn weights(gpu: &Gpu, s: &ConvShape, w: &Memory, kind: Kind) -> Result<Memory, NnError> {
    let mut to = Memory::uninit(gpu, s.w_len(), kind)?;
    let (rows, columns, n) = ((s.w_len() / s.k.max(1)) as i64, s.k as i64, s.w_len() as i64);
    launch!(gpu, Source::Conv, kind, "weight_to_cudnn", s.w_len(); [&w.bytes, &mut to.bytes, &rows, &columns, &n]);
    Ok(to)
}

/// cuDNN's `y = 1 result + 0 y`.
static FACTORS: [f32; 2] = [1.0, 0.0];

fn factors() -> [*const c_void; 2] {
    [(&raw const FACTORS[0]).cast(), (&raw const FACTORS[1]).cast()]
}

/// A convolution or one of its gradients, by the first way that serves: all three are `from` and `by` to `to`, each with its description's name.
/// Returns false from the function where cuDNN knows no way.
macro_rules! convolve {
    ($gpu:expr, $s:expr, $what:literal, $list:path, $way:ty, $run:path, $a:ident: $from:expr, $b:ident: $by:expr, $c:ident: $to:expr) => {{
        let (cudnn, d) = (handle($gpu)?, Description::new($gpu, $s)?);
        let way = first_way!($gpu, $list, $way, [cudnn.0, d.$a, d.$b, d.conv, d.$c]);
        let Some((way, bytes)) = way else { return Ok(false) };
        let (from, by): (&Memory, &Memory) = ($from, $by);
        let mut space = workspace($gpu, bytes)?;
        let stream = $gpu.stream();
        let [one, zero] = factors();
        let (from, _from) = from.bytes.device_ptr(&stream);
        let (by, _by) = by.bytes.device_ptr(&stream);
        let (space, _space) = space.device_ptr_mut(&stream);
        let (to, _to) = $to.bytes.device_ptr_mut(&stream);
        let (from, by) = (from as *const c_void, by as *const c_void);
        let (space, to) = (space as *mut c_void, to as *mut c_void);
        // SAFETY: the memory has the sizes and the layout that the descriptors say; all of it is used on the handle's stream.
        unsafe { $run(cudnn.0, one, d.$a, from, d.$b, by, d.conv, way, space, bytes, zero, d.$c, to) }.attempt($what)?;
    }};
}

/// `y = x * w`; whether cuDNN knew a way.
pub(super) fn forward(gpu: &Gpu, s: &ConvShape, x: &Memory, w: &Memory, y: &mut Memory) -> Result<bool, NnError> {
    convolve!(
        gpu, s, "convolution by cuDNN",
        result::get_convolution_forward_algorithm, sys::cudnnConvolutionFwdAlgoPerf_t, result::convolution_forward,
        x: x, w: &weights(gpu, s, w, x.kind())?, y: y
    );
    Ok(true)
}

/// Gradient to the input; whether cuDNN knew a way.
pub(super) fn grad_input(gpu: &Gpu, s: &ConvShape, dy: &Memory, w: &Memory, dx: &mut Memory) -> Result<bool, NnError> {
    convolve!(
        gpu, s, "gradient of a convolution by cuDNN",
        result::get_convolution_backward_data_algorithm, sys::cudnnConvolutionBwdDataAlgoPerf_t, result::convolution_backward_data,
        w: &weights(gpu, s, w, dy.kind())?, y: dy, x: dx
    );
    Ok(true)
}

/// Gradient to the weights, in our layout and `f32`; whether cuDNN knew a way.
pub(super) fn grad_weight(gpu: &Gpu, s: &ConvShape, x: &Memory, dy: &Memory, dw: &mut Memory) -> Result<bool, NnError> {
    let mut theirs = Memory::uninit(gpu, s.w_len(), x.kind())?;
    convolve!(
        gpu, s, "gradient of a convolution by cuDNN",
        result::get_convolution_backward_filter_algorithm, sys::cudnnConvolutionBwdFilterAlgoPerf_t, result::convolution_backward_filter,
        x: x, y: dy, w: theirs
    );
    let (rows, columns, n) = ((s.w_len() / s.k.max(1)) as i64, s.k as i64, s.w_len() as i64);
    launch!(gpu, Source::Conv, x.kind(), "weight_from_cudnn", s.w_len(); [&theirs.bytes, &mut dw.bytes, &rows, &columns, &n]);
    Ok(true)
}
