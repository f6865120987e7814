// Numbers that explorers share, by name: `<run>/<what>`. Those that are not in the page come from small scripts beside
// the book's pages, which lib/explorers/parts.py wrote; scripts, since a page that is read as a file may load no other.
function modusPart(name) {
  "use strict";
  const parts = (window.modusParts = window.modusParts || {}), asked = (window.modusAsked = window.modusAsked || {});
  if (name in parts) return Promise.resolve(parts[name]);
  if (!modusPart.beside()) return Promise.reject(new Error("it is not in this notebook"));
  asked[name] = asked[name] || new Promise((done, failed) => {
    const script = document.createElement("script"), path = name.split("/").map(encodeURIComponent).join("/");
    script.src = `${document.documentElement.dataset.content_root}_static/explorers/${path}.js`;
    script.onload = () => (name in parts ? done(parts[name]) : script.onerror());
    script.onerror = () => { delete asked[name]; failed(new Error("its file is not beside the page")); };
    document.head.append(script);
  });
  return asked[name];
}
modusPart.beside = () => document.documentElement.dataset.content_root !== undefined; // is this a page of the book?
modusPart.given = (name, value) => { (window.modusParts = window.modusParts || {})[name] = value; };

// Runs that a kind of explorer can show, by name; none but the page's own where the others' numbers cannot be loaded.
modusPart.runs = async (kind, own) => {
  const found = await modusPart("runs").catch(() => ({}));
  return own in found ? Object.keys(found).filter((name) => found[name].includes(kind)) : [own];
};
// Bytes and 16-bit integers as they travel.
modusPart.bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
modusPart.integers = (text) => new Int16Array(modusPart.bytes(text).buffer);
