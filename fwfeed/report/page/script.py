"""What the page does: sort, filter, switch its language, and name countries. It asks for nothing. Pure."""

from __future__ import annotations

SCRIPT = """
"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  const collator = new Intl.Collator("en", { numeric: true });
  const key = (row, column) => row.cells[column].dataset.k ?? row.cells[column].textContent;

  function sort(header) {
    const table = header.closest("table");
    const column = header.cellIndex;
    const numeric = "number" in header.dataset;
    const now = header.getAttribute("aria-sort");
    const up = now === "descending" || (!now && !numeric);
    all("th", table).forEach((each) => each.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].filter((row) => !row.dataset.none);
    const keyed = rows.map((row) => [numeric ? Number(key(row, column)) : key(row, column), row]);
    const order = numeric ? (a, b) => a[0] - b[0] : (a, b) => collator.compare(a[0], b[0]);
    keyed.sort(up ? order : (a, b) => order(b, a));
    table.tBodies[0].prepend(...keyed.map((pair) => pair[1]));
  }
  all("table.sortable th button").forEach((button) => {
    button.addEventListener("click", () => sort(button.closest("th")));
  });

  function filter(text) {
    const words = text.toLowerCase().split(/\\s+/).filter(Boolean);
    all("table.sortable").forEach((table) => {
      let left = 0;
      all("tbody tr:not([data-none])", table).forEach((row) => {
        row.dataset.text ??= row.textContent.toLowerCase();
        row.hidden = !words.every((word) => row.dataset.text.includes(word));
        left += row.hidden ? 0 : 1;
      });
      all("tr[data-none]", table).forEach((row) => { row.hidden = left > 0; });
    });
  }
  const box = document.querySelector(".find input");
  box?.addEventListener("input", () => filter(box.value));

  function name(language) {
    let names;
    try { names = new Intl.DisplayNames([language], { type: "region", fallback: "none" }); } catch { return; }
    all("[data-c]").forEach((each) => {
      const own = each.dataset[language];
      let text;
      try { text = own || names.of(each.dataset.c); } catch { text = undefined; }
      if (text) { each.textContent = text; each.title = text; }
    });
    all("tr[data-text]").forEach((row) => { delete row.dataset.text; });
  }
  function speak(language) {
    root.lang = language;
    document.title = root.dataset[language];
    all("[data-hint-en]").forEach((each) => {
      const text = each.dataset[language === "ja" ? "hintJa" : "hintEn"];
      each.setAttribute("aria-label", text);
      if ("placeholder" in each) { each.placeholder = text; }
    });
    name(language);
    if (box) { filter(box.value); }
  }
  document.querySelector(".language").addEventListener("click", () => speak(root.lang === "ja" ? "en" : "ja"));
  speak(root.lang);
})();
"""
