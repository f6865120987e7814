// The element before a script, with an id of its own: `id`, or `id` and a number where the page has that already.
function modusElement(script, id) {
  const root = script.previousElementSibling;
  for (let n = 1; !root.id; n++) {
    const own = n > 1 ? `${id}-${n}` : id;
    if (!document.getElementById(own)) root.id = own;
  }
  return root;
}
// The choice made in an explorer, kept in the page's address as `#<id of its element>:<name>=<value>&...`.
// Gives each name and value found there to `take`, then calls `show`, now and whenever the address changes; returns the
// function that keeps a choice, a list of names and values.
function modusAddress(root, take, show) {
  "use strict";
  function recall() {
    const [id, ...rest] = location.hash.slice(1).split(":");
    if (id !== encodeURIComponent(root.id) || !rest.length) return;
    for (const [name, value] of new URLSearchParams(rest.join(":"))) take(name, value);
    root.scrollIntoView();
  }
  addEventListener("hashchange", () => { recall(); show(); });
  recall();
  show();
  return (choice) => history.replaceState(null, "", `#${encodeURIComponent(root.id)}:${new URLSearchParams(choice)}`);
}
