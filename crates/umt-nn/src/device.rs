//! Where arrays lie and operators compute.

#[cfg(feature = "cuda")]
use crate::cuda;
use crate::{Array, NnError};
use std::time::{Duration, Instant};

/// How a device may round in convolutions and matrix products. The host computes in `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// `f32` throughout.
    #[default]
    F32,
    /// Factors rounded to ten bits of mantissa for tensor cores (TF32), sums and everything else `f32`.
    Tf32,
    /// Activations and their gradients stored as bfloat16, products on tensor cores; sums, statistics, parameters, their gradients and the
    /// optimiser's state in `f32`. bfloat16 has the range of `f32`, so the loss needs no scaling.
    Bf16,
}

impl Precision {
    /// Its name: `f32`, `tf32` or `bf16`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }

    /// The precision of a name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::F32, Self::Tf32, Self::Bf16].into_iter().find(|precision| precision.as_str() == name)
    }
}

/// What a device was asked for since it was opened, by this crate's own operators and arrays: candle's tensors are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceCounts {
    /// Times that cuDNN was asked for its algorithms: once for each shape, direction and precision of a convolution.
    pub lookups: u64,
    /// Shapes that cuDNN has no algorithm for: plain kernels compute them.
    pub plain_convolutions: u64,
    /// Copies between host and device.
    pub copies: u64,
    /// Kernels launched, without those of cuDNN.
    pub launches: u64,
    /// Times that the driver was asked for memory.
    pub allocations: u64,
    /// Times that the host waited for the device.
    pub waits: u64,
    /// How long it waited.
    pub waited: Duration,
}

/// Time on a device.
pub enum Span {
    /// On the host.
    Host(Instant),
    /// On the stream that computes.
    #[cfg(feature = "cuda")]
    Cuda(cuda::Span),
}

impl Span {
    /// Seconds from the first work that was asked for since [`Device::start`] to the end of the last, which is waited for.
    ///
    /// # Errors
    /// When the device fails.
    pub fn end(self) -> Result<f64, NnError> {
        match self {
            Self::Host(started) => Ok(started.elapsed().as_secs_f64()),
            #[cfg(feature = "cuda")]
            Self::Cuda(span) => span.end(),
        }
    }
}

/// The host, or a device. A network is where its parameters are: `params.to_device(&device)` moves it, and the inputs follow.
///
/// ```
/// use umt_nn::{Array, Device, Precision};
/// let place = Device::open("cpu", Precision::F32)?;
/// assert_eq!(place.array(&[2], &[1.0, 2.0])?.as_slice(), [1.0, 2.0]);
/// assert!(Device::open("tpu", Precision::F32).is_err());
/// # Ok::<(), umt_nn::NnError>(())
/// ```
#[derive(Clone, Debug)]
pub enum Device {
    /// The processor and its memory.
    Cpu,
    /// A CUDA device.
    #[cfg(feature = "cuda")]
    Cuda(cuda::Gpu),
}

impl Device {
    /// The place of a name: `cpu`, `cuda` (the first device) or `cuda:N`.
    ///
    /// # Errors
    /// A name that is none of these, or a device that this build or this machine does not have.
    pub fn open(name: &str, precision: Precision) -> Result<Self, NnError> {
        let ordinal = match name {
            "cpu" if precision == Precision::F32 => return Ok(Self::Cpu),
            "cpu" => {
                let precision = precision.as_str();
                return Err(NnError::Device(format!("cpu computes in f32, {precision} needs a CUDA device")));
            }
            "cuda" => Some(0),
            other => other.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok()),
        };
        match ordinal {
            None => Err(NnError::Device(format!("{name}: known are cpu, cuda and cuda:N"))),
            #[cfg(feature = "cuda")]
            Some(ordinal) => Ok(Self::Cuda(cuda::Gpu::open(ordinal, precision)?)),
            #[cfg(not(feature = "cuda"))]
            Some::<usize>(_) => Err(NnError::Device(format!(
                "{name}: this build computes on the CPU alone; build it with `--features cudnn` (docs/GPU.md)"
            ))),
        }
    }

    /// Whether this is the host.
    pub fn is_cpu(&self) -> bool {
        match self {
            Self::Cpu => true,
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => false,
        }
    }

    /// candle's device, for tensors.
    pub fn candle(&self) -> candle_core::Device {
        match self {
            Self::Cpu => candle_core::Device::Cpu,
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => candle_core::Device::Cuda(gpu.device().clone()),
        }
    }

    /// `cpu` or `cuda:N`, with the precision where it is not `f32`.
    pub fn name(&self) -> String {
        match self {
            Self::Cpu => "cpu".into(),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) if gpu.precision() == Precision::F32 => format!("cuda:{}", gpu.ordinal()),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => format!("cuda:{} in {}", gpu.ordinal(), gpu.precision().as_str()),
        }
    }

    /// Name of the hardware, where a driver tells it.
    ///
    /// # Errors
    /// When the device fails.
    pub fn hardware(&self) -> Result<String, NnError> {
        match self {
            Self::Cpu => Ok(crate::kernels::isa().as_str().into()),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => gpu.hardware(),
        }
    }

    /// Bytes of a device's memory that are in use, those kept for later included; none for the host.
    ///
    /// # Errors
    /// When the device fails.
    pub fn memory_in_use(&self) -> Result<Option<usize>, NnError> {
        match self {
            Self::Cpu => Ok(None),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => gpu.memory().map(|(used, _)| Some(used)),
        }
    }

    /// An array with a copy of `values`.
    ///
    /// # Errors
    /// When their number does not fit `shape`, or the device fails.
    pub fn array(&self, shape: &[usize], values: &[f32]) -> Result<Array, NnError> {
        Array::from_slice(shape, values)?.to_device(self)
    }

    /// An array with a copy of `values`, for the inputs of a step to come: a device copies them from page-locked memory on a stream of its own,
    /// beside what it computes. The call returns once `values` have been read, and whatever uses the array on the device waits there, not here.
    ///
    /// # Errors
    /// As [`Device::array`].
    pub fn send(&self, shape: &[usize], values: &[f32]) -> Result<Array, NnError> {
        match self {
            Self::Cpu => Array::from_slice(shape, values),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) if shape.iter().product::<usize>() != values.len() => Array::from_slice(shape, values),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => gpu.send(shape, values),
        }
    }

    /// An array of zeros.
    ///
    /// # Errors
    /// When the device fails.
    pub fn zeros(&self, shape: &[usize]) -> Result<Array, NnError> {
        match self {
            Self::Cpu => Ok(Array::zeros(shape)),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => gpu.zeros(shape),
        }
    }

    /// What the device was asked for so far; nothing for the host.
    pub fn counts(&self) -> DeviceCounts {
        match self {
            Self::Cpu => DeviceCounts::default(),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => gpu.counts(),
        }
    }

    /// Whether a device keeps freed memory for the next array of its size (it does from the start). Without, each array is memory of the driver of
    /// its own, which is slow, but a checker of the driver's memory then sees every access outside an array's bounds or life.
    pub fn keep_freed_memory(&self, keeps: bool) {
        match self {
            Self::Cpu => {
                let _ = keeps;
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => gpu.keep_freed_memory(keeps),
        }
    }

    /// Marks the time on the device from now to [`Span::end`].
    ///
    /// # Errors
    /// When the device fails.
    pub fn start(&self) -> Result<Span, NnError> {
        Ok(match self {
            Self::Cpu => Span::Host(Instant::now()),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => Span::Cuda(gpu.start()?),
        })
    }

    /// Waits until everything asked of the device is done.
    ///
    /// # Errors
    /// When the device fails.
    pub fn finish(&self) -> Result<(), NnError> {
        match self {
            Self::Cpu => Ok(()),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => gpu.finish(),
        }
    }
}
