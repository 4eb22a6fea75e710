"""Compiles a source of kernels for the host: `compile.py SOURCE FOLDER` prints the library's path. Called by driver.cpp."""
import hashlib
import pathlib
import platform
import re
import runpy
import subprocess
import sys

SHIM = runpy.run_path(str(pathlib.Path(__file__).with_name("shim.py")))["SHIM"]

source, folder = map(pathlib.Path, sys.argv[1:])
text = source.read_text()
library = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
if not library.exists():
    code = SHIM + text
    for name, arguments in re.findall(r"^KERNEL (\w+)\(([^)]*)\)", text, re.M):
        kinds = [a.strip().rsplit(None, 1) for a in arguments.replace("\n", " ").split(",")]
        kinds = [kind + "*" * name.count("*") for kind, name in kinds]
        passed = ", ".join(f"*({kind}*)values[{i}]" for i, kind in enumerate(kinds))
        code += f"""
extern "C" {{
int count_{name} = {len(kinds)};
long sizes_{name}[] = {{ {", ".join(f"(long)sizeof({kind})" for kind in kinds)} }};
void run_{name}(void** values, long blocks, long threads) {{
    blockDim.x = threads;
    for (long block = 0; block < blocks; block++)
        for (long thread = 0; thread < threads; thread++) {{
            blockIdx.x = block; threadIdx.x = thread;
            {name}({passed});
        }}
}}
}}"""
    cpp = library.with_suffix(".cpp")
    cpp.write_text(code)
    # As the device's compiler does, products and sums are fused where the source does not forbid it.
    fused = ["-mfma", "-ffp-contract=fast"] if platform.machine() == "x86_64" else ["-ffp-contract=fast"]
    subprocess.run(["c++", "-O2", "-std=c++17", *fused, "-shared", "-fPIC", "-w", "-o", library, cpp], check=True)
print(library)
