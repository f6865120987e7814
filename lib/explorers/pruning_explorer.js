// Which weights ANDC keeps at a threshold, layer by layer, and what was measured of networks pruned so and otherwise.
function modusPruningExplorer(root, given) {
  "use strict";
  const KEPT = [0, 114, 178, 1], LAYERS = ["linear1", "linear2", "classifier"], range = (n) => [...Array(n).keys()];
  const percent = (v) => `${(100 * v).toFixed(1)} %`, beside = given.published && modusPart.beside();
  for (const [encoder, numbers] of Object.entries(given.parts)) modusPart.given(`${given.run}/pruning-${encoder}`, numbers);
  const element = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);

  root.innerHTML = `
    <div class="controls">
      <label ${beside ? "" : "hidden"}>run <select name="run"></select></label>
      <label>encoder <select name="encoder"></select></label>
      <label><span>threshold <span class="threshold"></span></span> <input name="threshold" type="range" min="0.05" max="0.95" step="0.05"></label>
      <label>order of nodes <select name="order"><option value="given">as in the network</option><option value="labels">by number of labels</option></select></label>
      <label>regime <select name="regime"></select></label>
    </div>
    <output name="note"></output>
    <p>A pixel is a weight, coloured where the rule keeps it: where its two nodes recognise a common label, on training images. Columns: what it comes from; rows: what it goes to.</p>
    <div class="panels">${LAYERS.map((layer) => `<figure><div class="picture"><canvas name="${layer}" role="img"></canvas><div class="at" hidden></div></div><figcaption name="words-${layer}"></figcaption></figure>`).join("")}</div>
    <div class="controls">
      <label>one weight of <select name="layer">${LAYERS.map((layer) => `<option>${layer}</option>`).join("")}</select></label>
      <label>from node <input name="from" type="number" min="0" step="1" inputmode="numeric"></label>
      <label><span name="toWords">to node</span> <input name="to" type="number" min="0" step="1" inputmode="numeric"></label>
    </div>
    <output name="pointer" class="two-lines"></output>
    <p class="title" name="tableWords"></p>
    <div class="scroll" style="max-height:none" tabindex="0" role="region" aria-label="Accuracy of pruned networks"><table name="table"></table></div>`;
  const $ = (name) => root.querySelector(`[name=${name}]`), controls = ["run", "encoder", "threshold", "order", "regime", "layer", "from", "to"];
  const state = { run: given.run, encoder: given.encoder, threshold: given.threshold, order: "given", regime: given.regimes[0], layer: "linear1", from: 0, to: 0 };
  let data = null, at = null, masks = {}, turn = 0;

  // Label sets of nodes as bits, from their normalised diagonals in 200ths, rounded up, so that comparing is exact.
  function sets(diagonal, K) {
    const words = Math.ceil(K / 32), nodes = diagonal.length / K, bits = new Uint32Array(nodes * words), count = new Uint16Array(nodes), least = Math.round(200 * state.threshold);
    for (let n = 0; n < nodes; n++) for (let i = 0; i < K; i++) if (diagonal[n * K + i] > least) { bits[n * words + (i >> 5)] |= 1 << (i & 31); count[n]++; }
    return { bits, words, nodes, count, has: (n, i) => (bits[n * words + (i >> 5)] >>> (i & 31)) & 1 };
  }
  function mask(a, b) { // of the weights from nodes a to nodes b; without b, to the labels
    const K = data.labels.length, rows = b ? b.nodes : K, kept = new Uint8Array(rows * a.nodes);
    let total = 0;
    for (let r = 0; r < rows; r++) for (let c = 0; c < a.nodes; c++) {
      let common = b ? 0 : a.has(c, r);
      if (b) for (let w = 0; w < a.words && !common; w++) common = a.bits[c * a.words + w] & b.bits[r * a.words + w];
      if (common) { kept[r * a.nodes + c] = 1; total++; }
    }
    const sorted = (s, n) => (s && state.order === "labels" ? range(n).sort((x, y) => s.count[y] - s.count[x] || x - y) : range(n));
    return { a, b, kept, total, rows, columns: a.nodes, down: sorted(b, rows), right: sorted(a, a.nodes) };
  }
  function draw() {
    const K = data.labels.length, [input, hidden, output, readout] = [at.ff_in, at.ff_hidden, at.ff, data.readout].map((q) => sets(modusPart.bytes(q), K));
    masks = { linear1: mask(input, hidden), linear2: mask(hidden, output), classifier: mask(readout, null) };
    for (const [layer, m] of Object.entries(masks)) {
      const canvas = $(layer), words = `${layer === "classifier" ? layer : `${layer} of encoder ${state.encoder}`}: ${percent(m.total / m.kept.length)} of ${m.kept.length.toLocaleString("en")} weights kept`;
      const lonely = range(m.rows).filter((r) => !m.kept.subarray(r * m.columns, (r + 1) * m.columns).some(Boolean)).length;
      modusView.paint(canvas, m.rows, m.columns, (y, x) => (m.kept[m.down[y] * m.columns + m.right[x]] ? KEPT : null));
      $(`words-${layer}`).textContent = `${words}; ${lonely} of ${m.rows} ${m.b ? "nodes" : "labels"} get none.`;
      canvas.setAttribute("aria-label", `Mask of ${words}, one pixel a weight`);
    }
    root.querySelector(".threshold").textContent = state.threshold.toFixed(2);
    tell(); accuracies();
    root.dataset.kept = JSON.stringify(Object.fromEntries(Object.entries(masks).map(([layer, m]) => [layer, m.total])));
    root.dataset.shown = `${state.run} ${state.encoder} ${state.threshold} ${state.regime}`;
  }
  const name = (layer, side, n) => (layer === "classifier" && side === "to" ? `label ${modusView.named(data.labels[n])}` : `node ${n}`);
  function told(layer, from, to) {
    const m = masks[layer], shared = range(data.labels.length).filter((i) => m.a.has(from, i) && (m.b ? m.b.has(to, i) : i === to)).map((i) => modusView.named(data.labels[i]));
    const few = shared.slice(0, 8).join(", ") + (shared.length > 8 ? ` and ${shared.length - 8} more` : "");
    const sizes = m.b ? `they recognise ${m.a.count[from]} and ${m.b.count[to]} labels` : `the node recognises ${m.a.count[from]} labels`;
    return `${layer}, from ${name(layer, "from", from)} to ${name(layer, "to", to)}: ${shared.length ? `kept; common: ${few}` : "removed; none in common"} (${sizes}).`;
  }
  function tell() {
    const m = masks[state.layer];
    $("pointer").textContent = told(state.layer, state.from, state.to);
    $("from").max = m.columns - 1; $("to").max = m.rows - 1;
    $("toWords").textContent = m.b ? "to node" : "to label (its number)";
    for (const layer of LAYERS) {
      const mark = $(layer).nextElementSibling, of = masks[layer];
      mark.hidden = layer !== state.layer;
      Object.assign(mark.style, { left: `${(100 * of.right.indexOf(state.from)) / of.columns}%`, top: `${(100 * of.down.indexOf(state.to)) / of.rows}%`, width: `${100 / of.columns}%`, height: `${100 / of.rows}%` });
    }
  }
  function accuracies() { // at the measured threshold that is nearest
    const of = data.table.filter((row) => row.regime === state.regime), near = of.reduce((best, row) => (Math.abs(row.threshold - state.threshold) < Math.abs(best - state.threshold) ? row.threshold : best), Infinity);
    const rows = of.filter((row) => row.threshold === near).sort((a, b) => b.top1 - a.top1), own = rows.find((row) => row.method === "andc"), dense = data.dense[state.regime];
    const measured = near === state.threshold ? `at threshold ${near}` : `at threshold ${near}, the nearest that was measured`;
    $("tableWords").textContent = rows.length ? `Test accuracy, regime ${state.regime}, both feed-forward layers of all encoders pruned ${measured}` : `Regime ${state.regime} was not measured`;
    const table = document.createElement("table"), head = table.createTHead().insertRow(), body = table.createTBody();
    for (const text of ["weights kept by", "share kept", "accuracy", "against ANDC"]) head.append(element("th", text, { scope: "col" }));
    const add = (method, kept, top1, several) => {
      const row = body.insertRow(), bar = element("span", "", { className: "bar" });
      row.append(element("th", method, { scope: "row", style: method === "andc" ? "font-weight:bold" : "font-weight:normal" }), element("td", percent(kept)));
      bar.style.cssText = `width:${(8 * top1).toFixed(2)}em;background:${data.colours[method] || "currentColor"}`;
      const cell = element("td", "", { style: "text-align:left" });
      cell.append(bar, percent(top1) + several);
      row.append(cell, element("td", method === "andc" || !own ? "" : `${(100 * (top1 - own.top1)).toFixed(1)} points`.replace("-", "−")));
    };
    if (dense !== undefined && rows.length) add("nothing pruned", 1, dense, "");
    for (const row of rows) add(row.method, row.kept, row.top1, row.networks > 1 ? `, mean of ${row.networks}` : "");
    $("table").replaceChildren(...table.childNodes);
    root.dataset.accuracies = JSON.stringify(Object.fromEntries(rows.map((row) => [row.method, row.top1])));
  }

  // Shows a choice, or says what is wrong with it; what is not named stays as it is.
  async function choose(wanted, keep = true) {
    const mine = ++turn, before = { ...state };
    let note = "";
    Object.assign(state, wanted);
    if (!data || state.run !== data.run || state.encoder !== at.encoder) {
      if (data) $("note").textContent = `loading encoder ${state.encoder} of ${state.run} …`;
      try {
        const run = state.run === given.run ? given : await modusPart(`${state.run}/pruning`);
        const encoder = run.encoders.includes(state.encoder) ? state.encoder : run.encoder, numbers = await modusPart(`${run.run}/pruning-${encoder}`);
        if (mine !== turn) return;
        if (encoder !== state.encoder) note = `${run.run} has no encoder ${state.encoder}: this is encoder ${encoder}.`;
        [data, at, state.encoder] = [run, { ...numbers, encoder }, encoder];
        modusView.options($("run"), runs);
        modusView.options($("encoder"), data.encoders.filter((e) => beside || e in given.parts));
        modusView.options($("regime"), data.regimes);
      } catch (error) {
        if (mine !== turn) return;
        Object.assign(state, before);
        note = `Encoder ${wanted.encoder || before.encoder} of ${wanted.run || before.run} cannot be shown: ${error.message}.`;
        if (!data) { $("note").textContent = note; return; }
      }
    }
    if (!data.regimes.includes(state.regime)) state.regime = data.regimes[0];
    const sizes = { from: state.layer === "classifier" ? data.readoutNodes : data.nodes[state.layer === "linear1" ? "ff_in" : "ff_hidden"], to: state.layer === "classifier" ? data.labels.length : data.nodes[state.layer === "linear1" ? "ff_hidden" : "ff"] };
    for (const side of ["from", "to"]) {
      const inside = Math.min(sizes[side] - 1, Math.max(0, Math.round(state[side]) || 0));
      if (inside !== state[side] && side in wanted) note = `${state.layer} has no ${state[side]} there: they are 0 to ${sizes[side] - 1}.`;
      state[side] = inside;
    }
    for (const control of controls) $(control).value = state[control];
    draw();
    const here = $("encoder").length, all = data.encoders.length;
    $("note").textContent = note || (here < all ? `Here ${here === 1 ? "is one encoder" : `are ${here} encoders`} of ${all}; the built book has them all.` : "");
    if (keep) remember(Object.fromEntries(controls.map((control) => [control, state[control]])));
  }
  function open(found) {
    const wanted = {};
    if (runs.includes(found.run)) wanted.run = found.run;
    for (const number of ["encoder", "from", "to"]) if (found[number]) wanted[number] = Number(found[number]);
    if (found.threshold >= 0.05 && found.threshold <= 0.95) wanted.threshold = Number(found.threshold);
    if (["given", "labels"].includes(found.order)) wanted.order = found.order;
    if (LAYERS.includes(found.layer)) wanted.layer = found.layer;
    if (found.regime) wanted.regime = found.regime;
    return choose(wanted, false);
  }

  let runs = [given.run], remember = () => {};
  for (const control of controls) $(control).addEventListener(["from", "to"].includes(control) ? "change" : "input", () => {
    const value = $(control).value;
    choose({ [control]: ["run", "order", "regime", "layer"].includes(control) ? value : Number(value) });
  });
  for (const layer of LAYERS) modusView.pointed($(layer), () => [masks[layer].rows, masks[layer].columns], (y, x, pressed) => {
    const from = masks[layer].right[x], to = masks[layer].down[y];
    if (pressed) choose({ layer, from, to }); else $("pointer").textContent = told(layer, from, to);
  });
  if (!beside) { remember = modusAddress(root, open); return; }
  choose({}, false);
  modusPart.runs("pruning", given.run).then((names) => {
    runs = names;
    modusView.options($("run"), names);
    $("run").value = state.run;
    remember = modusAddress(root, open);
  });
}
