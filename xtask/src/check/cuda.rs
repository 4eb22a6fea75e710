//! `check cuda`: builds with CUDA and cuDNN and compiles every kernel, on a machine that needs neither a GPU nor a toolkit.
//!
//! nvcc and the libraries come from PyPI into a virtual environment under `target/cuda`. candle's own kernels take nvcc a quarter to half an hour
//! of one core the first time; afterwards only what changed is built.

use super::{cargo, root};
use crate::out::note;
use anyhow::{Context, bail, ensure};
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// Not later than 13.0: drivers of series 580 load no newer code.
const PACKAGES: [&str; 2] =
    ["cuda-toolkit[nvcc,cccl,cudart,nvvm,crt,cublas,curand,nvrtc]==13.0.*", "nvidia-cudnn-cu13"];
/// What the linker asks for by its unversioned name, which the packages lack; cuDNN lies in a folder of its own.
const LIBRARIES: [&str; 6] = ["cublas", "cublasLt", "curand", "nvrtc", "cudart", "cudnn"];
/// Architectures that the project's kernels are compiled for: A100 and H100.
const ARCHITECTURES: &str = "80,90";
const MOST_BYTES: u64 = 45 << 20;

/// Builds with `--features cudnn` and compiles every kernel.
#[derive(clap::Args)]
pub struct Args {
    /// Compute capability that candle's kernels are built for: 80 for A100, 89 for L4, 90 for H100.
    #[arg(long, value_name = "CAPABILITY", default_value = "90")]
    capability: String,
    /// Jobs of cargo and of nvcc; all cores when left out.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let target = root().join("target/cuda");
    let toolkit = timed("toolkit from PyPI", || toolkit(&target))?;
    timed("libraries under the names that the linker asks for", || names(&toolkit))?;
    timed("stub of the driver", || driver(&toolkit))?;
    timed("build with CUDA and cuDNN", || build(args, &target, &toolkit, &[]))?;
    timed("link without kernels for quantised weights", || lean(args, &target, &toolkit))?;
    let binary = target.join("release/umt");
    timed("kernels compiled by NVRTC", || kernels(&binary, &toolkit))?;
    timed("registers, spills and wide accesses of the kernels", || peer("cuda_resources.py", &[]))?;
    timed("what a training step asks for, on a stand-in for the driver", || {
        peer("soft_cuda/run.py", &[binary.as_os_str(), "--count".as_ref()])
    })?;
    let bytes = std::fs::metadata(&binary).with_context(|| format!("reading {}", binary.display()))?.len();
    let megabytes = bytes as f64 / 1e6;
    ensure!(bytes < MOST_BYTES, "size: {} has {megabytes:.1} MB, at most {} are allowed", binary.display(), 45);
    note!("{} ({megabytes:.1} MB) runs on a machine with a driver, cuDNN 9 and CUDA 13", binary.display());
    note!("CUDA checks passed in {:.0} s; no kernel was run on a device", started.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

fn timed<T>(name: &str, step: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    note!("== {name}");
    let started = Instant::now();
    let result = step().with_context(|| format!("{name} failed"))?;
    note!("== {name}: {:.0} s", started.elapsed().as_secs_f64());
    Ok(result)
}

/// Runs a command; its name is in the error.
fn ran(command: &mut Command) -> anyhow::Result<()> {
    let text = format!("{command:?}");
    let status = command.status().with_context(|| format!("running {text}"))?;
    ensure!(status.success(), "{text}: {status}");
    Ok(())
}

/// The folder `nvidia` of the virtual environment, made if it is not there.
fn toolkit(target: &Path) -> anyhow::Result<PathBuf> {
    let environment = target.join("toolkit");
    let find = || {
        let libraries = std::fs::read_dir(environment.join("lib")).into_iter().flatten().filter_map(Result::ok);
        let mut folders = libraries.map(|python| python.path().join("site-packages/nvidia"));
        folders.find(|n| n.join("cu13/bin/nvcc").is_file() && n.join("cudnn/lib").is_dir())
    };
    if let Some(found) = find() {
        return Ok(found);
    }
    ran(Command::new("python3").args(["-m", "venv"]).arg(&environment))
        .context("a Python 3 with venv makes the virtual environment")?;
    ran(Command::new(environment.join("bin/pip")).args(["install", "--quiet"]).args(PACKAGES))?;
    find().with_context(|| format!("the packages {PACKAGES:?} hold no nvcc or no cuDNN where they are expected"))
}

fn names(toolkit: &Path) -> anyhow::Result<()> {
    let all = toolkit.join("cu13/lib");
    for library in LIBRARIES {
        let own = if library == "cudnn" { toolkit.join("cudnn/lib") } else { all.clone() };
        let versioned = std::fs::read_dir(&own)
            .with_context(|| format!("reading {}", own.display()))?
            .filter_map(Result::ok)
            .find(|file| file.file_name().to_string_lossy().starts_with(&format!("lib{library}.so.")))
            .with_context(|| format!("{} has no lib{library}.so.*", own.display()))?;
        ran(Command::new("ln").arg("-sfn").arg(versioned.path()).arg(all.join(format!("lib{library}.so"))))?;
    }
    Ok(())
}

/// A library with the driver's names and nothing behind them: the linker is content, and what needs no driver runs.
fn driver(toolkit: &Path) -> anyhow::Result<()> {
    let stubs = toolkit.join("cu13/lib/stubs");
    ran(Command::new("mkdir").arg("-p").arg(&stubs))?;
    let mut source = String::new();
    for name in driver_names()? {
        // 100 is CUDA_ERROR_NO_DEVICE, so that whoever asks is told so.
        source.push_str(&format!("int {name}(void) {{ return 100; }}\n"));
    }
    let library = stubs.join("libcuda.so");
    compile(&source, Command::new("cc").args(["-shared", "-Wl,-soname,libcuda.so.1", "-o"]).arg(library))?;
    ran(Command::new("ln").args(["-sfn", "libcuda.so"]).arg(stubs.join("libcuda.so.1")))
}

/// The functions of the driver that cudarc names.
fn driver_names() -> anyhow::Result<Vec<String>> {
    let listed = cargo(&["metadata", "--locked", "--format-version", "1", "--features", "xtask/cudnn"]).output()?;
    ensure!(listed.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&listed.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&listed.stdout)?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let manifest = packages.iter().find(|p| p["name"] == "cudarc").and_then(|p| p["manifest_path"].as_str());
    let manifest = PathBuf::from(manifest.context("cargo metadata knows no cudarc")?);
    let path = manifest.with_file_name("src").join("driver/sys/mod.rs");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let named = text.split("fn cu").skip(1).filter_map(|rest| rest.split_once('('));
    let plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let named = named.map(|(name, _)| name).filter(plain);
    let mut names: Vec<String> = named.map(|name| format!("cu{name}")).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        bail!("{} names no function of the driver", path.display());
    }
    Ok(names)
}

/// Builds the program; `link` goes to the compiler for its last step.
fn build(args: &Args, target: &Path, toolkit: &Path, link: &[String]) -> anyhow::Result<()> {
    let cuda = toolkit.join("cu13");
    let what = if link.is_empty() { ["build", "--package", "xtask"] } else { ["rustc", "--package", "xtask"] };
    let mut command = cargo(&what);
    command.args(["--bin", "umt", "--release", "--locked", "--features", "cudnn"]).arg("--target-dir").arg(target);
    for name in ["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR"] {
        command.env(name, &cuda);
    }
    let mut path = vec![cuda.join("bin")];
    path.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    command.env("PATH", std::env::join_paths(path)?);
    command.env("NVCC", cuda.join("bin/nvcc")).env("CUDA_COMPUTE_CAP", &args.capability);
    if let Some(jobs) = args.jobs {
        command.arg("--jobs").arg(jobs.to_string()).env("CUDAFORGE_THREADS", jobs.to_string());
    }
    if !link.is_empty() {
        command.arg("--").args(link);
    }
    ran(&mut command)
}

/// Links once more, with something in the place of candle's kernels for quantised weights, which nothing here calls: 33 MB of the program. They lie
/// in a library whose members are taken for the functions they define; an object that comes first defines these, so that none is taken.
fn lean(args: &Args, target: &Path, toolkit: &Path) -> anyhow::Result<()> {
    let built = target.join("release/build");
    let folders = std::fs::read_dir(&built).with_context(|| format!("reading {}", built.display()))?;
    let archives = folders.filter_map(Result::ok).map(|folder| folder.path().join("out/libmoe.a"));
    let modified = |path: &PathBuf| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    let archive = archives.filter(|path| path.is_file()).max_by_key(modified);
    let archive = archive.with_context(|| format!("{} holds no library of candle's kernels", built.display()))?;
    let listed = Command::new("nm").args(["-g", "--defined-only"]).arg(&archive).output().context("running nm")?;
    ensure!(listed.status.success(), "nm: {}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).context("names in candle's kernels")?;
    let names = listed.lines().filter_map(|line| line.split_once(" T ")).map(|(_, name)| name);
    // What is called from Rust has a plain name.
    let mut names: Vec<&str> = names.filter(|name| !name.starts_with("_Z")).collect();
    names.sort_unstable();
    names.dedup();
    let functions: String = names.iter().map(|name| format!("void {name}(void) {{ abort(); }}\n")).collect();
    let object = target.join("unused.o");
    compile(&format!("#include <stdlib.h>\n{functions}"), Command::new("cc").arg("-c").arg("-o").arg(&object))?;
    let linker = target.join("linker.sh");
    let script = format!("#!/bin/sh\nexec cc '{}' \"$@\"\n", object.display());
    umt_store::Store::shared(target)?.commit(&linker, script.as_bytes())?;
    ran(Command::new("chmod").arg("+x").arg(&linker))?;
    let linker = linker.to_str().context("the path of the project is not UTF-8")?;
    build(args, target, toolkit, &["-C".into(), format!("linker={linker}"), "-C".into(), "strip=symbols".into()])
}

/// Compiles C.
fn compile(source: &str, compiler: &mut Command) -> anyhow::Result<()> {
    let mut compiler = compiler.args(["-fPIC", "-x", "c", "-"]).stdin(Stdio::piped()).spawn().context("running cc")?;
    compiler.stdin.take().context("no way to give cc its source")?.write_all(source.as_bytes())?;
    let status = compiler.wait()?;
    ensure!(status.success(), "cc: {status}");
    Ok(())
}

/// Runs a script that a developer runs too.
fn peer(script: &str, arguments: &[&OsStr]) -> anyhow::Result<()> {
    ran(Command::new("python3").arg(root().join("tests/peers").join(script)).args(arguments))
}

/// NVRTC itself needs no driver, so the program compiles its kernels here exactly as it does where it runs.
fn kernels(binary: &Path, toolkit: &Path) -> anyhow::Result<()> {
    let folders = [toolkit.join("cu13/lib"), toolkit.join("cu13/lib/stubs"), toolkit.join("cudnn/lib")];
    let mut command = Command::new(binary);
    command.args(["bench", "gpu-check", "--compile-only", ARCHITECTURES]);
    ran(command.env("LD_LIBRARY_PATH", std::env::join_paths(folders)?))
}
