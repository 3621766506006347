"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const get = (id) => document.getElementById(id);
  const [search, found, clear, detail] = ["search", "found", "clear", "detail"].map(get);
  const LINES = ".row[data-row], .line[data-defines], .rule";
  const FOUND = ":scope > .line:not(.hidden), :scope > [role] > .row[data-row]:not(.hidden)"; // of an open fold
  const SHOWN = 200; // of more lines that are found, the folded ones stay folded

  const byRow = new Map();
  const register = (root) => {
    for (const element of all("[data-row]", root)) {
      const row = element.dataset.row;
      if (row) (byRow.get(row) ?? byRow.set(row, []).get(row)).push(element);
    }
  };

  // What is folded is text in a noscript element until it is shown.
  const folded = new Map(all("details.fold > noscript").map((holder) => [holder.parentElement, holder.textContent]));
  const within = new Map(); // by row, the folds that hold it; made when they are first asked for
  const unfold = (fold) => {
    const text = folded.get(fold);
    if (text === undefined) return;
    folded.delete(fold);
    const template = document.createElement("template");
    template.innerHTML = text;
    register(template.content);
    apply(template.content, fold.closest(".stage"));
    fold.querySelector(":scope > noscript").replaceWith(template.content);
  };
  document.addEventListener("toggle", (event) => { if (event.target.open) unfold(event.target); }, true);
  const foldsOf = (row) => {
    if (!within.size && folded.size) {
      for (const [fold, text] of folded) {
        for (const [, held] of text.matchAll(/ data-row="([^"]*)"/g)) (within.get(held) ?? within.set(held, new Set()).get(held)).add(fold);
      }
    }
    return [...within.get(row) ?? []].map((fold) => fold.firstElementChild);
  };

  // Hover or focus on a line marks what comes from the same equation, in every stage.
  let marked = [];
  let current = "";
  const mark = (row) => {
    if (row === current) return;
    current = row;
    for (const element of marked) element.classList.remove("marked");
    marked = row ? [...byRow.get(row) ?? [], ...foldsOf(row)] : [];
    for (const element of marked) element.classList.add("marked");
    describe(marked.find((element) => element.matches(".row")));
  };
  const describe = (row) => {
    detail.hidden = !row;
    if (!row) return;
    detail.replaceChildren(...all(".line", row).map((line) => {
      const entry = document.createElement("span");
      const name = entry.appendChild(document.createElement("b"));
      name.textContent = line.textContent.split(" = ")[0];
      name.className = line.firstElementChild.className;
      entry.append(` ${line.title}`);
      return entry;
    }));
  };
  const rowOf = (target) => target.closest?.("[data-row]")?.dataset.row ?? "";
  document.addEventListener("mouseover", (event) => mark(rowOf(event.target)));
  document.addEventListener("focusin", (event) => mark(rowOf(event.target)));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { reset(); mark(""); return; }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const here = document.activeElement?.closest(".row[tabindex]");
    if (!here) return;
    const rows = all(".row[tabindex]").filter((row) => row.offsetParent !== null);
    const next = rows[rows.indexOf(here) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) { next.focus(); event.preventDefault(); }
  });

  // Search leaves what contains the text; a slice of a value, the lines of each stage on which it depends.
  let wanted = ""; // as it is in HTML
  let sliced = null; // by the id of a stage, what the lines define; rows: their rows
  const plain = new WeakMap();
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;").replace(/'/g, "&#x27;");
  const textOf = (holder, html) => plain.get(holder) ?? plain.set(holder, html().replace(/<[^>]*>|[\u2061\u2062]/g, "").toLowerCase()).get(holder);
  const apply = (root, stage = null) => {
    for (const element of all(LINES, root)) element.classList.toggle("hidden", Boolean(wanted) && !textOf(element, () => escaped(element.textContent)).includes(wanted));
    for (const line of all(".line[data-defines]", root)) {
      const id = (stage ?? line.closest(".stage")).id;
      line.classList.toggle("dimmed", sliced !== null && !sliced.get(id)?.has(line.dataset.defines));
    }
    for (const row of all(".row[data-row]", root)) row.classList.toggle("dimmed", sliced !== null && !sliced.get("rows").has(row.dataset.row));
  };
  const label = (fold, count) => {
    const { dataset } = fold.firstElementChild;
    if (count) dataset.found = count; else delete dataset.found;
  };
  const counted = (text) => wanted ? text.split("\n").filter((line) => line.includes(wanted)).length : 0;
  const filter = (text) => {
    wanted = escaped(text.trim().toLowerCase());
    apply(document);
    document.body.classList.toggle("searching", Boolean(wanted));
    let count = wanted ? all(LINES).filter((element) => !element.classList.contains("hidden")).length : 0;
    let shown = count;
    for (const fold of all("details.fold").reverse()) {
      const html = folded.get(fold);
      const closed = html === undefined ? 0 : counted(textOf(fold, () => html));
      const below = all(":scope > details.fold", fold).reduce((sum, inner) => sum + Number(inner.firstElementChild.dataset.found ?? 0), 0);
      const here = closed + below + fold.querySelectorAll(FOUND).length;
      count += closed;
      label(fold, wanted ? here : 0);
      fold.classList.toggle("hidden", Boolean(wanted) && !here);
      if (wanted && here && shown + closed <= SHOWN) {
        shown += closed;
        fold.open = true;
        unfold(fold);
      }
    }
    found.textContent = wanted ? `${count} found` : "";
    clear.hidden = !wanted && sliced === null;
  };
  const area = document.createElement("textarea");
  const unescaped = (text) => { area.innerHTML = text; return area.value; };
  const definitions = (stage) => {
    const lines = all(".line[data-defines]", stage).map(({ dataset }) => [dataset.row, dataset.defines, dataset.uses, null]);
    for (const fold of all("details.fold", stage)) {
      for (const [, ...values] of (folded.get(fold) ?? "").matchAll(/ data-row="([^"]*)" data-defines="([^"]*)" data-uses="([^"]*)"/g)) {
        lines.push([...values.map((value) => value.includes("&") ? unescaped(value) : value), fold]);
      }
    }
    return lines;
  };
  const slice = (name) => {
    const result = new Map([["rows", new Set()]]);
    let count = 0;
    for (const stage of all(".stage")) {
      const maker = new Map();
      for (const line of definitions(stage)) for (const defined of line[1].split(" ")) maker.set(defined, line);
      const todo = maker.has(name) ? [maker.get(name)] : [];
      const lines = new Set();
      const perFold = new Map();
      while (todo.length) {
        const line = todo.pop();
        const [row, defines, uses, fold] = line;
        if (lines.has(defines)) continue;
        lines.add(defines);
        result.get("rows").add(row);
        if (fold) perFold.set(fold, (perFold.get(fold) ?? 0) + 1);
        for (const used of uses.split(" ")) if (maker.has(used)) todo.push(maker.get(used));
      }
      count += lines.size;
      result.set(stage.id, lines);
      for (const fold of all("details.fold", stage)) label(fold, perFold.get(fold));
    }
    sliced = result;
    apply(document);
    found.textContent = `${name} depends on ${count} line${count === 1 ? "" : "s"}`;
    clear.hidden = false;
  };
  const reset = () => {
    search.value = "";
    sliced = null;
    filter("");
  };
  document.addEventListener("click", (event) => {
    const name = event.target.closest?.("button.name");
    const link = event.target.closest?.("a.op");
    if (name) slice(name.textContent);
    if (link) { // a frame without an address cannot follow it
      event.preventDefault();
      for (const card of all(".rule.marked")) card.classList.remove("marked");
      const card = get(link.hash.slice(1));
      card.classList.add("marked");
      card.scrollIntoView({ block: "center" });
      card.focus({ preventScroll: true });
    }
  });
  clear.addEventListener("click", reset);
  search.addEventListener("input", () => filter(search.value));
  register(document);
})();
