// Draws the page's figures as SVG: lines, points, bars, on linear, logarithmic and named
// axes. A figure is data and layout as Plotly has them, of which this knows what the
// report uses. Colours are the page's own, by class, so that dark and print need nothing.
(function () {
  const SVG = "http://www.w3.org/2000/svg";
  const ENTITIES = { lt: "<", gt: ">", amp: "&", quot: '"', "#x27": "'" };
  const plain = (text) => String(text === undefined ? "" : text)
    .replace(/<br>/g, " ").replace(/&(lt|gt|amp|quot|#x27);/g, (_, name) => ENTITIES[name]);

  function node(parent, name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return parent.appendChild(made);
  }

  const cut = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);

  function said(value, format) {
    if (typeof value !== "number") return plain(value);
    if (format === "~%") return +(value * 100).toPrecision(4) + " %";
    if (format === "d") return String(Math.round(value));
    const short = Number(value.toPrecision(5));
    const small = short !== 0 && Math.abs(short) < 1e-4;
    return small ? short.toExponential() : short.toLocaleString("en", { maximumFractionDigits: 6 });
  }

  function nice(low, high, count, fixed) {
    const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
    const step = fixed || [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
    const ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) {
      ticks.push(Number((i * step).toPrecision(12)));
    }
    return ticks;
  }

  // From values to pixels 0..length; `ticks` are [value, label].
  function scale(axis, values, length, count) {
    const known = values.filter((v) => v !== null && v !== undefined);
    if (axis.type === "category" || known.some((v) => typeof v === "string")) {
      const names = [...new Set(known.map(String))];
      if (axis.categoryorder) names.sort();
      const band = length / Math.max(names.length, 1);
      const at = new Map(names.map((name, i) => [name, (i + 0.5) * band]));
      return { at: (v) => at.get(String(v)), ticks: names.map((n) => [n, plain(n)]), band };
    }
    const log = axis.type === "log", to = log ? Math.log10 : (v) => v;
    const usable = known.filter((v) => Number.isFinite(v) && (!log || v > 0)).map(to);
    let low = Math.min(...usable), high = Math.max(...usable);
    if (!usable.length) [low, high] = [0, 1];
    if (axis.rangemode === "tozero") [low, high] = [Math.min(low, 0), Math.max(high, 0)];
    const spread = high - low || Math.abs(high) || 1, pad = spread * 0.04;
    if (high === low) [low, high] = [low - spread / 2, high + spread / 2];
    if (axis.range) [low, high] = axis.range;
    else {
      low -= axis.rangemode === "tozero" && low === 0 ? 0 : pad;
      high += pad;
    }
    const inside = (v) => to(v) >= low - 1e-9 && to(v) <= high + 1e-9;
    let ticks;
    if (axis.ticktext) ticks = axis.tickvals.map((v, i) => [v, plain(axis.ticktext[i])]);
    else {
      const fixed = axis.dtick && axis.dtick * count * 2 > high - low ? axis.dtick : 0;
      const chosen = axis.tickvals || (log ? [] : nice(low, high, count, fixed));
      ticks = chosen.filter(inside).map((v) => [v, said(v, axis.tickformat)]);
    }
    const at = (v) => (!Number.isFinite(v) || (log && v <= 0) ? undefined
      : ((to(v) - low) / (high - low)) * length);
    return { at, ticks, band: 0, zero: log ? undefined : at(Math.max(low, Math.min(0, high))) };
  }

  function marker(parent, trace, x, y, title) {
    const { color, size = 7, symbol = "circle" } = trace.marker || {};
    const paint = color || (trace.line || {}).color, r = size / 2;
    const shapes = {
      x: `M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}`,
      "triangle-down": `M${x - r} ${y - r}H${x + r}L${x} ${y + r}Z`,
      circle: `M${x - r} ${y}a${r} ${r} 0 1 0 ${size} 0a${r} ${r} 0 1 0 ${-size} 0Z`,
    };
    const style = symbol === "x" ? { stroke: paint, "stroke-width": 2 } : { fill: paint };
    const drawn = node(parent, "path", { d: shapes[symbol] || shapes.circle, ...style });
    if (title) node(drawn, "title", {}, title);
  }

  function path(trace, X, Y) {
    let d = "", pen = "M", last;
    trace.x.forEach((value, i) => {
      const x = X.at(value), y = Y.at(trace.y[i]);
      if (x === undefined || y === undefined) { pen = "M"; return; }
      if (pen === "L" && (trace.line || {}).shape === "hv") d += `H${x.toFixed(1)}`;
      d += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      [pen, last] = ["L", x];
    });
    return [d, last];
  }

  function draw(plot) {
    const { data, layout } = JSON.parse(plot.nextElementSibling.textContent);
    const xs = data.flatMap((t) => t.x), bars = data.filter((t) => t.type === "bar");
    const tops = new Map();
    for (const bar of bars) bar.x.forEach((v, i) => tops.set(v, (tops.get(v) || 0) + bar.y[i]));
    const reach = data.flatMap((t) => (t.error_x ? t.x.flatMap((v, i) => [
      v + t.error_x.array[i], v - (t.error_x.arrayminus || t.error_x.array)[i]]) : []));
    const ys = [...data.filter((t) => t.type !== "bar").flatMap((t) => t.y), ...tops.values()];
    if (bars.length) ys.push(0);
    plot.replaceChildren();
    legend(plot, data, layout);
    const names = scale(layout.yaxis, ys, 1, 6), rows = names.band ? names.ticks.length : 0;
    const wide = plot.clientWidth || 900, letters = Math.max(0, ...names.ticks.map((t) => t[1].length));
    const most = Math.max(8, Math.floor((wide * 0.4) / 6.6));
    const hidden = layout.yaxis.visible === false;
    const left = hidden ? 8 : (names.band ? 12 : 34) + 6.8 * Math.min(letters, most);
    const high = rows ? Math.max(120, rows * Math.max(22, 9 * data.length) + 60) : plot.classList.contains("square") ? Math.min(wide, 460) : 300;
    const width = Math.max(60, wide - left - 14), height = high - 50;
    const svg = node(plot, "svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", class: "drawn" });
    const inner = node(svg, "g", { transform: `translate(${left.toFixed(1)} 8)` });
    if (bars.length) layout.yaxis.rangemode = "tozero";
    const X = scale(layout.xaxis, [...xs, ...reach], width, Math.max(2, Math.round(width / 110)));
    const down = scale(layout.yaxis, ys, height, 6);
    const flipped = layout.yaxis.autorange === "reversed" || down.band;
    const Y = { ...down, at: (v) => { const p = down.at(v); return p === undefined ? p : flipped ? p : height - p; } };
    axes(inner, layout, X, Y, { width, height, left, most, hidden });
    const stacked = new Map();
    for (const trace of data) {
      const group = node(inner, "g", { opacity: trace.opacity || 1 }), name = plain(trace.name);
      if (trace.type === "bar") {
        trace.x.forEach((value, i) => {
          const from = stacked.get(value) || 0, to = from + trace.y[i];
          stacked.set(value, to);
          const thick = Math.min(X.band * 0.8, 90), top = Y.at(Math.max(from, to));
          const bar = node(group, "rect", { x: X.at(value) - thick / 2, y: top, width: thick,
            height: Math.abs(Y.at(from) - Y.at(to)), fill: trace.marker.color });
          node(bar, "title", {}, `${plain(value)}, ${name}: ${said(trace.y[i], layout.yaxis.tickformat)}`);
        });
        continue;
      }
      const line = trace.line || {}, mode = trace.mode || "lines";
      if (mode.includes("lines")) {
        const [d, last] = path(trace, X, Y);
        const dash = { dash: "7 4", dot: "2 3" }[line.dash];
        if (trace.fill && d) {
          const floor = Y.at(0) === undefined ? height : Y.at(0), first = d.slice(1).split(" ")[0];
          node(group, "path", { d: `${d}L${last.toFixed(1)} ${floor}L${first} ${floor}Z`, fill: line.color, opacity: 0.25 });
        }
        node(group, "path", { d, fill: "none", stroke: line.color, "stroke-width": line.width || 1.6,
          ...(dash ? { "stroke-dasharray": dash } : {}) });
      }
      const near = trace.x.length <= 120;  // of longer curves no point can be met
      trace.x.forEach((value, i) => {
        const x = X.at(value), y = Y.at(trace.y[i]);
        if (x === undefined || y === undefined) return;
        const error = trace.error_x;
        if (error) {
          const [a, b] = [value - (error.arrayminus || error.array)[i], value + error.array[i]].map(X.at);
          node(group, "path", { d: `M${a} ${y}H${b}`, stroke: trace.marker.color });
        }
        const title = [name, (trace.text || [])[i] && plain(trace.text[i]),
          `${said(value, layout.xaxis.tickformat)}: ${said(trace.y[i], layout.yaxis.tickformat)}`].filter(Boolean).join(", ");
        if (mode.includes("markers")) marker(group, trace, x, y, title);
        else if (near && trace.hoverinfo !== "skip") {
          node(node(group, "circle", { cx: x, cy: y, r: 5, fill: "transparent" }), "title", {}, title);
        }
      });
    }
    for (const mark of layout.annotations || []) {
      node(inner, "text", { x: X.at(mark.x) + 3, y: Y.at(mark.y) + 4, class: "mark" }, plain(mark.text));
    }
  }

  function axes(inner, layout, X, Y, { width, height, left, most, hidden }) {
    for (const [value, label] of hidden ? [] : Y.ticks) {
      const y = Y.at(value);
      node(inner, "path", { d: `M0 ${y}H${width}`, class: "grid" });
      const text = node(inner, "text", { x: -6, y: y + 4, class: "end" }, cut(label, most));
      if (label.length > most) node(text, "title", {}, label);
    }
    const room = X.ticks.length ? width / X.ticks.length : width;
    const longest = Math.max(1, ...X.ticks.map(([, label]) => label.length)) * 6.8;
    const every = X.band ? Math.max(1, Math.ceil((Math.min(longest, 120) + 8) / room)) : 1;
    const letters = Math.max(6, Math.floor((room * every) / 6.6) - 1);
    X.ticks.forEach(([value, label], i) => {
      const x = X.at(value);
      if (!X.band) node(inner, "path", { d: `M${x} 0V${height}`, class: "grid" });
      if (i % every) return;
      const text = node(inner, "text", { x, y: height + 17, class: "middle" }, cut(label, letters));
      if (label.length > letters) node(text, "title", {}, label);
    });
    const title = (axis) => plain((axis.title || {}).text);
    node(inner, "text", { x: width / 2, y: height + 36, class: "middle title" }, title(layout.xaxis));
    if (!hidden && !Y.band) {
      node(inner, "text", { transform: `translate(${12 - left} ${height / 2}) rotate(-90)`, class: "middle title" }, title(layout.yaxis));
    }
    node(inner, "path", { d: `M0 ${height}H${width}`, class: "axis" });
  }

  function legend(plot, data, layout) {
    const shown = data.filter((t) => t.showlegend !== false && plain(t.name));
    if (layout.showlegend === false || shown.length < 1) return;
    const list = plot.appendChild(document.createElement("ul"));
    list.className = "legend";
    for (const trace of shown) {
      const item = list.appendChild(document.createElement("li"));
      const key = node(item, "svg", { width: 18, height: 10 }), { color } = trace.type === "bar" ? trace.marker : trace.line || trace.marker;
      if (trace.type === "bar") node(key, "rect", { x: 2, width: 12, height: 10, fill: color });
      else if (trace.mode === "markers") marker(key, trace, 8, 5);
      else {
        const dash = { dash: "7 4", dot: "2 3" }[(trace.line || {}).dash];
        node(key, "path", { d: "M0 5H16", stroke: color, "stroke-width": 2.5, ...(dash ? { "stroke-dasharray": dash } : {}) });
      }
      item.append(plain(trace.name));
    }
  }

  const plots = Array.from(document.querySelectorAll(".plot"));
  plots.forEach(draw);
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => plots.forEach(draw), 150);
  });
})();
