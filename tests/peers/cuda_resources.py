"""What the device's compiler makes of the CUDA kernels, of which none needs a device: registers, spills, accesses of 16 bytes, 64-bit divisions.

    cargo xtask check cuda          brings the compiler
    python tests/peers/cuda_resources.py [CAPABILITY]

Fails when a kernel keeps values in memory that should be in registers, divides 64-bit numbers, or goes through activations or parameters without
accesses of 16 bytes.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNELS = ROOT / "crates/umt-nn/src/cuda/kernels"
# One value for each thread: sums by channel or of few values, convolutions where cuDNN has none, a row of logits.
NARROW = {
    "add_shares", "statistics", "backward_factors", "fold", "finish", "finish_groups", "squared_distance", "cross_entropy", "conv_forward",
    "conv_grad_input", "conv_grad_weight", "weight_to_cudnn", "weight_from_cudnn",
}


def report(nvcc, source, macros, capability, folder):
    """(kernel, registers, bytes of stack and spills, wide loads, wide stores, 64-bit divisions) of each kernel of a source."""
    text = folder / "source.cu"
    text.write_text((KERNELS / "prelude.cu").read_text() + source.read_text())
    flags = ["-std=c++17", *(f"-D{macro}" for macro in macros)]
    run = lambda *more: subprocess.run([nvcc, *flags, *more, text], check=True, capture_output=True, text=True)
    told = run(f"-arch=sm_{capability}", "-cubin", "-Xptxas", "-v", "-o", folder / "source.cubin").stderr
    run(f"-arch=compute_{capability}", "-ptx", "-o", folder / "source.ptx")
    bodies = (folder / "source.ptx").read_text().split(".entry ")[1:]
    bodies = {body.split("(")[0]: body for body in bodies}
    for name, stack, stores, loads, registers in re.findall(
        r"entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers", told, re.S
    ):
        body = bodies[name]
        count = lambda pattern: len(re.findall(pattern, body))
        yield (name, int(registers), int(stack) + int(stores) + int(loads), count(r"ld\.global\S*\.v4"), count(r"st\.global\S*\.v4"),
               count(r"(?:div|rem)\.[su]64"))


def main(capability="90"):
    nvcc = next((ROOT / "target/cuda/toolkit/lib").glob("python3*/site-packages/nvidia/cu13/bin/nvcc"))
    wrong = []
    print("| kernel | values | registers | spilled | wide loads | wide stores | 64-bit divisions |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted(KERNELS.glob("*.cu")):
            if source.name == "prelude.cu":
                continue
            # Parameters are f32 at every precision.
            for kind, macros in [("f32", []), ("bf16", ["BF16"])][: 1 if source.name == "many.cu" else 2]:
                for name, registers, spilled, loads, stores, divisions in report(nvcc, source, macros, capability, pathlib.Path(folder)):
                    print(f"| {name} | {kind} | {registers} | {spilled} | {loads} | {stores} | {divisions} |")
                    if spilled or divisions or (loads == 0 and name not in NARROW):
                        wrong.append(f"{name} in {kind}")
    print("none is wrong" if not wrong else f"WRONG: {', '.join(wrong)}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
