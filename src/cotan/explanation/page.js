"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byRow = new Map();
  for (const element of all("[data-row]")) {
    const row = element.dataset.row;
    if (row) (byRow.get(row) ?? byRow.set(row, []).get(row)).push(element);
  }

  // Hover or focus on a line marks what comes from the same equation, in every stage.
  let marked = [];
  const mark = (row) => {
    for (const element of marked) element.classList.remove("marked");
    marked = row ? byRow.get(row) ?? [] : [];
    for (const element of marked) element.classList.add("marked");
  };
  const rowOf = (target) => target.closest?.("[data-row]")?.dataset.row ?? "";
  document.addEventListener("mouseover", (event) => mark(rowOf(event.target)));
  document.addEventListener("focusin", (event) => mark(rowOf(event.target)));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { show(null); mark(""); return; }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const here = document.activeElement?.closest(".row[tabindex]");
    if (!here) return;
    const rows = all(".row[tabindex]").filter((row) => row.offsetParent !== null);
    const next = rows[rows.indexOf(here) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) { next.focus(); event.preventDefault(); }
  });

  // The slice of a value: the lines of its stage on which it depends.
  const clear = document.getElementById("clear");
  const found = document.getElementById("found");
  const search = document.getElementById("search");
  const show = (wanted, text = "") => {
    for (const element of all(".dimmed")) element.classList.remove("dimmed");
    clear.hidden = wanted === null;
    found.textContent = text;
    if (wanted === null) { search.value = ""; filter(""); return; }
    for (const line of all(".listing .line")) line.classList.toggle("dimmed", !wanted.has(line));
    const rows = new Set([...wanted].map((line) => line.dataset.row));
    for (const row of all(".row[data-row]")) row.classList.toggle("dimmed", !rows.has(row.dataset.row));
  };
  const slice = (name) => {
    const wanted = new Set();
    for (const listing of all(".listing")) {
      const maker = new Map();
      for (const line of listing.querySelectorAll(":scope > .line")) {
        for (const defined of (line.dataset.defines ?? "").split(" ")) maker.set(defined, line);
      }
      const todo = maker.has(name) ? [maker.get(name)] : [];
      while (todo.length) {
        const line = todo.pop();
        if (wanted.has(line)) continue;
        wanted.add(line);
        for (const used of (line.dataset.uses ?? "").split(" ")) if (maker.has(used)) todo.push(maker.get(used));
      }
    }
    if (wanted.size) show(wanted, `${name} depends on ${wanted.size} line${wanted.size === 1 ? "" : "s"}`);
  };
  document.addEventListener("click", (event) => {
    const name = event.target.closest?.("button.name");
    if (name) slice(name.dataset.name);
  });
  clear.addEventListener("click", () => show(null));

  // Search hides what does not contain the text.
  const filter = (text) => {
    const wanted = text.trim().toLowerCase();
    let count = 0;
    for (const element of all(".row[data-row], .listing > .line, .rule")) {
      const fits = !wanted || element.textContent.toLowerCase().includes(wanted);
      element.classList.toggle("hidden", !fits);
      if (fits && wanted) count += 1;
    }
    if (wanted) {
      for (const group of all("details.group")) group.open = group.querySelector(".row:not(.hidden)") !== null;
      found.textContent = `${count} found`;
      clear.hidden = false;
    }
  };
  search.addEventListener("input", () => {
    filter(search.value);
    if (!search.value) show(null);
  });
})();
