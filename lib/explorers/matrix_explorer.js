// One node's clipped matrix, its clusters on the diagonal, at a threshold of the reader's choice.
function modusMatrixExplorer(root, given) {
  "use strict";
  const { labels } = given, K = labels.length;
  const [m, w] = given.numbers.map((part) => modusPart.integers(part.q));
  root.innerHTML = `
    <div class="controls">
      <label><span>threshold <span class="threshold"></span></span> <input name="threshold" type="range" min="0" max="0.95" step="0.05"></label>
    </div>
    <div class="panels">
      <figure><div class="picture"><canvas name="matrix" role="img" tabindex="0"></canvas><div class="at"></div></div>
        <figcaption>${modusView.key(modusView.css(modusMeasure.CLUSTER), "cluster")} ${modusView.key(modusView.css(modusMeasure.NOISE), "noise")}</figcaption></figure>
      <div><output name="statistics"></output><p class="title" name="heading"></p><output name="block"></output></div>
    </div>`;
  const part = (name) => root.querySelector(`[name=${name}]`), canvas = part("matrix"), mark = canvas.nextElementSibling;
  let order, blocks, chosen = 0;

  function draw(threshold) {
    const found = modusMeasure(m, w, threshold);
    const arranged = modusMeasure.arranged(found);
    ({ blocks, order } = arranged);
    modusView.paint(canvas, K, K, (y, x) => arranged.kind(order[y], order[x]));
    root.querySelector(".threshold").textContent = threshold.toFixed(2);
    const size = blocks.length ? (found.labels / blocks.length).toFixed(1) : "none";
    const told = `${blocks.length} clusters, mean size ${size}; ${found.noise} of ${found.ones} ones are noise.`;
    part("statistics").textContent = `Node ${given.node} of ${given.site}: ${told}`;
    canvas.setAttribute("aria-label", `Clipped matrix of node ${given.node}, ${K} true labels by ${K} outputs, clusters on the diagonal: ${told} Arrow keys go from cluster to cluster.`);
    root.dataset.clusters = JSON.stringify(found.found);
    root.dataset.shown = threshold;
    choose(Math.min(chosen, Math.max(0, blocks.length - 1)));
  }
  function choose(k) {
    chosen = k;
    const block = blocks[k], before = blocks.slice(0, k).reduce((sum, b) => sum + b.length, 0), percent = (v) => `${(100 * v) / K}%`;
    part("heading").textContent = block ? `Cluster ${k + 1} of ${blocks.length}` : "No cluster";
    part("block").textContent = block ? block.map((i) => modusView.named(labels[i])).join(", ") : "";
    mark.hidden = !block;
    if (block) Object.assign(mark.style, { left: percent(before), top: percent(before), width: percent(block.length), height: percent(block.length) });
  }
  const under = (y, x) => { // a cell of a block shows the block
    const k = blocks.findIndex((block) => block.includes(order[y]) && block.includes(order[x]));
    if (k >= 0) choose(k);
  };
  modusView.pointed(canvas, () => [K, K], under);
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || !blocks.length) return;
    event.preventDefault();
    choose((chosen + step + blocks.length) % blocks.length);
  });
  part("threshold").value = given.threshold;
  part("threshold").addEventListener("input", () => draw(Number(part("threshold").value)));
  draw(given.threshold);
}
