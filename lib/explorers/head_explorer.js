function modusHeadExplorer(root, data) {
  "use strict";
  const K = data.labels.length, H = data.colours.length, E = data.encoders.length;
  const option = (value, text) => `<option value="${value}">${text}</option>`;
  const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const names = data.labels.map(escape), range = (n) => [...Array(n).keys()];

  root.innerHTML = `
    <style>
      .head-explorer { border: 1px solid #9998; border-radius: 6px; padding: 0.8em; font-size: 0.9rem; text-align: left; }
      .head-explorer .controls, .head-explorer .panels { display: flex; flex-wrap: wrap; gap: 0.6em 1.6em; align-items: end; }
      .head-explorer .panels { align-items: start; margin-top: 0.8em; }
      .head-explorer .panels > div { flex: 1 1 300px; min-width: 0; overflow-x: auto; }
      .head-explorer label { display: flex; flex-direction: column; margin: 0; }
      .head-explorer select, .head-explorer input { font: inherit; max-width: 12em; }
      .head-explorer canvas { display: block; width: 100%; background: #fff; border: 1px solid #9998; image-rendering: pixelated; cursor: pointer; min-height: ${1.6 * H}em; max-height: ${Math.max(24, 2.2 * H)}em; }
      .head-explorer output { display: block; min-height: 1.5em; }
      .head-explorer h4 { margin: 0 0 0.3em; font-size: 1em; }
      .head-explorer ol { margin: 0; padding-left: 1.6em; max-height: 32em; overflow-y: auto; }
      .head-explorer button { font: inherit; color: inherit; background: none; border: 0; padding: 0; text-decoration: underline; cursor: pointer; }
      .head-explorer .bar { display: inline-block; height: 0.7em; margin-right: 0.4em; vertical-align: baseline; }
      .head-explorer table { border-collapse: collapse; } .head-explorer td, .head-explorer th { padding: 0.1em 0.45em; text-align: right; border: 0; }
    </style>
    <div class="controls">
      <label>encoder <select name="encoder">${range(E).map((e) => option(e, e + 1)).join("")}</select></label>
      <label>head <select name="head">${range(H).map((h) => option(h, h + 1)).join("")}</select></label>
      <label>label <select name="label">${names.map((n, i) => option(i, n)).join("")}</select></label>
      <label>order of labels <select name="order">${option("expert", "by strongest head")}${option("label", "as in the data set")}${data.superclasses ? option("super", "by superclass") : ""}</select></label>
      <label><span>threshold <span name="shown"></span></span> <input name="threshold" type="range" min="0" max="0.95" step="0.05" value="${data.threshold}"></label>
    </div>
    <p style="margin:0.8em 0 0.2em">Rows are heads, columns labels; the darker, the larger the head's share of the nodes that recognise the label. Click to choose both.</p>
    <canvas name="map" role="img" aria-label="Share of each head in the nodes that recognise each label"></canvas>
    <output name="pointer" aria-live="polite"></output>
    <div class="panels"><div name="ofLabel"></div><div name="ofHead"></div></div>`;
  const $ = (name) => root.querySelector(`[name=${name}]`);
  const state = { encoder: E - 1, head: 0, label: 0, order: "expert", threshold: data.threshold };

  // S[e][n * K + i]: normalised diagonal of node n at label i in 200ths, rounded up, so that comparing with a threshold is exact
  const S = data.encoders.map((e) => Uint8Array.from(atob(e.diagonal), (c) => c.charCodeAt(0)));
  const nodes = S.map((s) => s.length / K);
  const owner = (e, n) => Math.floor(n / (nodes[e] / H));

  function counts(e) {
    const c = range(H).map(() => new Int32Array(K)), least = Math.round(state.threshold * 200);
    for (let n = 0; n < nodes[e]; n++) for (let i = 0; i < K; i++) if (S[e][n * K + i] > least) c[owner(e, n)][i]++;
    return c;
  }
  const total = (c, i) => c.reduce((sum, row) => sum + row[i], 0);
  const share = (c, h, i) => (total(c, i) ? c[h][i] / total(c, i) : 0);
  const strongest = (c, i) => range(H).reduce((a, b) => (c[b][i] > c[a][i] ? b : a), 0);

  function columns(c) {
    const by = { label: (i) => [i], super: (i) => [data.superclasses ? data.superclasses[i] : "", i],
      expert: (i) => [strongest(c, i), -share(c, strongest(c, i), i), i] }[state.order];
    return range(K).map((i) => [by(i), i]).sort(([a], [b]) => { const j = a.findIndex((v, k) => v !== b[k]); return j < 0 ? 0 : a[j] < b[j] ? -1 : 1; }).map((p) => p[1]);
  }

  let drawn = { c: null, order: [] };
  function draw() {
    const e = state.encoder, c = counts(e), order = columns(c), cell = 8, row = 22;
    drawn = { c, order };
    const canvas = $("map"), g = canvas.getContext("2d");
    canvas.width = K * cell; canvas.height = H * row; canvas.style.aspectRatio = `${K * cell} / ${Math.max(H * row, K * cell / 6)}`;
    order.forEach((i, x) => range(H).forEach((h) => {
      const v = share(c, h, i);
      g.fillStyle = `rgb(${Math.round(255 - 255 * v)}, ${Math.round(255 - 141 * v)}, ${Math.round(255 - 77 * v)})`;
      g.fillRect(x * cell, h * row, cell - 1, row - 1);
    }));
    g.strokeStyle = "#d55e00"; g.lineWidth = 3;
    g.strokeRect(order.indexOf(state.label) * cell - 1, 1, cell + 1, H * row - 2);
    g.lineWidth = 1.5; g.strokeRect(1, state.head * row, K * cell - 2, row - 1);
    $("shown").textContent = state.threshold.toFixed(2);
    ofLabel(e, c); ofHead(e, c);
    root.dataset.counts = JSON.stringify(c.map((r) => [...r]));
  }

  function ofLabel(e, c) {
    const i = state.label, percent = (v) => `${Math.round(100 * v)} %`;
    const follow = range(E).map((f) => { const k = f === e ? c : counts(f); return `<tr><th>${f + 1}</th>${range(H).map((h) => `<td style="${h === strongest(k, i) && total(k, i) ? "font-weight:bold" : ""}">${k[h][i]}</td>`).join("")}</tr>`; }).join("");
    const bars = range(H).map((h) => {
      const mine = range(nodes[e]).filter((n) => owner(e, n) === h).map((n) => S[e][n * K + i] / 200).sort((a, b) => b - a);
      const dots = mine.map((v) => `<span class="bar" style="width:0.45em;margin-right:1px;height:${(0.1 + 1.4 * v).toFixed(2)}em;background:${v > state.threshold ? data.colours[h] : "#9996"}"></span>`).join("");
      return `<div title="one bar a node: its value on the diagonal; grey: below the threshold">${h + 1}: ${dots} ${c[h][i]} nodes, alone ${percent(data.encoders[e].accuracy[h][i] / 1000)}, removed ${(data.encoders[e].damage[h][i] / -10).toFixed(1)} points</div>`;
    }).join("");
    $("ofLabel").innerHTML = `<h4>${names[i]}${data.superclasses ? ` (${escape(data.superclasses[i])})` : ""}</h4>
      <div>In encoder ${e + 1}, by head: nodes that recognise it, test accuracy with the head alone, change of the network's accuracy without the head</div>${bars}
      <div style="margin-top:0.6em">Through the encoders: nodes of each head (1 to ${H}) that recognise it</div>
      <table><tr><th>encoder</th>${range(H).map((h) => `<th>${h + 1}</th>`).join("")}</tr>${follow}</table>`;
  }

  function ofHead(e, c) {
    const h = state.head;
    const best = range(K).filter((i) => c[h][i]).sort((a, b) => share(c, h, b) - share(c, h, a) || c[h][b] - c[h][a]).slice(0, 20);
    const experts = range(K).filter((i) => data.encoders[e].expert[i] === h).length;
    const items = best.map((i) => `<li><span class="bar" style="width:${(5 * share(c, h, i)).toFixed(2)}em;background:${data.colours[h]}"></span><button data-label="${i}">${names[i]}</button> ${c[h][i]} of ${total(c, i)} nodes${data.superclasses ? `, ${escape(data.superclasses[i])}` : ""}</li>`).join("");
    $("ofHead").innerHTML = `<h4>Head ${h + 1} of encoder ${e + 1}</h4><div>Best single head, on training images, for ${experts} labels. Its largest shares:</div><ol>${items || "none at this threshold"}</ol>`;
  }

  function show() {
    for (const name of ["encoder", "head", "label", "order", "threshold"]) $(name).value = state[name];
    draw();
  }
  function take(name, value) {
    const limits = { encoder: E, head: H, label: K };
    if (name in limits && +value >= 0 && +value < limits[name]) state[name] = Math.floor(+value);
    if (name === "threshold" && +value >= 0 && +value <= 0.95) state[name] = +value;
    if (name === "order" && ["expert", "label", "super"].includes(value)) state[name] = value;
  }
  function place(event) {
    const box = $("map").getBoundingClientRect();
    const x = Math.min(K - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * K)));
    return [Math.min(H - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * H))), drawn.order[x]];
  }
  for (const name of ["encoder", "head", "label", "order", "threshold"]) {
    $(name).addEventListener("input", () => { state[name] = name === "order" ? $(name).value : +$(name).value; draw(); remember(); });
  }
  $("map").addEventListener("click", (event) => { [state.head, state.label] = place(event); show(); remember(); });
  $("map").addEventListener("pointermove", (event) => {
    const [h, i] = place(event);
    $("pointer").textContent = `head ${h + 1}, ${data.labels[i]}: ${drawn.c[h][i]} of ${total(drawn.c, i)} nodes`;
  });
  root.addEventListener("click", (event) => {
    if (event.target.dataset.label) { state.label = +event.target.dataset.label; show(); remember(); }
  });
  const store = modusAddress(root, take, show), remember = () => store(Object.entries(state));
}
