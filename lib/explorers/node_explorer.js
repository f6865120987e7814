// Every node of every site of a run: its matrix, formed here from class means and weights, and its clusters.
function modusNodeExplorer(root, given) {
  "use strict";
  const { CLUSTER: SIGNAL, NOISE } = modusMeasure, POSITIVE = [66, 166, 103], NEGATIVE = [199, 121, 186];
  const beside = given.published && modusPart.beside(), range = (n) => [...Array(n).keys()];
  for (const [site, numbers] of Object.entries(given.parts)) modusPart.given(`${given.run}/${site}`, numbers);

  root.innerHTML = `
    <div class="controls">
      <label ${beside ? "" : "hidden"}>run <select name="run"></select></label>
      <label>encoder <select name="encoder"></select></label>
      <label>place <select name="place"></select></label>
      <label>node <input name="node" type="number" min="0" step="1" inputmode="numeric"></label>
    </div>
    <div class="controls">
      <label>label of interest <select name="label"></select></label>
      <label>view <select name="view"><option>field</option><option>normalised</option><option>clipped</option></select></label>
      <label><span>threshold <span class="threshold"></span></span> <input name="threshold" type="range" min="0" max="0.95" step="0.05"></label>
    </div>
    <output name="statistics"></output>
    <output name="note"></output>
    <div class="panels">
      <figure><div class="picture"><canvas name="map" role="img" width="600" height="400" style="image-rendering:auto;cursor:pointer"></canvas></div>
        <figcaption><span name="onmap">All nodes of the site: labels recognised (across) and ones of noise (up). Choose one.</span><br>
          ${modusView.key("currentColor", "this node", "border-radius:50%")} ${modusView.key(modusView.css(SIGNAL), "recognises the label of interest", "border-radius:50%")}</figcaption></figure>
      <div><p class="title">Clusters of this node</p><ul name="clusters" tabindex="0" aria-label="Clusters of this node"></ul><p name="interest"></p><div name="nodes" class="scroll"></div></div>
    </div>
    <div class="panels">
      <figure><div class="picture"><canvas name="left" role="img"></canvas><div class="at"></div></div>
        <figcaption>Labels in their order. Rows: true label; columns: output unit. ${modusView.key(`rgb(${POSITIVE})`, "positive")} ${modusView.key(`rgb(${NEGATIVE})`, "negative")}</figcaption></figure>
      <figure><div class="picture"><canvas name="right" role="img"></canvas><div class="at"></div></div>
        <figcaption>Clipped, clusters moved to the diagonal: ${modusView.key(modusView.css(SIGNAL), "cluster")} ${modusView.key(modusView.css(NOISE), "noise")}</figcaption></figure>
    </div>
    <p><span class="title">Part of one row, enlarged.</span> <span name="row"></span>
      <button type="button" class="step" name="up" aria-label="row above">↑</button> <button type="button" class="step" name="down" aria-label="row below">↓</button></p>
    <div class="cells" name="cells"></div>
    <output name="pointer" class="two-lines"></output>`;
  const part = (name) => root.querySelector(`[name=${name}]`);
  const controls = ["run", "encoder", "place", "node", "label", "view", "threshold"];

  let data = null, at = null; // the run that is shown; its site, with numbers
  const choice = { run: given.run, site: given.site, node: given.node, label: -1, view: "field", threshold: given.threshold };
  let cell = null, shown = null, census = {}, turn = 0;

  const { counted } = modusView, named = (i) => modusView.named(data.labels[i]);

  const available = (run) => Object.keys(run.sites).filter((site) => beside || site in given.parts);
  async function load(name) {
    if (data && data.run === choice.run && at && at.name === name) return;
    const run = choice.run === given.run ? given : await modusPart(`${choice.run}/nodes`);
    const site = available(run).includes(name) ? name : run.site, [m, w] = await modusPart(`${run.run}/${site}`);
    return { run, at: { name: site, m: modusPart.integers(m.q), w: modusPart.integers(w.q), unit: m.unit.map((u, n) => u * w.unit[n]), nodes: m.unit.length } };
  }

  function measured(n, t) {
    const K = data.labels.length;
    return modusMeasure(at.m.subarray(n * K, n * K + K), at.w.subarray(n * K, n * K + K), t);
  }
  function count(t) { // of every node of the site
    const key = `${data.run} ${at.name} ${t}`;
    if (census.key !== key) {
      const K = data.labels.length;
      census = { key, found: range(at.nodes).map((n) => {
        const { m, w, largest, silent, labels, noise } = measured(n, t);
        return { labels, noise, diagonal: (i) => (silent ? 0 : (m[i] * w[i]) / largest) };
      }) };
    }
    return census.found;
  }

  function map() {
    const found = count(choice.threshold), canvas = part("map"), g = canvas.getContext("2d"), { width, height } = canvas, pad = 44;
    const right = Math.max(1, ...found.map((f) => f.labels)), top = Math.max(1, ...found.map((f) => f.noise)), text = getComputedStyle(root).color;
    census.at = found.map((f) => [pad + (f.labels / right) * (width - 2 * pad), height - pad - (f.noise / top) * (height - 2 * pad)]);
    g.clearRect(0, 0, width, height);
    g.fillStyle = text; g.font = "22px sans-serif"; g.strokeStyle = "#999";
    g.strokeRect(pad, pad, width - 2 * pad, height - 2 * pad);
    const write = (text, x, y, align, turned) => { g.save(); g.translate(x, y); g.rotate(turned ? -Math.PI / 2 : 0); g.textAlign = align; g.fillText(text, 0, 0); g.restore(); };
    write("0", pad, height - 16, "center"); write("labels recognised", width / 2, height - 16, "center"); write(right, width - pad, height - 16, "center");
    write("0", pad - 12, height - pad, "center", true); write("ones of noise", pad - 12, height / 2, "center", true); write(top, pad - 12, pad, "right", true);
    const dot = (n, colour, r) => { g.fillStyle = colour; g.beginPath(); g.arc(...census.at[n], r, 0, 7); g.fill(); };
    const i = choice.label, t = choice.threshold, speaks = (f) => i >= 0 && f.diagonal(i) > t;
    found.forEach((f, n) => speaks(f) || dot(n, "#8888", 5));
    found.forEach((f, n) => speaks(f) && dot(n, modusView.css(SIGNAL), 6));
    dot(choice.node, text, 8);
    canvas.setAttribute("aria-label", `${found.length} nodes of ${at.name}: they recognise up to ${right} labels and have up to ${top} ones of noise; node ${choice.node} has ${found[choice.node].labels} and ${found[choice.node].noise}`);
    const best = i < 0 ? [] : found.map((f, n) => [f.diagonal(i), n]).filter(([v]) => v > t).sort((a, b) => b[0] - a[0]);
    part("interest").textContent = i < 0 ? "A label of interest shows here which nodes of the site recognise it." : `${best.length} of ${found.length} nodes of ${at.name} recognise ${named(i)}, most clearly first (value on the diagonal):`;
    modusView.fill(part("nodes"), best.map(([v, n]) => modusView.button(`${n} (${v.toFixed(2)})`, n, () => choose({ node: n }))));
    root.dataset.nodes = JSON.stringify(best.map(([, n]) => n));
  }
  const nearest = (x, y) => census.at.reduce((best, [a, b], n) => { const d = (a - x) ** 2 + (b - y) ** 2; return d < best[0] ? [d, n] : best; }, [Infinity, 0])[1];

  function draw() {
    const K = data.labels.length, n = choice.node, t = choice.threshold, found = measured(n, t), { m, w, largest, silent } = found;
    const scale = Math.max(...[Math.min(...m), Math.max(...m)].flatMap((a) => [Math.min(...w), Math.max(...w)].map((b) => Math.abs(a * b)))) || 1;
    const { order: sorted, kind } = modusMeasure.arranged(found), natural = range(K);
    const shade = (v) => [...(v < 0 ? NEGATIVE : POSITIVE), Math.sqrt(Math.min(1, Math.abs(v)))]; // the root: small values are seen too
    const left = { field: (i, j) => shade((m[i] * w[j]) / scale), normalised: (i, j) => shade(silent ? 0 : (m[i] * w[j]) / largest), clipped: kind }[choice.view];
    shown = { orders: [natural, sorted], colours: [left, kind], kind, field: (i, j) => m[i] * w[j] * at.unit[n], normalised: (i, j) => (silent ? 0 : (m[i] * w[j]) / largest) };
    cell = cell || { row: sorted[0], column: sorted[0], sorted: false };
    modusView.paint(part("left"), K, K, (y, x) => left(y, x));
    modusView.paint(part("right"), K, K, (y, x) => kind(sorted[y], sorted[x]));
    const size = found.found.length ? (found.labels / found.found.length).toFixed(1) : "none";
    part("statistics").textContent = silent ? `Node ${n} of ${at.name} is silent: its field is nowhere positive.`
      : `Node ${n} of ${at.name}: ${counted(found.found.length, "cluster")}, mean size ${size}, noise ${found.noise} of ${found.ones} ones, largest field ${(largest * at.unit[n]).toPrecision(3)}.`;
    const several = found.found.filter((c) => c.length > 1), alone = found.found.filter((c) => c.length === 1).flat(), listed = (c) => c.map(named).join(", ");
    const lines = several.map(listed).concat(alone.length ? [`cluster${alone.length === 1 ? "" : "s"} of one label: ${listed(alone)}`] : found.found.length ? [] : ["none"]);
    part("clusters").replaceChildren(...lines.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    part("left").setAttribute("aria-label", `${choice.view} of node ${n} at ${at.name}, ${K} true labels by ${K} outputs; ${found.ones} ones at threshold ${t.toFixed(2)}`);
    part("right").setAttribute("aria-label", `${counted(found.found.length, "cluster")} of node ${n} at ${at.name}, of ${counted(found.labels, "label")}, moved to the diagonal; ${found.noise} ones of noise outside them`);
    root.dataset.clusters = JSON.stringify(found.found);
    map();
    enlarge();
  }
  function told(i, j) {
    const colour = shown.kind(i, j), what = colour === SIGNAL ? ", in a cluster" : colour === NOISE ? ", noise" : "";
    return `true label ${named(i)}, output ${named(j)}: field ${shown.field(i, j).toPrecision(3)}, normalised ${shown.normalised(i, j).toFixed(2)}${what}`;
  }
  function enlarge() { // the chosen cell with its neighbours in the row
    const K = data.labels.length, order = shown.orders[+cell.sorted], colour = shown.colours[+cell.sorted];
    cell.row = Math.min(cell.row, K - 1); cell.column = Math.min(cell.column, K - 1);
    const i = order[cell.row], columns = modusView.around(cell.column, K, part("cells").clientWidth || 330);
    part("row").textContent = `True label ${named(i)}, outputs ${named(order[columns[0]])} to ${named(order[columns.at(-1)])}:`;
    modusView.fill(part("cells"), columns.map((x) => {
      const button = modusView.button("", x, () => point(cell.row, x, cell.sorted, true));
      button.style.background = modusView.css(colour(i, order[x]));
      button.setAttribute("aria-label", told(i, order[x]));
      button.setAttribute("aria-pressed", x === cell.column);
      return button;
    }));
    part("pointer").textContent = told(i, order[cell.column]);
    [part("left"), part("right")].forEach((canvas, k) => {
      const mark = canvas.nextElementSibling, y = shown.orders[k].indexOf(i), x = shown.orders[k].indexOf(order[cell.column]), percent = (v) => `${(100 * v) / K}%`;
      Object.assign(mark.style, { left: percent(x), top: percent(y), width: percent(1), height: percent(1) });
    });
  }
  function point(row, column, sorted, pressed) {
    const order = shown.orders[+sorted];
    if (pressed) { cell = { row, column, sorted }; enlarge(); } else part("pointer").textContent = told(order[row], order[column]);
  }

  // Shows a choice, or says what is wrong with it; what is not named stays as it is.
  async function choose(wanted, keep = true) {
    const mine = ++turn, before = { ...choice };
    let note = "";
    Object.assign(choice, wanted);
    if (!data || choice.run !== data.run || choice.site !== at.name) {
      part("note").textContent = `loading ${choice.site} of ${choice.run} …`;
      try {
        const got = await load(choice.site);
        if (mine !== turn) return; // something else was chosen meanwhile
        if (got) { data = got.run; at = got.at; lists(); }
      } catch (error) {
        if (mine !== turn) return;
        Object.assign(choice, before);
        note = `Site ${wanted.site || choice.site} of ${wanted.run || choice.run} cannot be shown: ${error.message}.`;
        if (!data) { part("note").textContent = note; return; }
      }
    }
    if (choice.site !== at.name && !note) note = `${choice.run} has no site ${choice.site} here: this is ${at.name}.`;
    choice.site = at.name;
    const n = Math.min(at.nodes - 1, Math.max(0, Math.round(choice.node) || 0));
    if (n !== choice.node) note = `${at.name} has no node ${choice.node}: its nodes are 0 to ${at.nodes - 1}.`;
    choice.node = n;
    if (choice.label >= data.labels.length) choice.label = -1;
    const [encoder, place] = at.name.split("."), values = { ...choice, encoder, place };
    for (const name of controls) part(name).value = values[name];
    part("node").max = at.nodes - 1;
    root.querySelector(".threshold").textContent = choice.threshold.toFixed(2);
    draw();
    part("note").textContent = note || missing();
    root.dataset.shown = `${choice.run} ${at.name} ${n} ${choice.threshold}`;
    if (keep) remember({ run: choice.run, encoder, place, node: n, label: choice.label < 0 ? "" : data.labels[choice.label], view: choice.view, threshold: choice.threshold });
  }
  function lists() { // of the run and site that are shown
    const sites = available(data).map((site) => site.split(".")), [encoder] = at.name.split(".");
    modusView.options(part("encoder"), [...new Set(sites.map(([e]) => e))]);
    modusView.options(part("place"), sites.filter(([e]) => e === encoder).map(([, p]) => p));
    modusView.options(part("label"), ["none", ...data.labels], [-1, ...data.labels.keys()]);
    modusView.options(part("run"), runs);
  }
  function missing() {
    const here = available(data).length, all = Object.keys(data.sites).length;
    if (here === all) return "";
    return given.published ? `Here ${here === 1 ? "is one site" : `are ${here} sites`} of ${all}; the built book has them all, explorers.NodeExplorer too.`
      : `Here are ${here} sites of ${all}, as many as fit into a page; explorers.NodeExplorer has them all.`;
  }

  let runs = [given.run], remember = () => {};
  part("run").addEventListener("input", () => choose({ run: part("run").value }));
  for (const name of ["encoder", "place"]) part(name).addEventListener("input", () => {
    const encoder = part("encoder").value, of = available(data).filter((site) => site.startsWith(`${encoder}.`)), wanted = `${encoder}.${part("place").value}`;
    choose({ site: of.includes(wanted) ? wanted : of[0] });
  });
  part("node").addEventListener("input", () => part("node").value !== "" && choose({ node: Number(part("node").value) }));
  part("node").addEventListener("change", () => choose({ node: Number(part("node").value) }));
  for (const name of ["label", "threshold"]) part(name).addEventListener("input", () => choose({ [name]: Number(part(name).value) }));
  part("view").addEventListener("input", () => choose({ view: part("view").value }));
  part("up").addEventListener("click", () => { cell.row = Math.max(0, cell.row - 1); enlarge(); });
  part("down").addEventListener("click", () => { cell.row += 1; enlarge(); });
  ["left", "right"].forEach((name, k) => modusView.pointed(part(name), () => [data.labels.length, data.labels.length], (y, x, pressed) => point(y, x, k === 1, pressed)));
  const onMap = (event) => {
    const canvas = part("map"), box = canvas.getBoundingClientRect();
    const n = nearest(((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height), f = census.found[n];
    part("onmap").textContent = `Node ${n}: ${counted(f.labels, "label")} recognised (across), ${counted(f.noise, "one")} of noise (up).`;
    if (event.type === "click") choose({ node: n });
  };
  part("map").addEventListener("click", onMap);
  part("map").addEventListener("pointermove", onMap);
  modusView.onMode(() => data && map());
  let room = 0;
  new ResizeObserver(() => { if (shown && room !== root.clientWidth) { room = root.clientWidth; enlarge(); } }).observe(root);

  function open(found) { // what an address names
    const wanted = {};
    if (runs.includes(found.run)) wanted.run = found.run;
    if (found.encoder && found.place) wanted.site = `${found.encoder}.${found.place}`;
    if (found.node) wanted.node = Number(found.node);
    if (["field", "normalised", "clipped"].includes(found.view)) wanted.view = found.view;
    if (found.threshold >= 0 && found.threshold <= 0.95) wanted.threshold = Number(found.threshold);
    return choose(wanted, false).then(() => {
      const label = data ? data.labels.indexOf(found.label) : -1;
      if (label >= 0) return choose({ label }, false);
    });
  }
  if (!beside) { remember = modusAddress(root, open); return; }
  choose({}, false);
  modusPart.runs("nodes", given.run).then((names) => {
    runs = names;
    modusView.options(part("run"), names);
    part("run").value = choice.run;
    remember = modusAddress(root, open);
  });
}
