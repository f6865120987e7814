// One node at a threshold, in units of its own: class means m and weights w are integers, so the products are exact.
function modusMeasure(m, w, t) {
  "use strict";
  const K = m.length, [low, high, least, most] = [Math.min(...m), Math.max(...m), Math.min(...w), Math.max(...w)];
  const largest = Math.max(low * least, low * most, high * least, high * most), silent = largest <= 0;
  const one = (product) => !silent && product / largest > t, sorted = Int16Array.from(m).sort();
  let ones = 0;
  for (let j = 0; j < K; j++) { // the ones of a column are the labels with the largest m, where w is negative the smallest
    let from = 0, to = K;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (one((w[j] > 0 ? sorted[K - 1 - middle] : sorted[middle]) * w[j])) from = middle + 1; else to = middle;
    }
    ones += from;
  }
  const clusters = []; // labels are one if their m and w have one sign and the smallest m times the smallest w is a one
  for (let i = 0; i < K; i++) {
    if (!one(m[i] * w[i])) continue;
    const fits = clusters.find((c) => c.sign === Math.sign(m[i]) && one(Math.min(c.m, Math.abs(m[i])) * Math.min(c.w, Math.abs(w[i]))));
    const c = fits || { sign: Math.sign(m[i]), m: Infinity, w: Infinity, labels: [] };
    if (!fits) clusters.push(c);
    c.m = Math.min(c.m, Math.abs(m[i])); c.w = Math.min(c.w, Math.abs(w[i])); c.labels.push(i);
  }
  const found = clusters.map((c) => c.labels), inside = found.reduce((sum, c) => sum + c.length ** 2, 0);
  return { m, w, largest, silent, one, ones, found, noise: ones - inside, labels: found.flat().length };
}
modusMeasure.CLUSTER = [0, 114, 178, 1];
modusMeasure.NOISE = [213, 94, 0, 1];

// What `modusMeasure` gave, arranged: clusters, largest first; labels with clusters moved to the diagonal; a cell's colour.
modusMeasure.arranged = ({ m, w, one, found }) => {
  const blocks = [...found].sort((a, b) => b.length - a.length || a[0] - b[0]), member = Array(m.length).fill(-1);
  blocks.forEach((block, k) => block.forEach((i) => (member[i] = k)));
  const order = blocks.flat().concat([...member.keys()].filter((i) => member[i] < 0));
  const together = (i, j) => member[i] >= 0 && member[i] === member[j];
  return { blocks, order, kind: (i, j) => (one(m[i] * w[j]) ? (together(i, j) ? modusMeasure.CLUSTER : modusMeasure.NOISE) : null) };
};
