"use strict";
// Filters, sorts, opens and shows what is there already. No network, no storage.
(() => {
  const body = document.querySelector("#table tbody");
  const rows = [...body.querySelectorAll("tr[data-row]")];
  const control = (id) => document.getElementById(id);
  const opened = new Map();

  const units = [[1e9, "s"], [1e6, "ms"], [1e3, "us"], [1, "ns"]];
  const duration = (ns) => {
    const [scale, unit] = units.find(([s]) => ns >= s) ?? [1, "ns"];
    return scale === 1 ? `${ns} ns` : `${(ns / scale).toPrecision(4)} ${unit}`;
  };

  const filter = () => {
    const words = control("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const dataset = control("dataset").value;
    const plane = control("plane").value;
    const unexpected = control("unexpected").checked;
    let shown = 0;
    for (const row of rows) {
      const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
      const fits = words.every((word) => text.includes(word))
        && (!dataset || row.cells[2].textContent === dataset)
        && (!plane || row.dataset.plane === plane)
        && (!unexpected || row.dataset.unexpected === "true");
      row.hidden = !fits;
      const trials = opened.get(row);
      if (trials) trials.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    control("shown").textContent = `${shown} of ${rows.length} rows`;
  };
  for (const id of ["filter", "dataset", "plane", "unexpected"]) control(id).addEventListener("input", filter);

  // A number with or without a unit; what is none comes last.
  const number = (text) => {
    const found = /^([\d.]+)\s?(ns|us|ms|s)?/.exec(text);
    if (!found) return Infinity;
    const [scale] = units.find(([, unit]) => unit === found[2]) ?? [1];
    return Number(found[1]) * scale;
  };
  const sort = (button) => {
    const heading = button.closest("th");
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of document.querySelectorAll("#table th")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const column = Number(button.dataset.column);
    const numbers = button.dataset.number === "true";
    const keys = new Map(rows.map((row) => {
      const text = row.cells[column].textContent;
      return [row, numbers ? number(text) : text];
    }));
    const order = (a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (!numbers) return x.localeCompare(y, "en", { numeric: true });
      return x === y ? 0 : x < y ? -1 : 1;
    };
    rows.sort((a, b) => (descending ? -order(a, b) : order(a, b)));
    for (const row of rows) {
      body.append(row);
      const trials = opened.get(row);
      if (trials) body.append(trials);
    }
  };
  for (const button of document.querySelectorAll("#table th button")) button.addEventListener("click", () => sort(button));

  const element = (name, text) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // The trials of a dataset are in a file beside the page, which calls this.
  const loaded = new Map();
  const waiting = new Map();
  window.allgoneTrials = (name, data) => loaded.set(name, data);
  const load = (name) => {
    if (!waiting.has(name)) {
      waiting.set(name, new Promise((done) => {
        const script = element("script");
        script.src = `trials/${name}.js`;
        script.onload = () => done(loaded.get(name));
        script.onerror = () => done(undefined);
        document.head.append(script);
      }));
    }
    return waiting.get(name);
  };

  const fill = (cell, name, data, index) => {
    cell.replaceChildren();
    if (!data) {
      cell.append(element("p", `The trials are in trials/${name}.js, which is not beside this page.`));
      return;
    }
    const source = data.rows[index];
    if (source.expected) cell.append(element("p", `Expected: ${source.expected}`));
    const table = element("table");
    const head = element("tr");
    for (const title of ["trial", "block", "outcome", "latency", "note"]) head.append(element("th", title));
    table.append(head);
    for (const [seq, block, outcome, ns] of source.trials) {
      const line = element("tr");
      const texts = [seq, block ?? "", data.outcomes[outcome], ns === null ? "none" : duration(ns), source.notes?.[seq] ?? ""];
      for (const text of texts) line.append(element("td", String(text)));
      table.append(line);
    }
    const frame = element("div");
    frame.className = "raw";
    frame.tabIndex = 0;
    frame.append(table);
    cell.append(frame);
  };

  body.addEventListener("click", (event) => {
    const button = event.target.closest(".open");
    if (!button) return;
    const row = button.closest("tr");
    const there = opened.get(row);
    button.setAttribute("aria-expanded", String(!there));
    if (there) {
      there.remove();
      opened.delete(row);
      return;
    }
    const made = element("tr");
    made.className = "trials";
    const cell = element("td", "loading");
    cell.colSpan = row.cells.length;
    made.append(cell);
    opened.set(row, made);
    row.after(made);
    const name = row.cells[2].textContent;
    load(name).then((data) => fill(cell, name, data, Number(row.dataset.row)));
  });

  // Values of drawings and maps, also under a finger.
  const tip = control("tip");
  const wordsOf = (target) => {
    const field = target.closest?.(".map td[title], .map td[data-words]");
    if (field) {
      // The browser's own would stand beside it.
      if (field.title) { field.dataset.words = field.title; field.removeAttribute("title"); }
      return field.dataset.words;
    }
    return target.closest?.("svg *")?.querySelector(":scope > title")?.textContent;
  };
  const show = (event) => {
    const words = wordsOf(event.target);
    tip.hidden = !words;
    if (!words) return;
    tip.textContent = words;
    const { width, height } = tip.getBoundingClientRect();
    const left = Math.min(event.clientX + 12, document.documentElement.clientWidth - width - 4);
    const above = event.clientY - height - 10;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${above > 0 ? above : event.clientY + 16}px`;
  };
  for (const kind of ["pointerover", "pointerdown"]) document.addEventListener(kind, show);
  document.addEventListener("scroll", () => { tip.hidden = true; }, true);

  // A link into something that is folded opens it.
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  };
  window.addEventListener("hashchange", reveal);
  reveal();

  filter();
})();
