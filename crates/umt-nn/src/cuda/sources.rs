//! The kernels' sources, and their compilation by NVRTC.

use super::Kind;
use super::cudarc::nvrtc::{CompileError, CompileOptions, Ptx, compile_ptx_with_opts};
use crate::NnError;

/// A file of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Elementwise,
    Reduce,
    Norm,
    Pool,
    Sample,
    CrossEntropy,
    Many,
    Conv,
}

const PRELUDE: &str = include_str!("kernels/prelude.cu");

impl Source {
    const ALL: [Source; 8] = [
        Self::Elementwise,
        Self::Reduce,
        Self::Norm,
        Self::Pool,
        Self::Sample,
        Self::CrossEntropy,
        Self::Many,
        Self::Conv,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Elementwise => "elementwise.cu",
            Self::Reduce => "reduce.cu",
            Self::Norm => "norm.cu",
            Self::Pool => "pool.cu",
            Self::Sample => "sample.cu",
            Self::CrossEntropy => "cross_entropy.cu",
            Self::Many => "many.cu",
            Self::Conv => "conv.cu",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Elementwise => include_str!("kernels/elementwise.cu"),
            Self::Reduce => include_str!("kernels/reduce.cu"),
            Self::Norm => include_str!("kernels/norm.cu"),
            Self::Pool => include_str!("kernels/pool.cu"),
            Self::Sample => include_str!("kernels/sample.cu"),
            Self::CrossEntropy => include_str!("kernels/cross_entropy.cu"),
            Self::Many => include_str!("kernels/many.cu"),
            Self::Conv => include_str!("kernels/conv.cu"),
        }
    }
}

/// How wide the kernels' whole numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Index {
    /// 32 bits, which a device computes with several times as fast.
    Short,
    /// 64 bits, for arrays that need them.
    Long,
}

impl Index {
    /// What arrays of up to so many values need; a thread looks a little beyond the end.
    pub(super) fn of(values: usize) -> Self {
        if values < (1 << 31) - (1 << 20) { Self::Short } else { Self::Long }
    }
}

/// What a file is compiled for once: how activations are stored, and the width of indices.
pub(super) type Variant = (Source, Kind, Index);

/// Compiles a file for a compute capability such as `90`.
pub(super) fn compile((source, kind, index): Variant, capability: &str) -> Result<Ptx, NnError> {
    let mut options = vec![format!("--gpu-architecture=compute_{capability}"), "--std=c++17".to_owned()];
    if kind == Kind::Bf16 {
        options.push("--define-macro=BF16".to_owned());
    }
    if index == Index::Long {
        options.push("--define-macro=LONG".to_owned());
    }
    let options = CompileOptions { options, name: Some(source.name().to_owned()), ..CompileOptions::default() };
    compile_ptx_with_opts(format!("{PRELUDE}\n{}", source.text()), options).map_err(|error| {
        let told = match &error {
            CompileError::CompileError { log, .. } => log.to_string_lossy().into_owned(),
            other => format!("{other:?}"),
        };
        NnError::Device(format!("compiling {} for capability {capability}: {told}", source.name()))
    })
}

/// A file that was compiled.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Its name.
    pub name: &'static str,
    /// How activations are stored: `f32` or `bf16`; and how wide indices are.
    pub kind: &'static str,
    /// Kernels in it.
    pub kernels: usize,
    /// Bytes of PTX.
    pub bytes: usize,
}

/// Compiles every file of kernels for a compute capability, which needs no device.
///
/// # Errors
/// What the compiler says, with the file's name.
pub fn compile_all(capability: &str) -> Result<Vec<Compiled>, NnError> {
    let mut compiled = Vec::new();
    for source in Source::ALL {
        for (kind, index, kind_name) in [
            (Kind::F32, Index::Short, "f32"),
            (Kind::Bf16, Index::Short, "bf16"),
            (Kind::F32, Index::Long, "f32, 64-bit"),
            (Kind::Bf16, Index::Long, "bf16, 64-bit"),
        ] {
            let ptx = compile((source, kind, index), capability)?.to_src();
            let kernels = ptx.matches(".visible .entry").count();
            let expected = source.text().matches("\nKERNEL ").count();
            if kernels != expected {
                let name = source.name();
                return Err(NnError::Device(format!("{name}: {kernels} kernels came out of {expected}")));
            }
            compiled.push(Compiled { name: source.name(), kind: kind_name, kernels, bytes: ptx.len() });
        }
    }
    Ok(compiled)
}
