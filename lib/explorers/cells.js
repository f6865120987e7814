// What the explorers draw and list with.
var modusView = {
  // Puts other elements into a list, with the focus and the place where they were; an element is known by `data-key`.
  fill(list, elements) {
    const inside = list.contains(document.activeElement), key = inside && document.activeElement.dataset.key, top = list.scrollTop;
    list.replaceChildren(...elements);
    list.scrollTop = top;
    if (!inside) return;
    const buttons = [...list.querySelectorAll("[data-key]")];
    const next = buttons.find((b) => b.dataset.key === key) || buttons[0];
    if (next) next.focus({ preventScroll: true });
  },
  button(text, key, act) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.dataset.key = key;
    button.addEventListener("click", act);
    return button;
  },
  options(select, texts, values = texts) {
    select.replaceChildren(...texts.map((text, i) => new Option(text, values[i])));
  },
  // Cells of a canvas, a pixel each; colour(row, column) gives [red, green, blue, opacity] or nothing.
  paint(canvas, rows, columns, colour) {
    Object.assign(canvas, { width: columns, height: rows });
    const picture = new ImageData(columns, rows);
    for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) {
      const c = colour(y, x);
      if (c) picture.data.set([c[0], c[1], c[2], 255 * c[3]], 4 * (y * columns + x));
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
  },
  // A label in a sentence: one of a single character could pass for the sentence's own.
  named: (label) => ([...label].length === 1 ? `“${label}”` : label),
  counted: (n, thing) => `${n} ${thing}${n === 1 ? "" : "s"}`,
  // A sample of a colour and what it stands for, which stay together.
  key: (colour, words, style = "") => `<span class="keyed"><span class="key" style="background:${colour};${style}"></span>${words}</span>`,
  css: (c) => (c ? `rgba(${c.slice(0, 3)},${c[3]})` : "transparent"),
  rgb: (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)),
  // Calls point(row, column, pressed) for the cell under a pointer that moves or presses: a tap tells what hovering does.
  pointed(canvas, size, point) {
    const at = (event) => {
      const box = canvas.getBoundingClientRect(), [rows, columns] = size();
      const inside = (v, n) => Math.min(n - 1, Math.max(0, Math.floor(v * n)));
      return [inside((event.clientY - box.top) / box.height, rows), inside((event.clientX - box.left) / box.width, columns)];
    };
    canvas.addEventListener("pointermove", (event) => point(...at(event), false));
    canvas.addEventListener("click", (event) => point(...at(event), true));
  },
  // Which of `count` cells to show large around one, as many as there is room for.
  around(index, count, room) {
    const shown = Math.min(count, Math.max(5, Math.floor(room / 30)));
    const first = Math.min(count - shown, Math.max(0, index - Math.floor(shown / 2)));
    return [...Array(shown).keys()].map((k) => first + k);
  },
  // Calls `draw` when the page changes between light and dark: what is painted does not follow by itself.
  onMode(draw) {
    new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  },
};
