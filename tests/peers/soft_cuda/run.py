"""`bench gpu-check` of a build with CUDA on a machine without a GPU: a driver, a compiler and a cuDNN that compute on the host stand in.

    cargo xtask check cuda
    python tests/peers/soft_cuda/run.py target/cuda/release/xtask [TEXT]

It shows what a compiler cannot: that every launch passes its kernel's arguments, that memory is large enough and alive, that streams wait for
each other, and how cuDNN is called. It cannot show speed, nor the kernels of candle and cuDNN themselves, which have others in their place. Needs c++ and nm. Slow: a device has thousands of threads, the host has one.
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


def main(binary, only):
    own = {"cuda": ["driver.cpp", "candle.cpp"], "nvrtc": ["nvrtc.cpp"], "cudnn": ["cudnn.cpp"], "cublas": ["cublas.cpp"]}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        wanted = undefined(binary)
        wanted_versions = versions(binary)
        mine = defined(*(s for sources in own.values() for s in sources))
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
        log = folder / "launched"
        environment = dict(os.environ, LD_LIBRARY_PATH=str(folder), SOFT_CUDA=str(folder), SOFT_CUDA_COMPILE=str(HERE / "compile.py"),
                           SOFT_CUDA_LOG=str(log))
        report = folder / "report.json"
        command = [binary, "bench", "gpu-check", "--no-timings", "--only", only, "--json", report]
        code = subprocess.run(command, env=environment, cwd=folder).returncode
        launched = {line.split()[0] for line in log.read_text().splitlines()} if log.exists() else set()
        sources = (HERE.parents[2] / "crates/umt-nn/src/cuda/kernels").glob("*.cu")
        kernels = {n for s in sources for n in re.findall(r"^KERNEL (\w+)\(", s.read_text(), re.M)}
        print(f"{len(kernels & launched)} of {len(kernels)} kernels were launched; not: {', '.join(sorted(kernels - launched)) or 'none'}")
        return code


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
