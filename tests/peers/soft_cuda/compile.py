"""Compiles a source of kernels for the host: `compile.py SOURCE FOLDER` prints the library's path. Called by driver.cpp."""
import hashlib
import pathlib
import re
import subprocess
import sys

SHIM = """
#include <cmath>
#include <cstring>
#define __global__
#define __device__
#define __forceinline__ inline
struct Dim { long x; };
static thread_local Dim blockIdx, threadIdx, blockDim;
static inline float __uint_as_float(unsigned v) { float f; memcpy(&f, &v, 4); return f; }
static inline unsigned __float_as_uint(float f) { unsigned v; memcpy(&v, &f, 4); return v; }
"""

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
    subprocess.run(["c++", "-O2", "-std=c++17", "-shared", "-fPIC", "-w", "-o", library, cpp], check=True)
print(library)
