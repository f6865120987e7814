// Heads by labels for every encoder of a run: who recognises which label, at a threshold of the reader's choice.
function modusHeadExplorer(root, given) {
  "use strict";
  const LIGHT = [0, 114, 178], DARK = [90, 185, 245], range = (n) => [...Array(n).keys()], percent = (v) => `${Math.round(100 * v)}\u00a0%`;
  const beside = given.published && modusPart.beside();
  const element = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);
  const { counted } = modusView, named = (i) => modusView.named(data.labels[i]);
  const onDark = () => getComputedStyle(root).color.match(/\d+/g).slice(0, 3).reduce((sum, v) => sum + Number(v), 0) > 384; // the text is light there

  root.innerHTML = `
    <div class="controls">
      <label ${beside ? "" : "hidden"}>run <select name="run"></select></label>
      <label>encoder <select name="encoder"></select></label>
      <label>head <select name="head"></select></label>
      <label>label <select name="label"></select></label>
      <label>order of labels <select name="order"></select></label>
      <label><span>threshold <span class="threshold"></span></span> <input name="threshold" type="range" min="0" max="0.95" step="0.05"></label>
    </div>
    <output name="note"></output>
    <p>Rows are heads, columns labels; the stronger the colour, the larger the head's share of the nodes that recognise the label, up to the largest share here, <span name="largest"></span>. Choose a cell to choose both.</p>
    <div style="display:flex;gap:0.4em"><div name="numbers" aria-hidden="true" style="display:flex;flex-direction:column;justify-content:space-around;text-align:right;line-height:1;font-size:0.8em"></div>
    <div class="picture" style="flex:1;min-width:0"><canvas name="map" role="img" style="cursor:pointer"></canvas><div class="at"></div></div></div>
    <output name="pointer"></output>
    <p><span class="title">Part of it, enlarged:</span> <span name="part"></span> Numbers of nodes, one row per head.</p>
    <div class="cells rows" name="cells"></div>
    <div class="panels"><div name="ofLabel"></div><div><p class="title" name="headTitle"></p><p name="headWords"></p><ol name="ofHead" style="max-height:none"></ol></div></div>`;
  const $ = (name) => root.querySelector(`[name=${name}]`), controls = ["run", "encoder", "head", "label", "order", "threshold"];
  const state = { run: given.run, ...given.open, order: "expert", threshold: given.threshold };
  let data = null, K, H, E, S, nodes, drawn, turn = 0;

  function use(content) {
    data = content;
    [K, H, E] = [data.labels.length, data.colours.length, data.encoders.length];
    // S[e][n * K + i]: normalised diagonal of node n at label i in 200ths, rounded up, so that comparing with a threshold is exact
    S = data.encoders.map((e) => modusPart.bytes(e.diagonal));
    nodes = S.map((s) => s.length / K);
    modusView.options($("encoder"), range(E).map((e) => e + 1), range(E));
    modusView.options($("head"), range(H).map((h) => h + 1), range(H));
    modusView.options($("label"), data.labels, range(K));
    modusView.options($("order"), ["by strongest head", "as in the data set", ...(data.superclasses ? ["by superclass"] : [])], ["expert", "label", ...(data.superclasses ? ["super"] : [])]);
    modusView.options($("run"), runs);
  }
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
  const told = (h, i) => `head ${h + 1}, ${named(i)}: ${drawn.c[h][i]} of ${counted(total(drawn.c, i), "node")}`;

  function draw() {
    const e = state.encoder, c = counts(e), order = columns(c), canvas = $("map"), mark = canvas.nextElementSibling;
    const largest = Math.max(0, ...range(H).flatMap((h) => range(K).map((i) => share(c, h, i)))), hue = onDark() ? DARK : LIGHT;
    drawn = { c, order, colour: (h, i) => [...hue, largest && share(c, h, i) / largest] };
    modusView.paint(canvas, H, K, (h, x) => drawn.colour(h, order[x]));
    $("largest").textContent = percent(largest);
    $("numbers").replaceChildren(...range(H).map((h) => element("span", h + 1)));
    canvas.style.height = `${Math.min(26, 320 / H) * H}px`;
    canvas.setAttribute("aria-label", `Share of each of ${H} heads in the nodes that recognise each of ${K} labels, encoder ${e + 1}: ${range(H).map((h) => `head ${h + 1} is strongest for ${range(K).filter((i) => total(c, i) && strongest(c, i) === h).length}`).join(", ")}`);
    Object.assign(mark.style, { left: `${(100 * order.indexOf(state.label)) / K}%`, top: `${(100 * state.head) / H}%`, width: `${100 / K}%`, height: `${100 / H}%` });
    root.querySelector(".threshold").textContent = state.threshold.toFixed(2);
    $("pointer").textContent = told(state.head, state.label);
    enlarge(); ofLabel(e, c); ofHead(e, c);
    root.dataset.counts = JSON.stringify(c.map((r) => [...r]));
    root.dataset.shown = `${state.run} ${e + 1} ${state.head + 1} ${state.threshold}`;
  }
  function enlarge() {
    const { c, order } = drawn, shown = modusView.around(order.indexOf(state.label), K, ($("cells").clientWidth || 330) - 24);
    $("part").textContent = `${named(order[shown[0]])} to ${named(order[shown.at(-1)])}.`;
    modusView.fill($("cells"), range(H).map((h) => {
      const row = element("div", "", { className: "cells", role: "group" });
      row.setAttribute("aria-label", `head ${h + 1}`);
      row.append(element("span", h + 1, { ariaHidden: "true", style: "width:1.4em;text-align:right;align-self:center;font-size:0.8em;margin-right:0.2em" }), ...shown.map((x) => {
        const i = order[x], cell = modusView.button("", `${h} ${x}`, () => choose({ head: h, label: i })), colour = document.createElement("i");
        colour.style.background = modusView.css(drawn.colour(h, i));
        cell.append(colour, `${c[h][i]}`);
        cell.title = data.labels[i];
        cell.setAttribute("aria-label", told(h, i));
        cell.setAttribute("aria-pressed", h === state.head && i === state.label);
        return cell;
      }));
      return row;
    }));
  }
  function ofLabel(e, c) {
    const i = state.label, box = document.createElement("div");
    box.append(element("p", named(i) + (data.superclasses ? ` (${data.superclasses[i]})` : ""), { className: "title" }));
    box.append(element("p", `In encoder ${e + 1}, by head: nodes that recognise it (one bar per node, its value on the diagonal; grey: below the threshold); share of its test images that are named right with the head alone; how that of the whole network changes without the head`));
    for (const h of range(H)) {
      const line = element("div", `${h + 1}: `), of = data.encoders[e];
      const mine = range(nodes[e]).filter((n) => owner(e, n) === h).map((n) => S[e][n * K + i] / 200).sort((a, b) => b - a), some = mine.slice(0, 64);
      for (const v of some) {
        const bar = element("span", "", { className: "bar" });
        bar.style.cssText = `width:${some.length > 32 ? 0.25 : 0.4}em;margin-right:1px;height:${(0.1 + 1.4 * v).toFixed(2)}em;background:${v > state.threshold ? data.colours[h] : "#9996"}`;
        line.append(bar);
      }
      const change = Math.round(-of.damage[h][i]) / 10, sign = change > 0 ? "+" : "";
      line.append(element("span", `${counted(c[h][i], "node")}; alone ${percent(of.accuracy[h][i] / 1000)}; without it ${sign}${(change || 0).toFixed(1)} points`, { style: "display:block" }));
      box.append(line);
    }
    const table = document.createElement("table"), head = table.createTHead().insertRow(), body = table.createTBody(), many = H > 8;
    const narrow = many ? "padding:0.1em 0.35em" : ""; // so that all heads fit beside each other on a phone
    if (many) table.style.fontSize = "0.8em";
    box.append(element("p", `Through the encoders: nodes of each head (1 to ${H}) that recognise it`));
    for (const text of ["encoder", ...range(H).map((h) => h + 1)]) head.append(element("th", text, { scope: "col", style: narrow }));
    for (const f of range(E)) {
      const k = f === e ? c : counts(f), row = body.insertRow();
      row.append(element("th", f + 1, { scope: "row" }));
      for (const h of range(H)) row.append(element("td", k[h][i], { style: `${narrow};${h === strongest(k, i) && total(k, i) ? "font-weight:bold" : ""}` }));
    }
    const scroll = element("div", "", { className: "scroll", tabIndex: 0, role: "region", style: "max-height:none" });
    scroll.setAttribute("aria-label", "Nodes of each head through the encoders");
    scroll.append(table);
    box.append(scroll);
    $("ofLabel").replaceChildren(box);
  }
  function ofHead(e, c) {
    const h = state.head, experts = range(K).filter((i) => data.encoders[e].expert[i] === h).length;
    const best = range(K).filter((i) => c[h][i]).sort((a, b) => share(c, h, b) - share(c, h, a) || c[h][b] - c[h][a]).slice(0, 12);
    $("headTitle").textContent = `Head ${h + 1} of encoder ${e + 1}`;
    $("headWords").textContent = `Best single head, on training data, for ${counted(experts, "label")}. Its largest shares${best.length ? ":" : ": none at this threshold."}`;
    modusView.fill($("ofHead"), best.map((i) => {
      const item = document.createElement("li"), bar = element("span", "", { className: "bar" });
      bar.style.cssText = `width:${(5 * share(c, h, i)).toFixed(2)}em;background:${data.colours[h]}`;
      item.append(bar, modusView.button(data.labels[i], i, () => choose({ label: i })), ` ${c[h][i]} of ${counted(total(c, i), "node")}${data.superclasses ? `, ${data.superclasses[i]}` : ""}`);
      return item;
    }));
  }

  // Shows a choice, or says what is wrong with it; what is not named stays as it is.
  async function choose(wanted, keep = true) {
    const mine = ++turn, before = { ...state }, run = wanted.run || state.run;
    let note = "";
    if (!data || run !== data.run) {
      try {
        if (data) $("note").textContent = `loading ${run} …`;
        const got = run === given.run ? given : await modusPart(`${run}/heads`);
        if (mine !== turn) return;
        use(got);
        if (run !== before.run) Object.assign(state, got.open);
      } catch (error) {
        if (mine !== turn) return;
        note = `${run} cannot be shown: ${error.message}.`;
        delete wanted.run;
      }
    }
    Object.assign(state, wanted);
    if (state.order === "super" && !data.superclasses) state.order = "expert";
    for (const [name, size] of [["encoder", E], ["head", H], ["label", K]]) {
      const inside = Math.min(size - 1, Math.max(0, Math.round(state[name]) || 0));
      if (inside !== state[name]) note = `${data.run} has no ${name} ${state[name] + 1}: they are 1 to ${size}.`;
      state[name] = inside;
    }
    for (const name of controls) $(name).value = state[name];
    draw();
    $("note").textContent = note;
    if (keep) remember({ run: state.run, encoder: state.encoder + 1, head: state.head + 1, label: data.labels[state.label], order: state.order, threshold: state.threshold });
  }
  function open(found) { // what an address names: encoders and heads count from 1
    const wanted = {};
    if (runs.includes(found.run)) wanted.run = found.run;
    for (const name of ["encoder", "head"]) if (found[name]) wanted[name] = Number(found[name]) - 1;
    if (["expert", "label", "super"].includes(found.order)) wanted.order = found.order;
    if (found.threshold >= 0 && found.threshold <= 0.95) wanted.threshold = Number(found.threshold);
    return choose(wanted, false).then(() => {
      const label = data ? data.labels.indexOf(found.label) : -1;
      if (label >= 0) return choose({ label }, false);
    });
  }

  let runs = [given.run], remember = () => {};
  for (const name of controls) $(name).addEventListener("input", () => choose({ [name]: ["run", "order"].includes(name) ? $(name).value : Number($(name).value) }));
  modusView.pointed($("map"), () => [H, K], (h, x, pressed) => {
    const i = drawn.order[x];
    if (pressed) choose({ head: h, label: i }); else $("pointer").textContent = told(h, i);
  });
  modusView.onMode(() => drawn && draw());
  let room = 0;
  new ResizeObserver(() => { if (drawn && room !== root.clientWidth) { room = root.clientWidth; enlarge(); } }).observe(root);
  if (!beside) { remember = modusAddress(root, open); return; }
  choose({}, false);
  modusPart.runs("heads", given.run).then((names) => {
    runs = names;
    modusView.options($("run"), names);
    $("run").value = state.run;
    remember = modusAddress(root, open);
  });
}
