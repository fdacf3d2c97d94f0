"use strict";
// Filters, sorts and opens what is there already. No network, no storage.
(() => {
  const data = JSON.parse(document.getElementById("trials").textContent);
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
      const text = row.textContent.toLowerCase();
      const fits = words.every((word) => text.includes(word))
        && (!dataset || row.dataset.dataset === dataset)
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

  const sort = (button) => {
    const heading = button.closest("th");
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of document.querySelectorAll("#table th")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const column = Number(button.dataset.column);
    const number = button.dataset.number === "true";
    const key = (row) => {
      const text = row.cells[column].dataset.sort;
      if (!number) return text;
      return text === "inf" ? Infinity : Number(text);
    };
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (!number) return x.localeCompare(y, "en", { numeric: true });
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

  const trialsOf = (row) => {
    const source = data.rows[Number(row.dataset.row)];
    const made = element("tr");
    made.className = "trials";
    const cell = element("td");
    cell.colSpan = row.cells.length;
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
    made.append(cell);
    return made;
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
    } else {
      const trials = trialsOf(row);
      opened.set(row, trials);
      row.after(trials);
    }
  });

  filter();
})();
