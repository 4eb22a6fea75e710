//! Convolutions by cuDNN, on NHWC activations.
//!
//! Weights are `[kh][kw][c / groups][k]` in memory and cuDNN wants `[k][kh][kw][c / groups]` next to NHWC activations, so they are transposed once
//! after each change, for forward and backward pass together (and each gradient back): they are few against activations, the host keeps its layout and
//! files stay the same, and for bfloat16 a copy is needed anyway because the weights themselves stay `f32`.

use super::cudarc::cudnn::{result, sys};
use super::launch::launch;
use super::plans::Direction;
pub(super) use super::plans::Plans;
use super::{Attempt, Gpu, Kind, Memory, Source, lock};
use crate::NnError;
use crate::kernels::ConvShape;
use candle_core::cuda_backend::DeviceId;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;

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

/// A convolution or one of its gradients by cuDNN; false where cuDNN has no algorithm for it.
fn convolve(
    gpu: &Gpu,
    s: &ConvShape,
    direction: Direction,
    operands: [&Memory; 2],
    to: &mut Memory,
) -> Result<bool, NnError> {
    let cudnn = handle(gpu)?;
    let counters = &gpu.loaded.counters;
    let plan = gpu.loaded.plans.of(counters, cudnn.0, (*s, direction, gpu.precision()))?;
    let mut plan = lock(&plan);
    while let Some(choice) = plan.choice() {
        let space = gpu.block(choice.workspace)?;
        let operands = operands.map(|memory| memory.bytes.at as *const c_void);
        let (space_at, to_at) = (space.at as *mut c_void, to.bytes.at as *mut c_void);
        // SAFETY: the memory was made for this shape; all of it is used on the handle's stream, the device's one that computes.
        match unsafe { plan.run(cudnn.0, choice, operands, space_at, to_at) } {
            Ok(()) => return Ok(true),
            Err(error) if plan.refused(counters, error)? => {}
            Err(error) => return Err(error).attempt("convolution by cuDNN"),
        }
    }
    Ok(false)
}

/// Weights as cuDNN takes them, kept with them until they change.
fn weights(gpu: &Gpu, s: &ConvShape, w: &Memory, kind: Kind) -> Result<Arc<Memory>, NnError> {
    w.derived(kind, || {
        let mut to = Memory::uninit(gpu, s.w_len(), kind)?;
        let (rows, columns, n) = ((s.w_len() / s.k.max(1)) as i64, s.k as i64, s.w_len() as i64);
        launch!(gpu, Source::Conv, kind, "weight_to_cudnn", s.w_len(); [&w.bytes, &mut to.bytes, &rows, &columns, &n]);
        Ok(to)
    })
}

/// `y = x * w`; whether cuDNN has an algorithm for it.
pub(super) fn forward(gpu: &Gpu, s: &ConvShape, x: &Memory, w: &Memory, y: &mut Memory) -> Result<bool, NnError> {
    convolve(gpu, s, Direction::Forward, [x, &*weights(gpu, s, w, x.kind())?], y)
}

/// Gradient to the input; whether cuDNN has an algorithm for it.
pub(super) fn grad_input(gpu: &Gpu, s: &ConvShape, dy: &Memory, w: &Memory, dx: &mut Memory) -> Result<bool, NnError> {
    convolve(gpu, s, Direction::GradInput, [&*weights(gpu, s, w, dy.kind())?, dy], dx)
}

/// Gradient to the weights, in our layout and `f32`; whether cuDNN has an algorithm for it.
pub(super) fn grad_weight(gpu: &Gpu, s: &ConvShape, x: &Memory, dy: &Memory, dw: &mut Memory) -> Result<bool, NnError> {
    let mut theirs = Memory::uninit(gpu, s.w_len(), x.kind())?;
    if !convolve(gpu, s, Direction::GradWeight, [x, dy], &mut theirs)? {
        return Ok(false);
    }
    let (rows, columns, n) = ((s.w_len() / s.k.max(1)) as i64, s.k as i64, s.w_len() as i64);
    launch!(gpu, Source::Conv, x.kind(), "weight_from_cudnn", s.w_len(); [&theirs.bytes, &mut dw.bytes, &rows, &columns, &n]);
    Ok(true)
}
