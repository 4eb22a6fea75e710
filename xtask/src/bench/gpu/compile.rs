//! Compiles every kernel by NVRTC, which needs no device.

use std::process::ExitCode;

#[cfg(feature = "cuda")]
pub fn run(capabilities: &[String]) -> anyhow::Result<ExitCode> {
    for capability in capabilities {
        let compiled = umt_nn::cuda::compile_all(capability)?;
        let kernels: usize = compiled.iter().map(|c| c.kernels).sum();
        for file in &compiled {
            crate::out::say!(
                "{:>3} {:<18} {:<4} {:>2} kernels {:>7} bytes",
                capability,
                file.name,
                file.kind,
                file.kernels,
                file.bytes
            );
        }
        crate::out::say!("capability {capability}: {kernels} kernels in {} files", compiled.len());
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(not(feature = "cuda"))]
pub fn run(_: &[String]) -> anyhow::Result<ExitCode> {
    let reason = "gpu-check --compile-only: this build has no CUDA; build it with `--features cudnn` (docs/GPU.md)";
    Err(umt_recipe::RecipeError::Usage(reason.into()).into())
}
