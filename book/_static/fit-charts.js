/* Charts fit the page: where a chart is wider than its box, panels side by side go below each other and get narrower. */
(function () {
  "use strict";
  const AXIS = 64, PADDING = 24, GAP = 20; // pixels a panel needs beside its plot, around the chart, between panels
  const draw = window.vegaEmbed;

  function distinct(rows, field) {
    return new Set((rows || []).map((row) => row[field])).size || 1;
  }
  function plot(spec) {
    return typeof spec.width === "number" ? spec.width : Math.max(0, ...(spec.layer || []).map(plot));
  }
  function natural(spec, rows) {
    const sum = (parts) => parts.reduce((total, part) => total + natural(part, rows), 0);
    if (spec.hconcat) return sum(spec.hconcat);
    if (spec.vconcat) return Math.max(...spec.vconcat.map((part) => natural(part, rows)));
    if (spec.spec) {
      const across = spec.columns || distinct(rows, (spec.facet.column || spec.facet).field);
      return across * (plot(spec.spec) + GAP) + AXIS;
    }
    return plot(spec) + AXIS;
  }

  function longest(spec) { // letters of the longest entry of a legend, as far as the chart names them
    if (!spec || typeof spec !== "object") return 0;
    const scale = spec.color && spec.color.scale, names = (scale && Array.isArray(scale.domain) && scale.domain) || [];
    const inside = Object.entries(spec).filter(([name]) => name !== "datasets").map(([, part]) => longest(part));
    return Math.max(0, ...names.map((name) => String(name).length), ...inside);
  }

  function fit(spec, room, rows) {
    if (spec.hconcat && natural(spec, rows) > room) {
      spec.vconcat = spec.hconcat;
      delete spec.hconcat;
    }
    if (spec.spec && natural(spec, rows) > room) {
      if (spec.facet.column && !spec.facet.row) spec.facet = spec.facet.column;
      spec.columns = 1;
    }
    const column = spec.encoding && spec.encoding.column;
    const across = column ? distinct(rows, column.field) : 1, header = spec.encoding && spec.encoding.row ? 3 * GAP : 0;
    const most = (room - AXIS - header) / across - (across > 1 ? GAP : 0);
    if (typeof spec.width === "number") spec.width = Math.min(spec.width, Math.max(40, Math.floor(most)));
    for (const part of [...(spec.vconcat || []), ...(spec.layer || []), ...(spec.spec ? [spec.spec] : [])]) fit(part, room, rows);
  }

  window.vegaEmbed = function (element, spec, options) {
    const room = element.clientWidth - PADDING, narrow = structuredClone(spec);
    fit(narrow, room, Object.values(spec.datasets || {})[0]);
    const legend = { columns: Math.max(1, Math.floor(room / (7 * (longest(spec) || 4) + 34))), ...(narrow.config || {}).legend };
    narrow.config = { ...narrow.config, legend };
    return draw(element, narrow, options);
  };
})();
