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
// Calls `show` with the names and values found there, now and whenever the address changes; returns the function that
// keeps a choice.
function modusAddress(root, show) {
  "use strict";
  function recall() {
    const [id, ...rest] = location.hash.slice(1).split(":"), here = id === encodeURIComponent(root.id) && rest.length;
    if (here) root.scrollIntoView();
    return Object.fromEntries(new URLSearchParams(here ? rest.join(":") : ""));
  }
  addEventListener("hashchange", () => { const found = recall(); if (Object.keys(found).length) show(found); });
  show(recall());
  return (choice) => history.replaceState(null, "", `#${encodeURIComponent(root.id)}:${new URLSearchParams(choice)}`);
}
