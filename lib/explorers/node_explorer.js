function modusNodeExplorer(root, data) {
  "use strict";
  const K = data.labels.length, SIGNAL = "#0072b2", NOISE = "#d55e00", POSITIVE = [0, 107, 79], NEGATIVE = [204, 121, 167];
  const names = Object.keys(data.sites), places = [...new Set(names.map((s) => s.split(".")[1]))];
  const encoders = [...new Set(names.map((s) => s.split(".")[0]))];
  const option = (name) => new Option(name).outerHTML; // escaped

  root.innerHTML = `
    <style>
      .node-explorer { border: 1px solid #9998; border-radius: 6px; padding: 0.8em; font-size: 0.9rem; text-align: left; }
      .node-explorer .controls, .node-explorer .panels { display: flex; flex-wrap: wrap; gap: 0.6em 1.2em; align-items: end; }
      .node-explorer input[type=number] { box-sizing: border-box; height: 1.5em; min-height: 0; margin: 0; width: 5em; padding: 0 0.3em; border-width: 1px; }
      .node-explorer .panels { align-items: start; }
      .node-explorer label { display: flex; flex-direction: column; margin: 0; }
      .node-explorer select, .node-explorer input { font: inherit; max-width: 9em; }
      .node-explorer figure { margin: 0.6em 0 0; flex: 1 1 260px; max-width: 420px; }
      .node-explorer canvas { width: 100%; aspect-ratio: 1; background: #fff; border: 1px solid #9998; image-rendering: pixelated; }
      .node-explorer figcaption { color: inherit; text-align: left; }
      .node-explorer output { display: block; min-height: 1.5em; }
      .node-explorer figure.map { flex-basis: 300px; } .node-explorer canvas[name=map] { cursor: pointer; aspect-ratio: 3 / 2; image-rendering: auto; }
      .node-explorer button { font: inherit; color: inherit; background: none; border: 0; padding: 0 0.3em 0 0; text-decoration: underline; cursor: pointer; }
      .node-explorer [name=nodes] { max-height: 9em; overflow-y: auto; }
      .node-explorer ul { margin: 0 0 0.6em; padding-left: 1.3em; max-height: 15em; overflow-y: auto; }
      .node-explorer .key { display: inline-block; width: 0.8em; height: 0.8em; margin: 0 0.3em; border: 1px solid #9998; }
      .node-explorer .chosen { background: #111; border: 2px solid #fff; outline: 1px solid #9998; border-radius: 50%; }
    </style>
    <div class="controls">
      <label>label of interest <select name="label"><option value="-1">none</option>${data.labels.map((n, i) => `<option value="${i}"></option>`).join("")}</select></label>
      <label>encoder <select name="encoder">${encoders.map(option).join("")}</select></label>
      <label>place <select name="place">${places.map(option).join("")}</select></label>
      <label>node <input name="node" type="number" min="0" step="1" value="0"></label>
      <label>view <select name="view"><option>field</option><option>normalised</option><option>clipped</option></select></label>
      <label><span>threshold <span class="threshold"></span></span> <input name="threshold" type="range" min="0" max="0.95" step="0.05"></label>
    </div>
    <output name="statistics" aria-live="polite"></output>
    <div class="panels">
      <figure class="map"><canvas name="map" role="img" width="600" height="400"></canvas>
        <figcaption>All nodes of the site: labels recognised (across) and ones of noise (up). Click one.
          <span class="key chosen"></span>this node <span class="key" style="background:${SIGNAL}"></span>recognises the label of interest</figcaption></figure>
      <figure><figcaption><strong>Clusters of this node</strong><ul name="clusters"></ul><div name="nodes"></div></figcaption></figure>
    </div>
    <div class="panels">
      <figure><canvas name="left" role="img" width="${K * 4}" height="${K * 4}"></canvas>
        <figcaption>Labels in their order. Rows: true label; columns: output unit.</figcaption></figure>
      <figure><canvas name="right" role="img" width="${K * 4}" height="${K * 4}"></canvas>
        <figcaption>Clipped, clusters moved to the diagonal:
          <span class="key" style="background:${SIGNAL}"></span>cluster<span class="key" style="background:${NOISE}"></span>noise</figcaption></figure>
    </div>
    <output name="pointer">Point at a cell to read its labels.</output>`;

  const part = (name) => root.querySelector(`[name=${name}]`);
  const controls = ["encoder", "place", "node", "view", "threshold", "label"].map(part);
  const [encoder, place, node, view, threshold, label] = controls;
  data.labels.forEach((name, i) => (label.options[i + 1].textContent = name));
  encoder.value = encoders[encoders.length - 1];
  threshold.value = data.threshold;
  const unpacked = {};

  function numbers(packed) {
    const bytes = Uint8Array.from(atob(packed.q), (c) => c.charCodeAt(0));
    return { q: new Int16Array(bytes.buffer), unit: packed.unit };
  }
  function site(name) {
    if (!(name in unpacked)) unpacked[name] = data.sites[name].map(numbers);
    return unpacked[name];
  }
  function field(name, n) {
    const [m, w] = site(name), unit = m.unit[n] * w.unit[n], V = new Float64Array(K * K);
    for (let i = 0; i < K; i++) for (let j = 0; j < K; j++) V[i * K + j] = m.q[n * K + i] * w.q[n * K + j] * unit;
    return V;
  }
  function clusters(B) {
    let left = [...Array(K).keys()].filter((i) => B[i * K + i]);
    const found = [];
    while (left.length) {
      const c = [];
      for (const b of left) if (c.every((a) => B[a * K + b] && B[b * K + a])) c.push(b);
      found.push(c);
      left = left.filter((a) => !c.includes(a));
    }
    return found;
  }
  function paint(canvas, order, colour) {
    const context = canvas.getContext("2d"), d = canvas.width / K;
    context.clearRect(0, 0, canvas.width, canvas.height);
    order.forEach((i, y) => order.forEach((j, x) => {
      const c = colour(i, j);
      if (c) { context.fillStyle = c; context.fillRect(x * d, y * d, d, d); }
    }));
  }
  function shade(value) {
    const c = value < 0 ? NEGATIVE : POSITIVE;
    return `rgba(${c.join(",")},${Math.min(1, Math.abs(value))})`;
  }

  // of every node of a site: how many labels it recognises, its ones of noise, and its normalised diagonal
  let census = { key: "" };
  function count(name, t) {
    const key = `${name} ${t}`;
    if (census.key === key) return census;
    const nodes = site(name)[0].unit.length, found = [];
    for (let n = 0; n < nodes; n++) {
      const V = field(name, n), largest = V.reduce((a, b) => Math.max(a, b)), B = V.map((v) => (largest > 0 && v / largest > t ? 1 : 0));
      const groups = clusters(B);
      found.push({ labels: groups.reduce((a, c) => a + c.length, 0), noise: B.reduce((a, b) => a + b, 0) - groups.reduce((a, c) => a + c.length ** 2, 0),
        diagonal: [...Array(K).keys()].map((i) => (largest > 0 ? V[i * K + i] / largest : 0)) });
    }
    return (census = { key, found });
  }
  function map(name, t, chosen) {
    const { found } = count(name, t), canvas = part("map"), g = canvas.getContext("2d"), i = Number(label.value);
    const right = Math.max(1, ...found.map((f) => f.labels)), top = Math.max(1, ...found.map((f) => f.noise)), pad = 44;
    census.at = found.map((f) => [pad + (f.labels / right) * (canvas.width - 2 * pad), canvas.height - pad - (f.noise / top) * (canvas.height - 2 * pad)]);
    g.clearRect(0, 0, canvas.width, canvas.height);
    g.fillStyle = "#444"; g.font = "22px sans-serif"; g.strokeStyle = "#bbb";
    g.strokeRect(pad, pad, canvas.width - 2 * pad, canvas.height - 2 * pad);
    g.fillText("0", pad - 6, canvas.height - 16);
    g.textAlign = "right"; g.fillText(`${right} labels`, canvas.width - pad, canvas.height - 16); g.textAlign = "left";
    g.fillText(`${top} ones of noise`, pad, pad - 12);
    const draw = (n, colour, r) => { g.fillStyle = colour; g.beginPath(); g.arc(...census.at[n], r, 0, 7); g.fill(); };
    found.forEach((f, n) => draw(n, i >= 0 && f.diagonal[i] > t ? SIGNAL : "#8888", 5));
    draw(chosen, "#111", 8);
    canvas.setAttribute("aria-label", `Nodes of ${name} by labels recognised and noise; node ${chosen} has ${found[chosen].labels} and ${found[chosen].noise}`);
    const speak = i < 0 ? [] : found.map((f, n) => [f.diagonal[i], n]).filter(([v]) => v > t).sort((a, b) => b[0] - a[0]);
    part("nodes").textContent = i < 0 ? "A label of interest shows here which nodes of the site recognise it." : `${speak.length} of ${found.length} nodes of ${name} recognise ${data.labels[i]}, most clearly first (value on the diagonal): `;
    for (const [v, n] of speak) {
      const button = document.createElement("button");
      button.textContent = `${n} (${v.toFixed(2)})`;
      button.addEventListener("click", () => choose(n));
      part("nodes").append(button);
    }
    root.dataset.nodes = JSON.stringify(speak.map(([, n]) => n));
  }
  function choose(n) {
    node.value = n;
    changed();
  }
  function take(name, value) {
    const control = controls.find((c) => c.name === name), before = control && control.value;
    if (!control) return;
    control.value = value;
    if (control.value === "") control.value = before; // no such option, or no number
  }
  function changed() {
    update();
    remember(controls.map((c) => [c.name, c.value]));
  }

  let state;
  function update() {
    const name = `${encoder.value}.${place.value}`, t = Number(threshold.value), count = site(name)[0].unit.length;
    node.max = count - 1;
    const n = Math.max(0, Math.min(count - 1, Math.round(Number(node.value)) || 0));
    if (document.activeElement !== node) node.value = n;
    root.querySelector(".threshold").textContent = t.toFixed(2);
    const V = field(name, n), largest = V.reduce((a, b) => Math.max(a, b)), silent = largest <= 0;
    const S = V.map((v) => (silent ? 0 : v / largest)), B = S.map((s) => (s > t ? 1 : 0)), found = clusters(B);
    const member = Array(K).fill(-1);
    found.forEach((c, k) => c.forEach((i) => (member[i] = k)));
    const sorted = [...found].sort((a, b) => b.length - a.length || a[0] - b[0]).flat();
    const natural = [...Array(K).keys()], order = sorted.concat(natural.filter((i) => member[i] < 0));
    const kind = (i, j) => (B[i * K + j] ? (member[i] >= 0 && member[i] === member[j] ? SIGNAL : NOISE) : null);
    const scale = V.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
    const left = { field: (i, j) => shade(V[i * K + j] / scale), normalised: (i, j) => shade(S[i * K + j]), clipped: kind }[view.value];
    paint(part("left"), natural, left);
    paint(part("right"), order, kind);
    const inside = found.reduce((a, c) => a + c.length ** 2, 0), ones = B.reduce((a, b) => a + b, 0);
    const size = found.length ? (sorted.length / found.length).toFixed(1) : "none";
    part("statistics").textContent = silent ? `Node ${n} of ${name} is silent: its field is nowhere positive.`
      : `Node ${n} of ${name}: ${found.length} clusters, mean size ${size}, noise ${ones - inside} of ${ones} ones, largest field ${largest.toPrecision(3)}.`;
    const several = found.filter((c) => c.length > 1), alone = found.filter((c) => c.length === 1).flat(), named = (c) => c.map((i) => data.labels[i]).join(", ");
    part("clusters").replaceChildren(...several.map(named).concat(alone.length ? [`alone on the diagonal: ${named(alone)}`] : found.length ? [] : ["none"]).map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }));
    part("left").setAttribute("aria-label", `${view.value} of node ${n} at ${name}`);
    part("right").setAttribute("aria-label", `${found.length} clusters of node ${n} at ${name}`);
    map(name, t, n);
    root.dataset.clusters = JSON.stringify(found);
    state = { V, S, natural, order, kind };
  }
  function point(event, order) {
    const box = event.target.getBoundingClientRect(), at = (v, size) => Math.min(K - 1, Math.max(0, Math.floor((v / size) * K)));
    const i = order[at(event.clientY - box.top, box.height)], j = order[at(event.clientX - box.left, box.width)];
    const colour = state.kind(i, j), what = colour === SIGNAL ? ", in a cluster" : colour === NOISE ? ", noise" : "";
    part("pointer").textContent = `true label ${data.labels[i]}, output ${data.labels[j]}: field ${state.V[i * K + j].toPrecision(3)}, normalised ${state.S[i * K + j].toFixed(2)}${what}`;
  }
  controls.forEach((c) => c.addEventListener("input", changed));
  part("map").addEventListener("click", (event) => {
    const canvas = event.target, box = canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * canvas.width, y = ((event.clientY - box.top) / box.height) * canvas.height;
    choose(census.at.reduce((best, [a, b], n) => { const d = (a - x) ** 2 + (b - y) ** 2; return d < best[0] ? [d, n] : best; }, [Infinity, 0])[1]);
  });
  part("left").addEventListener("pointermove", (e) => point(e, state.natural));
  part("right").addEventListener("pointermove", (e) => point(e, state.order));
  const remember = modusAddress(root, take, update);
}
