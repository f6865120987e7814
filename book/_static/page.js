// What must be decided before a page is first seen, so that nothing moves later: its colours, its formulas, and whether
// it shows code.
(({ dataset }) => { // the theme decides so at its end only, and until then code has neither its colours nor its height
  if (dataset.theme === "auto") dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
})(document.documentElement);

window.typeset = new Promise((done) => {
  const page = document.documentElement.classList, show = () => { page.remove("typesetting"); done(); };
  page.add("typesetting");
  setTimeout(show, 15000); // then without
  addEventListener("DOMContentLoaded", async () => {
    const formulas = document.querySelector(".math");
    while (formulas && !(window.MathJax && MathJax.startup)) await new Promise((later) => setTimeout(later, 20));
    if (formulas) await MathJax.startup.promise;
    show();
  });
});

(() => {
  const KEY = "modus-code";
  let shown = innerWidth >= 720;
  try { shown = JSON.parse(localStorage.getItem(KEY)) ?? shown; } catch { /* nothing can be stored here */ }
  const apply = () => {
    document.documentElement.classList.toggle("codeless", !shown);
    for (const button of document.querySelectorAll(".code-switch")) button.textContent = shown ? "Hide code" : "Show code";
  };
  apply();
  addEventListener("DOMContentLoaded", () => {
    apply();
    for (const button of document.querySelectorAll(".code-switch")) {
      button.addEventListener("click", () => {
        shown = !shown;
        apply();
        try { localStorage.setItem(KEY, shown); } catch { /* as above */ }
      });
    }
  });
})();
