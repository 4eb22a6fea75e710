//! Arrays and operators on a CUDA device: the counterpart of [`crate::kernels`], one file per kind of operator.
//!
//! The stream is candle's, so that the tape and candle's tensors are used in one order without waiting for each other; memory is kept and given out
//! again by an allocator of our own. Convolutions are cuDNN's; everything else is a kernel of our own (`kernels/*.cu`), compiled by NVRTC when a device
//! first needs it. Every launch goes to the one stream of its device, in order; only batches are copied on another (`transfer`), with events of their
//! own, so that cudarc's tracking of every array by events is off. All operators are deterministic: no atomics on floats, sums in an order that shapes
//! alone fix.
#![allow(unsafe_code)] // Launches and foreign functions; everything else of the crate denies it.

mod allocator;
mod conv;
mod counters;
#[cfg(feature = "cudnn")]
mod cudnn;
mod elementwise;
mod gate;
mod launch;
mod loss;
mod maps;
mod memory;
mod norm;
mod many;
mod optim;
#[cfg(feature = "cudnn")]
mod plans;
mod pool;
mod reduce;
mod sources;
mod transfer;

pub(crate) use conv::{conv2d, conv2d_grad_input, conv2d_grad_weight};
pub(crate) use elementwise::{
    add_assign, join_columns, put_slices, relu_backward, scale_shift, scale_shift_in_place, sigmoid, sigmoid_backward,
    split_columns, take_slices,
};
pub(crate) use gate::{gated_sum, gated_sum_backward};
pub(crate) use loss::{cross_entropy, squared_distance};
pub(crate) use many::{Fetched, scale_all, sums_of_squares};
pub(crate) use maps::{average_pool, average_pool_backward, resize, resize_backward, upsample, upsample_backward};
use memory::Kind;
pub(crate) use memory::{Memory, from_tensor};
pub(crate) use norm::{batch_norm_backward, batch_norm_statistics};
pub(crate) use optim::{adamw_step, sgd_plain, sgd_step};
pub(crate) use pool::{Places, add_rows, max_pool, max_pool_backward, mean_rows, mean_rows_backward};
pub(crate) use reduce::{bias_grad, relu_bias_backward};
pub use sources::{Compiled, compile_all};

use crate::{Array, DeviceCounts, NnError, Precision};
use allocator::{Allocator, Block};
use candle_core::CudaDevice;
use candle_core::cuda_backend::cudarc;
use counters::Counters;
use cudarc::driver::{CudaContext, CudaEvent, CudaFunction, CudaModule, CudaStream, PinnedHostSlice, sys};
use sources::{Source, Variant};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use transfer::Transfer;

/// Whatever a call into CUDA says, with what was attempted.
trait Attempt<T> {
    fn attempt(self, what: &str) -> Result<T, NnError>;
}

impl<T, E: fmt::Debug> Attempt<T> for Result<T, E> {
    fn attempt(self, what: &str) -> Result<T, NnError> {
        self.map_err(|error| NnError::Device(format!("{what}: {error:?}")))
    }
}

/// A CUDA device and how it may round. Cloning shares the device.
#[derive(Clone)]
pub struct Gpu {
    device: CudaDevice,
    loaded: Arc<Loaded>,
    precision: Precision,
}

/// What was made for a device once: compiled kernels, and tables that operators read.
struct Loaded {
    capability: (i32, i32),
    modules: Mutex<BTreeMap<Variant, Arc<CudaModule>>>,
    functions: Mutex<BTreeMap<(Variant, &'static str), CudaFunction>>,
    tables: Mutex<BTreeMap<maps::TableKey, Arc<maps::Table>>>,
    transfer: Mutex<Option<Arc<Transfer>>>,
    allocator: Arc<Allocator>,
    counters: Arc<Counters>,
    /// Page-locked memory that results are fetched in.
    results: Mutex<Vec<PinnedHostSlice<u8>>>,
    #[cfg(feature = "cudnn")]
    plans: cudnn::Plans,
}

/// The devices in use, so that a second place on one shares its stream and memory, and an array made from one of candle's tensors finds what was
/// compiled for it.
static DEVICES: Mutex<Vec<(CudaDevice, Arc<Loaded>)>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Gpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cuda:{} in {}", self.ordinal(), self.precision.as_str())
    }
}

impl Gpu {
    /// Opens a device: its context, and one stream of its own.
    pub(crate) fn open(ordinal: usize, precision: Precision) -> Result<Self, NnError> {
        let name = format!("cuda:{ordinal}");
        let count = CudaContext::device_count().attempt("looking for CUDA devices")?;
        if usize::try_from(count).unwrap_or(0) <= ordinal {
            return Err(NnError::Device(format!("{name}: this machine has {count} CUDA device(s)")));
        }
        let opened = lock(&DEVICES).iter().map(|(device, _)| device.clone()).find(|device| at(device) == ordinal);
        let device = match opened {
            Some(device) => device,
            None => {
                let device = CudaDevice::new_with_stream(ordinal);
                let device = device.map_err(|error| NnError::Device(format!("{name}: {error}")))?;
                let context = device.cuda_stream().context().clone();
                keep_memory(&context)?;
                // SAFETY: everything is used on the device's one stream, except for batches, whose copies have events of their own.
                unsafe { context.disable_event_tracking() };
                device
            }
        };
        // Products of candle's own tensors follow the same setting.
        candle_core::cuda::set_gemm_reduced_precision_f32(precision != Precision::F32);
        Ok(Self { precision, ..Self::of(&device)? })
    }

    /// The device of a tensor, in `f32`.
    pub(crate) fn of(device: &CudaDevice) -> Result<Self, NnError> {
        let mut all = lock(&DEVICES);
        let known = all.iter().find(|(known, _)| known.id() == device.id()).map(|(_, loaded)| loaded.clone());
        let loaded = match known {
            Some(loaded) => loaded,
            None => {
                let capability = device.cuda_stream().context().compute_capability().attempt("compute capability")?;
                let counters = Arc::new(Counters::default());
                let allocator = Arc::new(Allocator::new(device.cuda_stream(), counters.clone()));
                let (modules, functions, tables, transfer, results) = Default::default();
                let loaded = Arc::new(Loaded {
                    capability,
                    modules,
                    functions,
                    tables,
                    transfer,
                    allocator,
                    counters,
                    results,
                    #[cfg(feature = "cudnn")]
                    plans: cudnn::Plans::default(),
                });
                all.push((device.clone(), loaded.clone()));
                loaded
            }
        };
        Ok(Self { device: device.clone(), loaded, precision: Precision::F32 })
    }

    fn same(&self, other: &Self) -> bool {
        self.device.id() == other.device.id()
    }

    pub(crate) fn device(&self) -> &CudaDevice {
        &self.device
    }

    pub(crate) fn ordinal(&self) -> usize {
        at(&self.device)
    }

    pub(crate) fn hardware(&self) -> Result<String, NnError> {
        self.device.cuda_stream().context().name().attempt("name of the device")
    }

    /// Bytes of the device that are in use, and all it has.
    pub(crate) fn memory(&self) -> Result<(usize, usize), NnError> {
        let (free, all) = self.device.cuda_stream().context().mem_get_info().attempt("memory of the device")?;
        Ok((all - free, all))
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    pub(crate) fn stream(&self) -> Arc<CudaStream> {
        self.device.cuda_stream()
    }

    pub(crate) fn finish(&self) -> Result<(), NnError> {
        self.waiting(|| self.stream().synchronize().attempt("waiting for the device"))
    }

    /// Does what waits for the device, and counts it.
    fn waiting<T>(&self, wait: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = wait();
        self.loaded.counters.wait(started.elapsed());
        result
    }

    pub(crate) fn counts(&self) -> DeviceCounts {
        self.loaded.counters.so_far()
    }

    /// Whether freed memory is kept for later.
    pub(crate) fn keep_freed_memory(&self, keeps: bool) {
        self.loaded.allocator.keep(keeps);
    }

    /// Memory of unspecified content.
    fn block(&self, bytes: usize) -> Result<Block, NnError> {
        self.loaded.allocator.block(bytes)
    }

    /// What copies batches, made when first asked for.
    fn transfer(&self) -> Result<Arc<Transfer>, NnError> {
        let mut transfer = lock(&self.loaded.transfer);
        if let Some(known) = &*transfer {
            return Ok(known.clone());
        }
        let new = Arc::new(Transfer::new(&self.stream(), self.loaded.allocator.clone())?);
        *transfer = Some(new.clone());
        Ok(new)
    }

    pub(crate) fn zeros(&self, shape: &[usize]) -> Result<Array, NnError> {
        let memory = Memory::zeros(self, shape.iter().product())?;
        Ok(Array::on_device(shape, memory))
    }

    /// A kernel, compiled when it is first asked for.
    fn function(&self, variant: Variant, name: &'static str) -> Result<CudaFunction, NnError> {
        let mut functions = lock(&self.loaded.functions);
        if let Some(function) = functions.get(&(variant, name)) {
            return Ok(function.clone());
        }
        let mut modules = lock(&self.loaded.modules);
        let module = match modules.get(&variant) {
            Some(module) => module.clone(),
            None => {
                let (major, minor) = self.loaded.capability;
                let code = sources::compile(variant, &format!("{major}{minor}"))?;
                let module = self.stream().context().load_module(code).attempt(variant.0.name())?;
                modules.insert(variant, module.clone());
                module
            }
        };
        let function = module.load_function(name).attempt(name)?;
        functions.insert((variant, name), function.clone());
        Ok(function)
    }
}

/// Time on a device's stream.
pub struct Span {
    gpu: Gpu,
    started: CudaEvent,
}

impl Gpu {
    pub(crate) fn start(&self) -> Result<Span, NnError> {
        let started = self.stream().record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT)).attempt("an event")?;
        Ok(Span { gpu: self.clone(), started })
    }
}

impl Span {
    pub(crate) fn end(self) -> Result<f64, NnError> {
        let ended = self.gpu.stream().record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT)).attempt("an event")?;
        let milliseconds = self.gpu.waiting(|| self.started.elapsed_ms(&ended)).attempt("time on the device")?;
        Ok(f64::from(milliseconds) / 1e3)
    }
}

/// Number of a device.
fn at(device: &CudaDevice) -> usize {
    device.cuda_stream().context().ordinal()
}

/// Lets the driver keep freed memory for the next step instead of giving it back at every synchronisation.
fn keep_memory(context: &Arc<CudaContext>) -> Result<(), NnError> {
    if !context.has_async_alloc() {
        return Ok(());
    }
    let mut pool: sys::CUmemoryPool = std::ptr::null_mut();
    let mut threshold = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the device is open; the pool belongs to it and outlives the process; the attribute takes a u64.
    unsafe {
        let result = sys::cuDeviceGetDefaultMemPool(&mut pool, context.cu_device()).result();
        result.attempt("memory pool of the device")?;
        let value: *mut u64 = &mut threshold;
        sys::cuMemPoolSetAttribute(pool, attribute, value.cast()).result().attempt("memory pool of the device")
    }
}
