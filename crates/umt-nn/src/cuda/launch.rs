//! Launching a kernel.

use super::allocator::Block;
use super::cudarc::driver::{CudaFunction, DriverError, result};
use super::{Gpu, Kind};
use std::ffi::c_void;

/// Threads of a block. No kernel's result depends on it.
pub(super) const BLOCK: usize = 256;

/// What a kernel can be given: numbers and structures as they are, memory by its address.
pub(super) trait Argument {
    /// Where the driver finds the bytes to hand on.
    fn place(&self) -> *mut c_void;
}

impl Argument for Block {
    fn place(&self) -> *mut c_void {
        (&raw const self.at).cast_mut().cast()
    }
}

/// Types that a kernel knows under the same layout.
macro_rules! plain_arguments {
    ($($type:ty),*) => {$(
        impl $crate::cuda::launch::Argument for $type {
            fn place(&self) -> *mut std::ffi::c_void {
                std::ptr::from_ref(self).cast_mut().cast()
            }
        }
    )*};
}
pub(super) use plain_arguments;

plain_arguments!(i64, f32);

impl Gpu {
    /// Queues a kernel with one thread for each of `n` pieces of work.
    ///
    /// # Safety
    /// The arguments are those of the kernel's signature, in order and of its types, and it stays within the memory they name.
    pub(super) unsafe fn launch(
        &self,
        function: &CudaFunction,
        n: usize,
        arguments: &mut [*mut c_void],
    ) -> Result<(), DriverError> {
        let stream = self.stream();
        stream.context().bind_to_thread()?;
        let blocks = u32::try_from(n.div_ceil(BLOCK)).unwrap_or(u32::MAX >> 1);
        self.loaded.counters.launch();
        // SAFETY: the function was loaded in this stream's context; the rest is the caller's promise.
        unsafe {
            result::launch_kernel(
                function.cu_function(),
                (blocks, 1, 1),
                (BLOCK as u32, 1, 1),
                0,
                stream.cu_stream(),
                arguments,
            )
        }
    }
}

/// `launch!(gpu, source, kind, "kernel", threads, values; [arguments])`: arguments are references, in the kernel's order; whole numbers are `i64`,
/// of which a kernel with short indices takes the lower half (devices and their hosts store that first). `values` is the length of the longest array
/// that the kernel goes through, left out where it is `threads`. Nothing is launched for no threads.
macro_rules! launch {
    ($gpu:expr, $source:expr, $kind:expr, $name:literal, $n:expr; $arguments:tt) => {{
        let threads: usize = $n;
        $crate::cuda::launch::launch!($gpu, $source, $kind, $name, threads, threads; $arguments)
    }};
    ($gpu:expr, $source:expr, $kind:expr, $name:literal, $n:expr, $values:expr; [$($argument:expr),* $(,)?]) => {{
        let n: usize = $n;
        if n > 0 {
            let variant = ($source, $kind, $crate::cuda::sources::Index::of($values));
            let function = $gpu.function(variant, $name)?;
            let mut arguments = [$($crate::cuda::launch::Argument::place($argument)),*];
            // SAFETY: the arguments are those of the kernel's signature, in order and of its types; what it writes is borrowed mutably, and it
            // writes within the lengths that the arguments say, which the caller took from the arrays.
            unsafe { $gpu.launch(&function, n, &mut arguments) }.attempt($name)?;
        }
    }};
}
pub(super) use launch;

/// Values of neighbouring channels that a thread takes at once: as many as one access has, where `channels` is a multiple of that.
pub(super) fn lanes(kind: Kind, channels: usize) -> usize {
    let wide = wide(kind);
    if channels.is_multiple_of(wide) && channels > 0 { wide } else { 1 }
}

/// Values of one access of 16 bytes.
pub(super) fn wide(kind: Kind) -> usize {
    match kind {
        Kind::F32 => 4,
        Kind::Bf16 => 8,
    }
}

/// Threads for kernels that take `n` values in whatever order, as many as one access has for each thread.
pub(super) fn packs(kind: Kind, n: usize) -> usize {
    n.div_ceil(wide(kind))
}
