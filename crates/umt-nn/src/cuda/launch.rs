//! Launching a kernel.

use super::cudarc::driver::LaunchConfig;

/// Threads of a block. No kernel's result depends on it.
const BLOCK: u32 = 256;

/// One thread for each of `n` pieces of work.
pub(super) fn threads(n: usize) -> LaunchConfig {
    let blocks = u32::try_from(n.div_ceil(BLOCK as usize)).unwrap_or(u32::MAX >> 1);
    LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (BLOCK, 1, 1), shared_mem_bytes: 0 }
}

/// `launch!(gpu, source, kind, "kernel", threads; [arguments])`: arguments are references, in the kernel's order; whole numbers are `i64`. Nothing
/// is launched for no threads.
macro_rules! launch {
    ($gpu:expr, $source:expr, $kind:expr, $name:literal, $n:expr; [$($argument:expr),* $(,)?]) => {{
        let n: usize = $n;
        if n > 0 {
            let function = $gpu.function($source, $kind, $name)?;
            let stream = $gpu.stream();
            let mut arguments = stream.launch_builder(&function);
            $(
                let argument = $argument;
                $crate::cuda::cudarc::driver::PushKernelArg::arg(&mut arguments, argument);
            )*
            // SAFETY: the arguments are those of the kernel's signature, in order and of its types; what it writes is borrowed mutably, and it
            // writes within the lengths that the arguments say, which the caller took from the arrays.
            unsafe { arguments.launch($crate::cuda::launch::threads(n)) }.attempt($name)?;
        }
    }};
}
pub(super) use launch;
