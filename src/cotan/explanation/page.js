"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const get = (id) => document.getElementById(id);
  const [search, found, clear, detail] = ["search", "found", "clear", "detail"].map(get);
  const LINES = ".row[data-row], .line[data-defines], .rule";
  const FOUND = ".row[data-row]:not(.hidden), .line[data-defines]:not(.hidden)"; // of an open fold, or a stage
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
  const definesOf = (line) => defined(line).map(nameOf);
  const filling = (line) => {
    const first = data().starts[line] + 3 + formOf(line)[2];
    return [...data().numbers.subarray(first, first + formOf(line)[1])];
  };
  const usesOf = (line) => [...new Set(filling(line).map(nameOf))];
  const withRole = (text, role) => role === "value" || role === "" ? escaped(text) : `<span class="${role}">${escaped(text)}</span>`;
  const formula = (line) => {
    const symbols = filling(line);
    return formOf(line)[0].map((part) => {
      if (typeof part === "string") return escaped(part);
      if (Array.isArray(part)) return withRole(...part);
      if (part < 0) return part === -1 ? '<span class="kept">' : "</span>";
      return withRole(nameOf(symbols[part]), data().roles[symbols[part]]);
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
      html += `<div class="line" data-row="${rowOfLine(line)}" data-defines="${escaped(definesOf(line).join("\n"))}" data-uses="${escaped(usesOf(line).join("\n"))}"><span>${statement(line, "button", "name ")}</span><span class="type">${escaped(formOf(line)[3])}</span><span class="note">${escaped(noteOf(line))}</span></div>`;
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
    const symbols = filling(line).map(nameOf);
    const right = formOf(line)[0].map((part) => typeof part === "string" ? part : Array.isArray(part) ? part[0] : symbols[part] ?? "").join("");
    const left = definesOf(line).join(", ");
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
    if (sliced) all(".line[data-defines]", template.content).forEach((line, k) => { if (sliced.has(extent(fold)[0] + k)) sliced.add(line); });
    apply(template.content);
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

  // Search leaves what contains the text; a slice of a value, the lines of each program on which it depends.
  let wanted = "";
  let sliced = null; // the elements of these lines, the numbers of those that are folded; rows: their rows
  let rows = new Set();
  const plain = new WeakMap(); // of an element its text; of a fold those of its lines
  const textOf = (element) => plain.get(element) ?? plain.set(element, element.textContent.replace(/[\u2061\u2062]/g, "").toLowerCase()).get(element);
  const textsIn = (fold) => plain.get(fold) ?? plain.set(fold, [...linesIn(fold).map(textOfLine), ...rowsIn(fold).map(textOfRow)].map((text) => text.toLowerCase())).get(fold);
  const apply = (root) => {
    for (const element of all(LINES, root)) element.classList.toggle("hidden", Boolean(wanted) && !textOf(element).includes(wanted));
    for (const line of all(".line[data-defines]", root)) line.classList.toggle("dimmed", sliced !== null && !sliced.has(line));
    for (const row of all(".row[data-row]", root)) row.classList.toggle("dimmed", sliced !== null && !rows.has(row.dataset.row));
  };
  const label = (part, count) => { // how many lines are in what is closed
    const { dataset } = part.firstElementChild;
    if (count) dataset.found = count; else delete dataset.found;
  };
  const labelled = (fold) => Number(fold.firstElementChild.dataset.found ?? 0);
  const counted = (fold) => wanted && folded.has(fold) ? textsIn(fold).filter((text) => text.includes(wanted)).length : 0;
  const filter = (text) => {
    wanted = text.trim().toLowerCase();
    apply(document);
    document.body.classList.toggle("searching", Boolean(wanted));
    let count = wanted ? all(LINES).filter((element) => !element.classList.contains("hidden")).length : 0;
    let shown = count;
    const closed = new Map();
    for (const fold of all("details.fold").reverse()) {
      closed.set(fold, counted(fold));
      count += closed.get(fold);
      const inner = all(":scope > details.fold", fold);
      const here = closed.get(fold) + (inner.length ? inner.reduce((sum, part) => sum + labelled(part), 0) : fold.querySelectorAll(FOUND).length);
      label(fold, wanted ? here : 0);
      fold.classList.toggle("hidden", Boolean(wanted) && !here);
    }
    for (const stage of all(".stage")) {
      label(stage, wanted ? all("details.fold", stage).reduce((sum, fold) => sum + closed.get(fold), stage.querySelectorAll(FOUND).length) : 0);
    }
    for (const [fold, more] of [...closed].reverse()) {
      if (!wanted || !labelled(fold) || shown + more > SHOWN) continue;
      shown += more;
      fold.open = true;
      unfold(fold);
    }
    found.textContent = wanted ? `${count} found` : "";
    clear.hidden = !wanted && sliced === null;
  };
  // The programs of a stage, its own and those that ops hold: by name, the line that defines it.
  const programsOf = (stage) => {
    const programs = new Map(); // by the element that lists the lines, or the number of the first one
    const add = (key, held, line) => {
      const program = programs.get(key) ?? programs.set(key, { held, makers: new Map() }).get(key);
      for (const name of line.defines) if (name) program.makers.set(name, line);
    };
    for (const line of all(".line[data-defines]", stage)) {
      const listing = line.closest(".listing");
      const [defines, uses] = [line.dataset.defines, line.dataset.uses].map((names) => names.split("\n"));
      add(listing, Boolean(listing.closest(".held")), { at: line, row: line.dataset.row, defines, uses, inner: () => linesHeldBy(line) });
    }
    const walk = (fold, first, end, key, held) => {
      for (let line = first; line < end; line++) {
        const inner = data().held[line] ?? [];
        const last = inner.length ? inner[inner.length - 1][3] : line + 1;
        const below = () => Array.from({ length: last - line - 1 }, (_, k) => [line + 1 + k, rowOfLine(line + 1 + k)]);
        add(key, held, { at: line, fold, row: rowOfLine(line), defines: definesOf(line), uses: usesOf(line), inner: below });
        for (const [, , from, to] of inner) walk(fold, from, to, from, true);
        line = last - 1;
      }
    };
    for (const fold of all("details.fold[data-lines]", stage)) {
      const listing = fold.closest(".listing");
      if (folded.has(fold)) walk(fold, ...extent(fold), listing, Boolean(listing.closest(".held")));
    }
    return programs.values();
  };
  const linesHeldBy = (line) => {
    const found = [];
    for (let part = line.nextElementSibling; part?.matches(".held"); part = part.nextElementSibling) {
      for (const fold of all("details.fold[data-lines]", part)) if (folded.has(fold)) found.push(...linesIn(fold).map((number) => [number, rowOfLine(number)]));
      found.push(...all(".line[data-defines]", part).map((inner) => [inner, inner.dataset.row]));
    }
    return found;
  };
  const slice = (name, held) => { // of a value of the stages, or of the programs that ops hold
    sliced = new Set();
    rows = new Set();
    let count = 0;
    for (const stage of all(".stage")) {
      const lines = new Set();
      for (const program of programsOf(stage)) {
        const todo = program.held === held && program.makers.has(name) ? [program.makers.get(name)] : [];
        while (todo.length) {
          const line = todo.pop();
          if (lines.has(line)) continue;
          lines.add(line);
          for (const [at, row] of [[line.at, line.row], ...line.inner()]) { sliced.add(at); rows.add(row); }
          for (const used of line.uses) if (program.makers.has(used)) todo.push(program.makers.get(used));
        }
      }
      const perFold = new Map();
      for (const { fold } of lines) if (fold) perFold.set(fold, (perFold.get(fold) ?? 0) + 1);
      for (const fold of all("details.fold", stage)) label(fold, perFold.get(fold));
      label(stage, lines.size);
      count += lines.size;
    }
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
    if (name) slice(name.textContent, Boolean(name.closest(".held")));
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
