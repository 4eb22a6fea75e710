"use strict";
// Curves are drawn here, so that smoothing can change without a new file. The same numbers are in each chart's table.
(() => {
  const data = JSON.parse(document.getElementById("curve-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const hues = [212, 24, 130, 280, 350, 180, 50, 310, 95, 240];
  const colour = (i) => `hsl(${hues[i % hues.length]} 70% ${dark.matches ? 68 : 38}%)`;
  const dash = (i) => ["", "7 4", "2 3", "10 3 2 3"][Math.floor(i / hues.length) % 4];
  const smooth = (values, share) => {
    let mean = null;
    return values.map((v) => (mean = mean === null ? v : share * mean + (1 - share) * v));
  };
  const text = (v) => (Math.abs(v) >= 1000 || (v !== 0 && Math.abs(v) < 0.01) ? v.toExponential(1) : String(+v.toPrecision(3)));
  const make = (name, attributes, parent, content) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (content !== undefined) node.textContent = content;
    parent.append(node);
    return node;
  };
  const draw = () => {
    const share = Number(document.getElementById("smoothing").value);
    data.charts.forEach((chart, c) => {
      const svg = document.getElementById(`chart-${c}`);
      svg.replaceChildren();
      make("title", {}, svg, chart.title);
      const [w, h, left, top, right, bottom] = [520, 260, 52, 12, 8, 28];
      const lines = chart.lines.map((line) => ({ ...line, shown: smooth(line.y, share) }));
      const xs = lines.flatMap((l) => l.x), ys = lines.flatMap((l) => l.shown);
      let [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
      if (x0 === x1) x1 = x0 + 1;
      if (y0 === y1) [y0, y1] = [y0 - 0.5, y1 + 0.5];
      const px = (x) => left + ((x - x0) / (x1 - x0)) * (w - left - right);
      const py = (y) => h - bottom - ((y - y0) / (y1 - y0)) * (h - top - bottom);
      for (let i = 0; i <= 4; i++) {
        const y = y0 + ((y1 - y0) * i) / 4;
        make("line", { x1: left, x2: w - right, y1: py(y), y2: py(y), stroke: "var(--line)" }, svg);
        make("text", { x: left - 5, y: py(y) + 4, "text-anchor": "end" }, svg, text(y));
      }
      const steps = Math.min(6, Math.round(x1 - x0)) || 1;
      for (let i = 0; i <= steps; i++) {
        const x = Math.round(x0 + ((x1 - x0) * i) / steps);
        make("text", { x: px(x), y: h - 9, "text-anchor": "middle" }, svg, x);
      }
      for (const line of lines) {
        const points = line.x.map((x, i) => `${px(x).toFixed(1)},${py(line.shown[i]).toFixed(1)}`).join(" ");
        const stage = data.stages.indexOf(line.stage);
        const path = make("polyline", { points, fill: "none", stroke: colour(stage), "stroke-width": 2, "stroke-dasharray": dash(stage) }, svg);
        make("title", {}, path, `${line.stage}: ${text(line.y[line.y.length - 1])} at the end`);
      }
    });
    data.stages.forEach((_, i) => { document.getElementById(`key-${i}`).style.background = colour(i); });
  };
  document.getElementById("smoothing").addEventListener("input", draw);
  dark.addEventListener("change", draw);
  draw();
})();
