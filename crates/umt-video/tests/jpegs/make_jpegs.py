"""Writes small jpegs of every coding and sampling, and libjpeg's pixels of them.

Developer's tool: needs Pillow and the cjpeg and jpegtran commands (libjpeg-turbo).
"""
import io, json, os, subprocess
from PIL import Image

here = os.path.dirname(os.path.abspath(__file__))
W, H = 50, 38
image = Image.new("RGB", (W, H))
image.putdata([(x * 5, y * 6, (x * y) // 8 % 256) for y in range(H) for x in range(W)])
ppm = io.BytesIO()
image.save(ppm, "ppm")
each = "0;1;2;"
forms = {
    "444": ["-sample", "1x1,1x1,1x1"], "422": ["-sample", "2x1,1x1,1x1"], "420": ["-sample", "2x2,1x1,1x1"],
    "440": ["-sample", "1x2,1x1,1x1"], "411": ["-sample", "4x1,1x1,1x1"], "410": ["-sample", "4x2,1x1,1x1"],
    "chroma-2x1": ["-sample", "1x1,2x1,2x1"], "chroma-2x2": ["-sample", "1x1,2x2,2x2"],
    "chroma-1x2": ["-sample", "1x1,1x2,1x2"], "mixed": ["-sample", "2x1,1x2,1x1"], "one-chroma": ["-sample", "2x2,2x1,1x1"],
    "all-2x1": ["-sample", "2x1,2x1,2x1"],
    "progressive": ["-progressive", "-sample", "2x2,1x1,1x1"], "progressive-chroma": ["-progressive", "-sample", "1x1,2x1,2x1"],
    "restart": ["-restart", "2B", "-sample", "2x2,1x1,1x1"], "progressive-restart": ["-progressive", "-restart", "3B"],
    "grey": ["-grayscale"], "optimized": ["-optimize"], "scans": ["-scans", "SCANS"], "scans-420": ["-sample", "2x2,1x1,1x1", "-scans", "SCANS"],
    "scans-restart": ["-sample", "2x2,1x1,1x1", "-restart", "3B", "-scans", "SCANS"], "scans-two": ["-sample", "2x1,1x1,1x1", "-scans", "TWO"],
    "arithmetic": ["-arithmetic"],
}
scripts = {"SCANS": "0;1;2;", "TWO": "0;1 2;"}
for name, text in scripts.items():
    open(os.path.join(here, name), "w").write(text)
golden = {}
for name, options in forms.items():
    options = [os.path.join(here, o) if o in scripts else o for o in options]
    data = subprocess.run(["cjpeg", "-quality", "85", *options], input=ppm.getvalue(), capture_output=True, check=True).stdout
    open(os.path.join(here, name + ".jpg"), "wb").write(data)
    if name != "arithmetic":
        pixels = list(Image.open(io.BytesIO(data)).convert("RGB").getdata())
        golden[name] = [list(p) for p in pixels[::19]]
for name in scripts:
    os.remove(os.path.join(here, name))
json.dump(golden, open(os.path.join(here, "golden.json"), "w"), separators=(",", ":"))
