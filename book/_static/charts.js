/* Charts take the width of their column. Panels share it, and go below each other before one gets narrower than LEAST.
   A tap shows what the pointer shows. Text and lines have the colour of the page's text. */
(function () {
  "use strict";
  const LEAST = 170, GAP = 20, SIDE = 58, SQUARE = 400; // pixels: a panel, between panels, an axis of numbers, the largest matrix
  const IMAGE = 90; // the smallest picture in place of a panel
  const embed = window.vegaEmbed;

  function rows(spec, known) { // of its data, or of the data around it
    const data = spec.data || {};
    return data.values || known.datasets[data.name] || known.rows || [];
  }
  const ruler = document.createElement("canvas").getContext("2d");
  function wide(text, weight = "normal") { // of a label
    ruler.font = `${weight} 12px sans-serif`;
    return ruler.measureText(text).width;
  }
  const ofY = (spec) => [spec.spec, spec, ...(spec.layer || [])].map((part) => ((part || {}).encoding || {}).y).find((y) => y && y.field);
  function names(spec, known) { // that stand at its y axis; none where numbers do
    const y = ofY(spec);
    if (!y || !["nominal", "ordinal"].includes(y.type)) return [];
    return [...new Set(rows(spec, known).concat(...(spec.layer || []).map((part) => rows(part, known))).map((row) => row[y.field]))].filter((name) => name !== undefined && name !== null);
  }
  function side(spec, known) { // what its y axis takes
    const { axis, title } = ofY(spec) || {};
    if (axis === null || (axis && axis.labels === false)) return SIDE / 2;
    const { labelLimit = 180, labelFontWeight } = axis || {}, longest = Math.max(0, ...names(spec, known).map((name) => wide(name, labelFontWeight ? "bold" : "normal")));
    return Math.max(SIDE, Math.ceil(Math.min(longest, labelLimit || Infinity)) + (title === null ? 12 : 30));
  }
  function broken(text, room) { // into as few lines as fit, about as long as each other
    const lines = [];
    for (const word of text.split(" ")) {
      const longer = `${lines.at(-1)} ${word}`;
      if (lines.length && wide(longer, "bold") <= room) lines[lines.length - 1] = longer;
      else lines.push(word);
    }
    const even = room > 40 && lines.length > 1 ? broken(text, room - 10) : [];
    return even.length === lines.length ? even : lines;
  }
  function headings(facet, room, known) { // of panels, no wider than these, else panels would stand apart; returns their lines
    const { labelExpr = "", ...header } = facet.header || {}, [, at] = /^split\(datum\.label, '(.*)'\)$/.exec(labelExpr) || [];
    if (facet.header === null || (labelExpr && !at)) return 1;
    const values = [...new Set(known.rows.map((row) => String(row[facet.field])))];
    const lines = Object.fromEntries(values.map((value) => [value, (at ? value.split(at) : [value]).flatMap((part) => broken(part, room))]));
    facet.header = { ...header, labelExpr: `(${JSON.stringify(lines)})[datum.label]` };
    return Math.max(1, ...Object.values(lines).map((each) => each.length));
  }
  function across(panels, room, axes, most, gap = GAP, least = LEAST) { // panels in a row, so that rows are about as long as each other
    let n = Math.min(panels, most || panels);
    while (n > 1 && (room - gap * (n - 1) - axes(n)) / n < least) n--;
    return Math.ceil(panels / Math.ceil(panels / n));
  }
  function legends(spec, room) { // columns that fit, where the chart names the entries
    for (const part of spec.layer || []) legends(part, room);
    for (const channel of Object.values(spec.encoding || {})) {
      const names = channel && channel.scale && channel.scale.domain;
      if (!Array.isArray(names) || channel.legend === null) continue;
      const longest = Math.max(...names.map((name) => Math.min(26, String(name).length)));
      const columns = Math.max(1, Math.floor(room / (6.5 * longest + 34)));
      channel.legend = { ...channel.legend, columns: Math.min(columns, (channel.legend || {}).columns || names.length) };
    }
  }
  const isImage = (spec) => Boolean(spec.mark && spec.mark.type === "image");
  function resize(spec, width) {
    if (isImage(spec)) {
      const factor = Math.min(width, SQUARE) / spec.width;
      for (const sized of [spec, spec.mark]) for (const side of ["width", "height"]) sized[side] *= factor;
      for (const channel of ["x", "y"]) spec.encoding[channel].value *= factor;
      return;
    }
    if (typeof spec.width === "number" && spec.width === spec.height) spec.height = width = Math.min(width, SQUARE);
    if ("width" in spec || !spec.layer) spec.width = width;
    for (const part of spec.layer || []) resize(part, width);
  }

  // Gives the plots of a specification their widths, so that it fills `room`; returns the height it will have, about.
  function allot(spec, room, known) {
    known = { datasets: known.datasets, rows: rows(spec, known) };
    const heading = spec.title ? 24 : 0;
    if (spec.vconcat) return spec.vconcat.reduce((sum, part) => sum + allot(part, room, known) + GAP, heading);
    const parts = spec.hconcat || spec.concat;
    if (parts) {
      const widest = Math.max(SIDE, ...parts.map((part) => side(part, known))), columns = across(parts.length, room, (n) => n * widest, spec.columns);
      delete spec.hconcat;
      Object.assign(spec, { concat: parts, columns });
      const heights = parts.map((part) => allot(part, (room - GAP * (columns - 1)) / columns, known));
      return heading + Math.max(...heights) * Math.ceil(parts.length / columns);
    }
    if (spec.spec && spec.facet.row && spec.facet.column) { // a grid: its rows are charts of their own where they must wrap
      const { row, column } = spec.facet, values = [...new Set(known.rows.map((r) => r[row.field]))], sorted = Array.isArray(row.sort) ? row.sort.filter((v) => values.includes(v)) : values;
      const { facet, spec: inner, resolve, spacing, ...rest } = spec;
      for (const name of Object.keys(spec)) if (!(name in rest)) delete spec[name];
      spec.vconcat = sorted.map((v) => ({ title: { text: [row.title, v].filter(Boolean).join(": "), fontSize: 12 }, transform: [{ filter: { field: row.field, equal: v } }], facet: { column }, spec: structuredClone(inner), ...(resolve ? { resolve } : {}), ...(spacing === undefined ? {} : { spacing }) }));
      return allot(spec, room, known);
    }
    if (spec.spec) {
      const gap = spec.spacing === undefined ? GAP : spec.spacing, least = isImage(spec.spec) ? IMAGE : LEAST;
      const facet = spec.facet.column || spec.facet, resolve = spec.resolve || {};
      const panels = new Set(known.rows.map((row) => row[facet.field])).size || 1;
      const own = [resolve.scale, resolve.axis].some((kind) => kind && kind.y === "independent");
      const axis = isImage(spec.spec) ? 0 : side(spec.spec, known), axes = (n) => (own ? n * axis : axis);
      const columns = across(panels, room, axes, spec.columns, gap, least), plot = Math.max(40, Math.floor((room - gap * (columns - 1) - axes(columns)) / columns));
      Object.assign(spec, { facet, columns, align: "each" }); // panels of a column start at one place
      if (columns < panels) spec.resolve = { ...resolve, axis: { ...resolve.axis, x: "independent" } };
      legends(spec.spec, room);
      resize(spec.spec, plot);
      const lines = headings(facet, plot, known);
      return heading + Math.ceil(panels / columns) * (tall(spec.spec, known) + 55 + 15 * lines) + 40;
    }
    legends(spec, room);
    resize(spec, Math.max(40, Math.floor(room - side(spec, known))));
    return heading + tall(spec, known) + 95;
  }
  function tall(spec, known) {
    const own = typeof spec.height === "number" ? spec.height : ((spec.height || {}).step || 0) * names(spec, known).length;
    return Math.max(own, ...(spec.layer || []).map((part) => tall(part, known))) || 220;
  }

  // Drawn as one picture, see `on_canvas` in lib/charts/base.py: slow to draw, and does not follow the page's colours.
  const isPicture = (spec) => ((spec.usermeta || {}).embedOptions || {}).renderer === "canvas";
  const copy = (spec, element) => JSON.parse(isPicture(spec)
    ? JSON.stringify(spec).replaceAll('"currentColor"', JSON.stringify(getComputedStyle(element).color)) : JSON.stringify(spec));
  const drawing = (element) => element.querySelector("canvas, svg.marks");
  function fit(spec, element, room) {
    const fitted = copy(spec, element), { legend, ...config } = fitted.config || {}, top = { direction: "vertical", anchor: "start", margin: 6 };
    fitted.config = { ...config, legend: { ...legend, layout: { top } } }; // legends at the top stand below each other
    return { fitted, height: allot(fitted, room, { datasets: spec.datasets || {} }) };
  }
  async function fill(element, spec, options, room) {
    let aim = room, before = 0, result;
    for (let pass = 0; pass < 3 || (before > room && pass < 12); pass++) { // what a title adds shrinks by half of what the plot does
      if (result) result.finalize();
      result = await embed(element, fit(spec, element, aim).fitted, options);
      const width = drawing(element).getBoundingClientRect().width;
      element.style.minHeight = "";
      const menu = element.querySelector("summary");
      if (menu) menu.setAttribute("aria-label", "Save this chart or see its source");
      if (width <= room && (isPicture(spec) || width > room - 12 || width === before)) break;
      [aim, before] = [aim + room - width - 1, width];
    }
    for (const mark of element.querySelectorAll("[role^=graphics]:not([aria-label])")) mark.setAttribute("aria-hidden", "true"); // the drawing has a text
    return result;
  }

  window.vegaEmbed = function (element, spec, options) {
    if (typeof element === "string") element = document.querySelector(element);
    return new Promise((done, failed) => {
      let room = 0, busy = false, result;
      const redraw = async () => {
        const width = element.clientWidth;
        if (busy || !width || Math.abs(width - room) < 2) return; // folded away, or as before
        [busy, room] = [true, width];
        try {
          if (result) result.finalize();
          else { // the text comes first, with the room that the drawing will take
            element.style.minHeight = `${Math.round(fit(spec, element, width).height)}px`;
            await window.typeset; // see page.js
          }
          done((result = await fill(element, spec, options, width)));
          element.dataset.drawn = "yes";
        } catch (error) {
          failed(error);
        }
        busy = false;
        redraw();
      };
      let pressed = "";
      element.addEventListener("pointerdown", (event) => { pressed = event.pointerType; });
      element.addEventListener("click", (event) => {
        const { clientX, clientY, target } = event;
        if (pressed !== "mouse") target.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX, clientY }));
      });
      if (isPicture(spec)) new MutationObserver(() => { room = 0; redraw(); }).observe(document.documentElement, { attributeFilter: ["data-theme"] });
      let waiting = 0;
      new ResizeObserver(() => { clearTimeout(waiting); waiting = setTimeout(redraw, room ? 150 : 0); }).observe(element);
      redraw();
    });
  };
})();
