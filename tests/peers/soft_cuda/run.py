"""`bench gpu-check` of a build with CUDA on a machine without a GPU: a driver, a compiler and a cuDNN that compute on the host stand in.

    cargo xtask check cuda
<<<<<<< HEAD
    python tests/peers/soft_cuda/run.py target/cuda/release/umt [TEXT]            the checks whose name contains TEXT
    python tests/peers/soft_cuda/run.py target/cuda/release/umt --kept [TEXT]     the same with freed memory kept, as in training
    python tests/peers/soft_cuda/run.py target/cuda/release/umt --count           what a settled training step asks for, against bounds
=======
    python tests/peers/soft_cuda/run.py target/cuda/release/umt [TEXT]
>>>>>>> 58ee49d (Recipes explain themselves, a dry run says what a plan costs, and an installed program is called umt)

It shows what a compiler cannot: that every launch passes its kernel's arguments, that memory is large enough and alive, that streams wait for
each other, how cuDNN is called, and how often the driver is. It cannot show speed, nor the kernels of candle and cuDNN themselves, which have
others in their place. Needs c++ and nm. Slow: a device has thousands of threads, the host has one.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
LIBRARIES = {
    "cuda": "libcuda.so.1", "nvrtc": "libnvrtc.so.13", "cublas": "libcublas.so.13", "cublasLt": "libcublasLt.so.13",
    "curand": "libcurand.so.10", "cudart": "libcudart.so.13", "cudnn": "libcudnn.so.9",
}
# Of libraries that only have to be there; whatever else they are asked to do is an error.
HARMLESS = re.compile(r"(Create|Destroy|SetStream|SetWorkspace|SetMathMode|Seed|Offset|Register|Init)")
# Most that a settled step may ask for, by case; look-ups of algorithms and page-locked memory it may not ask for at all.
BOUNDS = {
    "resnet18-224-b256 bf16": {"launches": 260, "allocations": 100, "waits": 1, "copies to the device": 16, "copies from the device": 2},
    "audio-video-w16-112-b32 bf16": {"launches": 500, "allocations": 100, "waits": 1, "copies to the device": 20, "copies from the device": 2},
    "esanet34-480x640-b4 bf16": {"launches": 1960, "allocations": 100, "waits": 9, "copies to the device": 20, "copies from the device": 10},
}


def undefined(binary):
    listed = subprocess.run(["nm", "-D", "--undefined-only", binary], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1].split("@")[0] for line in listed.splitlines()}


def defined(*sources):
    return set(re.findall(r"\b((?:cu|cublas|nvrtc|cudnn)[A-Z]\w*)\(", "".join((HERE / s).read_text() for s in sources)))


def owner(name):
    for prefix in ["cublasLt", "cublas", "curand", "cudnn", "nvrtc"]:
        if name.startswith(prefix):
            return prefix
    if re.match(r"(__)?cuda[A-Z]", name):
        return "cudart"
    return "cuda" if re.match(r"cu[A-Z]", name) else None


def versions(binary):
    """The version that the binary wants the names of a library under."""
    listed = subprocess.run(["objdump", "-p", binary], check=True, capture_output=True, text=True).stdout
    blocks = re.findall(r"required from (\S+):\n((?:\s+0x.*\n)+)", listed)
    return {file: sorted({line.split()[-1] for line in lines.strip().splitlines()}) for file, lines in blocks}


def build(binary, folder):
    """The libraries that stand in, in `folder`."""
    own = {"cuda": ["driver.cpp", "candle.cpp"], "nvrtc": ["nvrtc.cpp"], "cudnn": ["cudnn.cpp"], "cublas": ["cublas.cpp"]}
    wanted, wanted_versions = undefined(binary), versions(binary)
    for library, file in LIBRARIES.items():
        sources = own.get(library, [])
        names = sorted(n for n in wanted - defined(*sources) if owner(n) == library)
        code = 0 if library in ("cudart", "curand") else 801
        stubs = "".join(f"int {n}(void) {{ return {0 if HARMLESS.search(n) else code}; }}\n" for n in names)
        (folder / f"{library}.c").write_text(stubs + f"int stands_in_for_{library};\n")
        subprocess.run(["cc", "-c", "-w", "-fPIC", "-o", folder / f"{library}.o", folder / f"{library}.c"], check=True)
        script = folder / f"{library}.map"
        script.write_text("".join(f"{version} {{ global: *; }};\n" for version in wanted_versions.get(file, [])))
        versioned = [f"-Wl,--version-script={script}"] if file in wanted_versions else []
        needs = [folder / LIBRARIES["cuda"]] if library in ("cudnn", "cublas") else []
        subprocess.run(
            ["c++", "-O2", "-std=c++17", "-shared", "-fPIC", f"-Wl,-soname,{file}", *versioned, "-o", folder / file,
             *[HERE / s for s in sources], folder / f"{library}.o", *needs],
            check=True,
        )


def gpu_check(binary, folder, arguments, **extra):
    """Exit code, and what the driver was asked for: calls of kernels, and of everything else."""
    log = folder / "log"
    log.unlink(missing_ok=True)
    environment = dict(os.environ, LD_LIBRARY_PATH=str(folder), SOFT_CUDA=str(folder), SOFT_CUDA_COMPILE=str(HERE / "compile.py"),
                       SOFT_CUDA_LOG=str(log), **extra)
    command = [binary, "bench", "gpu-check", *arguments, "--json", folder / "report.json"]
    code = subprocess.run(command, env=environment, cwd=folder).returncode
    found = {"kernel": {}, "count": {}}
    for line in log.read_text().splitlines() if log.exists() else []:
        kind, rest = line.split(" ", 1)
        name, number = rest.rsplit(" ", 1)
        found[kind][name] = int(number)
    return code, found["kernel"], found["count"]


def checks(binary, folder, only, kept):
    memory = [] if kept else ["--free-memory"]
    code, launched, _ = gpu_check(binary, folder, ["--no-timings", "--only", only, *memory])
    sources = (HERE.parents[2] / "crates/umt-nn/src/cuda/kernels").glob("*.cu")
    kernels = {n for s in sources for n in re.findall(r"^KERNEL (\w+)\(", s.read_text(), re.M)}
    missed = sorted(kernels - launched.keys())
    print(f"{len(kernels) - len(missed)} of {len(kernels)} kernels were launched; not: {', '.join(missed) or 'none'}")
    return code


def count(binary, folder):
    """Of two runs that differ in the number of settled steps alone, the difference is what such steps ask for."""
    few, many, failed = 2, 6, False
    for case, bounds in BOUNDS.items():
        runs = []
        for steps in (few, many):
            code, kernels, calls = gpu_check(binary, folder, ["--only", case, "--fed-steps", str(steps)], SOFT_CUDA_IDLE="1")
            assert code == 0 and calls.get("convolutions"), f"{case}: gpu-check failed"
            runs.append({**{f"kernel {name}": n for name, n in kernels.items()}, **calls})
        step = {name: (runs[1].get(name, 0) - runs[0].get(name, 0)) / (many - few) for name in runs[1]}
        print(f"{case}, a settled step:")
        for name, number in sorted(step.items(), key=lambda item: (item[0].startswith("kernel "), -item[1])):
            if number:
                print(f"  {number:6.1f} {name}")
        for name in ("look-ups", "page-locked allocations", *bounds):
            if step.get(name, 0) > bounds.get(name, 0):
                print(f"FAIL {case}: {step[name]} {name}, at most {bounds.get(name, 0)}")
                failed = True
    return int(failed)


def main(binary, *options):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        build(binary, folder)
        if "--count" in options:
            return count(binary, folder)
        text = [option for option in options if option != "--kept"]
        return checks(binary, folder, text[0] if text else "", "--kept" in options)


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1]), *sys.argv[2:]))
