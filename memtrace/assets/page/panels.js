"use strict";
// Tables and texts: the same elements as the document is written with, from what the server tells. Texts are set as texts.
const Panels = (() => {
  const ABOVE = ["answer"];

  function make(name, look, text) {
    const element = document.createElement(name);
    if (look) element.className = look;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function list(block) {
    const ul = make("ul");
    for (const item of block.items) {
      const li = make("li");
      if (item.head) li.append(make("code", "", item.head), " ");
      li.append(item.text);
      ul.append(li);
    }
    return ul;
  }

  function table(block) {
    const scroll = make("div", "scroll");
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", block.caption);
    const table = make("table", block.sortable ? "sortable" : "");
    table.append(make("caption", "", block.caption));
    if (block.columns.some((column) => column.name)) {
      const row = make("tr");
      for (const column of block.columns) {
        const th = make("th", column.numeric ? "n" : "", column.name);
        th.scope = "col";
        row.append(th);
      }
      const head = make("thead");
      head.append(row);
      table.append(head);
    }
    const body = make("tbody");
    for (const told of block.rows) {
      const row = make("tr", told.look);
      told.cells.forEach((cell, place) => {
        const element = make(place ? "td" : "th", block.columns[place]?.numeric ? "n" : "", cell.text);
        if (!place) element.scope = "row";
        if (cell.value !== undefined) element.dataset.value = cell.value;
        if (cell.hint) element.title = cell.hint;
        row.append(element);
      });
      body.append(row);
    }
    table.append(body);
    scroll.append(table);
    return scroll;
  }

  const BLOCKS = {
    text: (block) => make("p", block.look, block.text),
    heading: (block) => make("h3", "", block.text),
    list,
    table,
  };

  function panel(told) {
    const section = make("section", "panel");
    section.dataset.panel = told.id;
    section.append(make("h2", "", told.title));
    for (const block of told.blocks) section.append(BLOCKS[block.kind](block));
    section.dataset.told = JSON.stringify(told);
    return section;
  }

  // What the present program's panels say; those that say the same stay as they are, with where they are scrolled to.
  function show(epoch) {
    for (const [id, above] of [["above", true], ["below", false]]) {
      const place = document.getElementById(id);
      let box = place.querySelector(".epoch");
      if (!box || box.dataset.epoch !== String(epoch.number)) {
        box = make("div", "epoch");
        box.dataset.epoch = epoch.number;
        place.replaceChildren(box);
      }
      const wanted = epoch.panels.filter((told) => ABOVE.includes(told.id) === above);
      const before = new Map([...box.children].map((section) => [section.dataset.panel, section]));
      const now = wanted.map((told) => {
        const known = before.get(told.id);
        if (known?.dataset.told === JSON.stringify(told)) return known;
        const made = panel(told);
        if (known) again(known, made);
        sortable(made);
        return made;
      });
      if (now.some((section, i) => box.children[i] !== section) || now.length !== box.children.length) {
        const held = focus(box);
        box.replaceChildren(...now);
        held?.();
      }
    }
  }

  // A table is put into the order that it had, and stays where it was scrolled to.
  function again(known, made) {
    const tables = made.querySelectorAll("table");
    known.querySelectorAll("table").forEach((table, i) => {
      if (!tables[i]) return;
      if (table.dataset.by !== undefined) {
        tables[i].dataset.by = table.dataset.by;
        tables[i].dataset.down = table.dataset.down;
      }
    });
  }

  // Where the focus was in what is replaced, to be set again.
  function focus(box) {
    const held = document.activeElement;
    if (!held || !box.contains(held)) return undefined;
    const section = held.closest("[data-panel]");
    const all = (within) => [...within.querySelectorAll("button, [tabindex]")];
    const place = all(section).indexOf(held);
    const id = section.dataset.panel;
    return () => {
      const now = [...box.children].find((child) => child.dataset.panel === id);
      if (now) all(now)[place]?.focus();
    };
  }

  // Gives each column of a sortable table a button.
  function sortable(within) {
    for (const table of within.querySelectorAll("table.sortable")) {
      const body = table.tBodies[0];
      [...body.rows].forEach((row, i) => (row.dataset.place = i));
      [...table.tHead.rows[0].cells].forEach((th, column) => {
        const button = make("button", "", th.textContent);
        button.type = "button";
        button.addEventListener("click", () => {
          if (table.dataset.by !== String(column)) {
            table.dataset.by = column;
            table.dataset.down = th.className === "n" ? "1" : "";
          } else if (Boolean(table.dataset.down) === (th.className === "n")) {
            table.dataset.down = table.dataset.down ? "" : "1";
          } else {
            delete table.dataset.by;
          }
          order(table);
        });
        th.replaceChildren(button);
      });
      order(table);
    }
  }

  function order(table) {
    const by = table.dataset.by === undefined ? -1 : Number(table.dataset.by);
    const sign = table.dataset.down ? -1 : 1;
    [...table.tHead.rows[0].cells].forEach((th, i) => {
      if (i === by) th.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    });
    const place = (row) => Number(row.dataset.place);
    // What is not known comes last, whichever way.
    const compare = (one, other) => {
      const [a, b] = [one.cells[by], other.cells[by]];
      const [x, y] = [a.dataset.value, b.dataset.value];
      if (x !== undefined && y !== undefined) return sign * (Number(x) - Number(y)) || place(one) - place(other);
      if (x !== undefined || y !== undefined) return x === undefined ? 1 : -1;
      return sign * a.textContent.localeCompare(b.textContent) || place(one) - place(other);
    };
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((one, other) => {
      const sums = (one.className === "sum") - (other.className === "sum");
      return sums || (by < 0 ? place(one) - place(other) : compare(one, other));
    });
    body.append(...rows);
  }

  return { make, show, sortable };
})();
