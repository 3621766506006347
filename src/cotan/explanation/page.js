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

  // What is folded in a large page lies in it as numbers (page_data.py), of which elements are made when they are shown.
  const escaped = (text) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
  let read = null;
  const data = () => read ??= decoded(JSON.parse(get("data").textContent));
  const decoded = (found) => {
    const [numbers, table] = [found.lines, found.table].map((text) => {
      const bytes = atob(text);
      const result = new Uint8Array(bytes.length);
      for (let k = 0; k < bytes.length; k++) result[k] = bytes.charCodeAt(k);
      return new Int32Array(result.buffer);
    });
    const starts = [];
    for (let at = 0; at < numbers.length; at += 3 + found.forms[numbers[at + 2]][1] + found.forms[numbers[at + 2]][2]) starts.push(at);
    return { ...found, numbers, table, starts };
  };
  // A line has the numbers of its row, note and form, those of the names that it defines, and those of the names in its holes.
  const rowOfLine = (line) => data().rows[data().numbers[data().starts[line]]];
  const noteOf = (line) => data().notes[data().numbers[data().starts[line] + 1]];
  const formOf = (line) => data().forms[data().numbers[data().starts[line] + 2]];
  const defined = (line) => [...data().numbers.subarray(data().starts[line] + 3, data().starts[line] + 3 + formOf(line)[2])];
  const nameOf = (number) => data().names[number];
  const definesOf = (line) => defined(line).map(nameOf).join(" ");
  const fillings = (line) => { const first = data().starts[line] + 3 + formOf(line)[2]; return formOf(line)[0].filter((part) => Number.isInteger(part) && part >= 0).map((part) => data().numbers[first + part]); };
  const usesOf = (line) => fillings(line).map(nameOf);
  const withRole = (text, role) => role === "value" || role === "" ? escaped(text) : `<span class="${role}">${escaped(text)}</span>`;
  const formula = (line) => {
    const filling = fillings(line).values();
    return formOf(line)[0].map((part) => {
      if (typeof part === "string") return escaped(part);
      if (Array.isArray(part)) return withRole(...part);
      if (part < 0) return part === -1 ? '<span class="kept">' : "</span>";
      const number = filling.next().value;
      return withRole(nameOf(number), data().roles[number]);
    }).join("");
  };
  const statement = (line, tag = "span", kind = "") => {
    const left = defined(line).map((number) => `<${tag} class="${kind}${data().roles[number]}">${escaped(nameOf(number))}</${tag}>`).join(", ");
    return `${left}${left && " = "}${formula(line)}`;
  };
  const longLines = (first, end) => {
    let html = "";
    for (let line = first; line < end; line++) {
      const held = data().held[line] ?? [];
      html += `<div class="line" data-row="${rowOfLine(line)}" data-defines="${escaped(definesOf(line))}" data-uses="${escaped([...new Set(usesOf(line))].sort().join(" "))}"><span>${statement(line, "button", "name ")}</span><span class="type">${escaped(formOf(line)[3])}</span><span class="note">${escaped(noteOf(line))}</span></div>`;
      for (const [head, tail, from, to] of held) html += `${head}${longLines(from, to)}${tail}`;
      if (held.length) line = held[held.length - 1][3] - 1;
    }
    return html;
  };
  // The table has a cell for each stage that it shows, with the lines of that which come from the same equation.
  let cells = null;
  const cellsOf = (row) => {
    cells ??= data().shown.map(([id, , , role]) => {
      const found = new Map();
      const collect = (first, end, known) => {
        for (let line = first; line < end; line++) {
          const of = rowOfLine(line);
          if (known(of) || (role && !defined(line).some((number) => data().roles[number] === role))) continue;
          (found.get(of) ?? found.set(of, []).get(of)).push(line);
        }
      };
      collect(...rangeOf(data().stages, id), () => false);
      const before = new Set(found.keys());
      collect(...rangeOf(data().same, id), (of) => before.has(of));
      return found;
    });
    return data().shown.map(([, key, label], k) => [key, label, cells[k].get(row) ?? []]);
  };
  const rangeOf = (stages, id) => stages.find(([stage]) => stage === id).slice(1);
  const rowAt = (k) => data().table.subarray(4 * k, 4 * k + 4);
  const sourceOf = (place) => data().places[place] ?? null;
  const tableRows = (first, end) => {
    let html = '<div role="table" aria-label="Side by side">';
    for (let k = first / 4; k < end / 4; k++) {
      const [line, place, number, depth] = rowAt(k);
      const [file, of, at, text] = sourceOf(place) ?? [];
      const source = file === undefined ? "" : `<span class="number" title="${escaped(file)}, in ${escaped(of)}">${at}</span><code>${escaped(text)}</code>`;
      const classes = `row${place === -1 ? "" : " begins"}${line < 0 ? " title" : ""}${depth ? ` in-${depth}` : ""}`;
      const left = `<div role="cell" class="source">${source}</div>`;
      if (line < 0) {
        const empty = data().shown.slice(1).map(([, key]) => `<div role="cell" class="${key}"></div>`).join("");
        html += `<div class="${classes}" role="row">${left}<div role="cell" class="primal">${escaped(data().titles[-1 - line])}</div>${empty}</div>`;
        continue;
      }
      const [verb, anchor] = data().ops[number];
      const link = anchor ? `<a class="op" href="#${anchor}" title="The rule of ${escaped(verb)}">${escaped(verb)}</a>` : "";
      const columns = cellsOf(rowOfLine(line)).map(([key, label, lines], j) => {
        const texts = lines.map((it) => `<div class="line" title="${escaped(formOf(it)[3])}">${statement(it)}</div>`).join("");
        return `<div role="cell" class="${key}" data-label="${label}">${j ? "" : link}${texts}</div>`;
      }).join("");
      html += `<div class="${classes}" role="row" tabindex="0" data-row="${rowOfLine(line)}">${left}${columns}</div>`;
    }
    return `${html}</div>`;
  };
  // The text of a folded line, or row, as search sees it.
  const textOfStatement = (line) => {
    const filling = usesOf(line).values();
    const right = formOf(line)[0].map((part) => typeof part === "string" ? part : Array.isArray(part) ? part[0] : part < 0 ? "" : filling.next().value).join("");
    const left = defined(line).map(nameOf).join(", ");
    return left ? `${left} = ${right}` : right;
  };
  const textOfLine = (line) => `${textOfStatement(line)}${formOf(line)[3]}${noteOf(line)}`;
  const textOfRow = ([line, place, number]) => {
    const [, , at, text] = sourceOf(place) ?? [];
    const [verb, anchor] = data().ops[number];
    return `${text === undefined ? "" : `${at}${text}`}${anchor ? verb : ""}${cellsOf(rowOfLine(line)).flatMap(([, , lines]) => lines.map(textOfStatement)).join("")}`;
  };

  const folded = new Set(all("details.fold:is([data-lines], [data-rows])"));
  const extent = (fold) => (fold.dataset.lines ?? fold.dataset.rows).split(" ").map(Number);
  const linesIn = (fold) => { // of a fold that is not in the table
    if (fold.dataset.lines === undefined) return [];
    const [first, end] = extent(fold);
    return Array.from({ length: end - first }, (_, k) => first + k);
  };
  const rowsIn = (fold) => {
    if (fold.dataset.rows === undefined) return [];
    const [first, end] = extent(fold);
    return Array.from({ length: (end - first) / 4 }, (_, k) => rowAt(first / 4 + k)).filter(([line]) => line >= 0);
  };
  const within = new Map(); // by row, the folds that hold it; made when they are first asked for
  const unfold = (fold) => {
    if (!folded.delete(fold)) return;
    const template = document.createElement("template");
    template.innerHTML = (fold.dataset.rows === undefined ? longLines : tableRows)(...extent(fold));
    register(template.content);
    apply(template.content, fold.closest(".stage"));
    fold.append(template.content);
  };
  document.addEventListener("toggle", (event) => { if (event.target.open) unfold(event.target); }, true);
  const foldsOf = (row) => {
    if (!within.size && folded.size) {
      for (const fold of folded) {
        for (const line of [...linesIn(fold), ...rowsIn(fold).map(([held]) => held)]) {
          const held = rowOfLine(line);
          (within.get(held) ?? within.set(held, new Set()).get(held)).add(fold);
        }
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
  let wanted = "";
  let sliced = null; // by the id of a stage, what the lines define; rows: their rows
  const plain = new WeakMap(); // of an element its text; of a fold those of its lines
  const textOf = (element) => plain.get(element) ?? plain.set(element, element.textContent.replace(/[\u2061\u2062]/g, "").toLowerCase()).get(element);
  const textsIn = (fold) => plain.get(fold) ?? plain.set(fold, [...linesIn(fold).map(textOfLine), ...rowsIn(fold).map(textOfRow)].map((text) => text.toLowerCase())).get(fold);
  const apply = (root, stage = null) => {
    for (const element of all(LINES, root)) element.classList.toggle("hidden", Boolean(wanted) && !textOf(element).includes(wanted));
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
  const counted = (fold) => wanted && folded.has(fold) ? textsIn(fold).filter((text) => text.includes(wanted)).length : 0;
  const filter = (text) => {
    wanted = text.trim().toLowerCase();
    apply(document);
    document.body.classList.toggle("searching", Boolean(wanted));
    let count = wanted ? all(LINES).filter((element) => !element.classList.contains("hidden")).length : 0;
    let shown = count;
    for (const fold of all("details.fold").reverse()) {
      const closed = counted(fold);
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
  const makers = (stage) => { // by name, the line that defines it: an element, or a number and its fold
    const found = new Map();
    for (const line of all(".line[data-defines]", stage)) for (const name of line.dataset.defines.split(" ")) found.set(name, [line, null]);
    for (const fold of all("details.fold", stage)) {
      if (folded.has(fold)) for (const line of linesIn(fold)) for (const number of defined(line)) found.set(nameOf(number), [line, fold]);
    }
    return found;
  };
  const partsOf = (line, fold) => fold
    ? { row: rowOfLine(line), defines: definesOf(line), uses: usesOf(line) }
    : { row: line.dataset.row, defines: line.dataset.defines, uses: line.dataset.uses.split(" ") };
  const slice = (name) => {
    const result = new Map([["rows", new Set()]]);
    let count = 0;
    for (const stage of all(".stage")) {
      const maker = makers(stage);
      const todo = maker.has(name) ? [maker.get(name)] : [];
      const lines = new Set();
      const perFold = new Map();
      while (todo.length) {
        const [line, fold] = todo.pop();
        const { row, defines, uses } = partsOf(line, fold);
        if (lines.has(defines)) continue;
        lines.add(defines);
        result.get("rows").add(row);
        if (fold) perFold.set(fold, (perFold.get(fold) ?? 0) + 1);
        for (const used of uses) if (maker.has(used)) todo.push(maker.get(used));
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
