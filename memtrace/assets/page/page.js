"use strict";
// The page as a whole: its controls, what the cursor says, the URL, and the live connection.
(() => {
  const live = document.body.dataset.live === "true";
  const root = document.documentElement;
  const { make } = Panels;
  const byId = (id) => document.getElementById(id);
  const timeline = new Data.Timeline();
  let head = null;
  let chart = null;
  let at = null;
  let paused = false;
  let waiting = null;
  let epoch = null;

  // The URL: t=FROM-TO or last=SECONDS, on=LINE,…, theme=dark|light, epoch=NUMBER.
  const url = () => new URLSearchParams(location.hash.slice(1));

  function remember() {
    if (following) return;
    const now = url();
    const set = (name, value) => (value === null ? now.delete(name) : now.set(name, value));
    const { range, last } = chart.view;
    const short = (s) => String(Math.round(s * 1000) / 1000);
    set("t", range ? range.map(short).join("-") : null);
    set("last", last ? String(last) : null);
    set("on", [...chart.shown, ...chart.marked].join(","));
    set("theme", root.dataset.theme ?? null);
    set("epoch", epoch === null || epoch === latest() ? null : String(epoch));
    const text = now.toString().replaceAll("%2C", ",");
    history.replaceState(null, "", `${location.pathname}${location.search}#${text}`);
  }

  // Lines come to be known while a capture goes on: each is shown or not when it does, as the URL or else its nature says.
  let wish = null;
  const decided = new Set();
  let following = false;

  function decide() {
    for (const line of [...Chart.LINES, ...Chart.MARKS]) {
      if (decided.has(line.key) || !known(line.key)) continue;
      if (!wish && line.whereSeen && !seen(line.key)) continue;
      decided.add(line.key);
      switched(line.key, wish ? wish.has(line.key) : line.on || line.whereSeen);
    }
  }

  function follow() {
    const wanted = url();
    following = true;
    theme(wanted.get("theme"));
    const on = wanted.get("on");
    wish = on === null ? null : new Set(on.split(","));
    decided.clear();
    for (const line of [...Chart.LINES, ...Chart.MARKS]) switched(line.key, false);
    decide();
    const t = /^(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)$/.exec(wanted.get("t") ?? "");
    const last = Number(wanted.get("last"));
    chart.zoom(t ? [Number(t[1]), Number(t[2])] : null, !t && last > 0 ? last : null);
    const number = wanted.get("epoch");
    program(number !== null && /^\d+$/.test(number) ? Number(number) : latest());
    following = false;
  }

  const seen = (key) => (timeline.columns[key] ?? []).some((number) => number);
  const known = (key) => Chart.MARKS.some((mark) => mark.key === key) || timeline.columns[key] !== undefined;

  // Dark and light.
  function theme(wanted) {
    if (wanted === "dark" || wanted === "light") root.dataset.theme = wanted;
    else delete root.dataset.theme;
    const button = byId("theme");
    if (button) button.textContent = root.dataset.theme ? `theme: ${root.dataset.theme}` : "theme: as the system";
    chart?.recolour();
    paint();
    if (chart) sums();
  }

  // The swatches: their colours come from the style, as the lines' do.
  function paint() {
    if (!chart) return;
    for (const button of document.querySelectorAll("#lines button[data-key]")) {
      const swatch = button.querySelector(".swatch");
      const mark = Chart.MARKS.some((known) => known.key === button.dataset.key);
      swatch.style.background = mark ? `var(--${button.dataset.key})` : chart.colour(button.dataset.key);
    }
    read();
  }

  function button(text, title, act) {
    const made = make("button", "", text);
    made.type = "button";
    made.title = title;
    made.addEventListener("click", act);
    return made;
  }

  // Which program's tables are shown.
  const latest = () => Math.max(0, ...[...document.querySelectorAll(".epoch")].map((box) => Number(box.dataset.epoch)));

  function program(number) {
    const all = [...document.querySelectorAll(".epoch")];
    if (!all.some((box) => Number(box.dataset.epoch) === number)) number = latest();
    epoch = number;
    for (const box of all) box.hidden = Number(box.dataset.epoch) !== number;
    const select = byId("program");
    if (select) select.value = String(number);
  }

  function controls() {
    const bar = byId("controls");
    const boxes = [...document.querySelectorAll("#above .epoch")];
    if (boxes.length > 1) {
      const select = make("select");
      select.id = "program";
      for (const box of boxes) {
        const option = make("option", "", box.dataset.title);
        option.value = box.dataset.epoch;
        select.append(option);
      }
      select.addEventListener("change", () => {
        program(Number(select.value));
        remember();
      });
      const label = make("label", "", "program ");
      label.append(select);
      bar.append(label);
    }
    if (live) {
      const pause = button("pause", "Let the page stand still; the capture goes on", () => {
        paused = !paused;
        pause.textContent = paused ? "go on" : "pause";
        pause.setAttribute("aria-pressed", String(paused));
        if (!paused) soon();
        about();
      });
      pause.id = "pause";
      pause.setAttribute("aria-pressed", "false");
      bar.append(pause);
    }
    const next = { undefined: "dark", dark: "light", light: null };
    const themes = button("theme: as the system", "Dark, light, or as the system has it", () => {
      theme(next[String(root.dataset.theme)]);
      remember();
    });
    themes.id = "theme";
    bar.append(themes);
  }

  function legend() {
    const box = make("div");
    box.id = "lines";
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Lines and marks");
    for (const line of [...Chart.LINES, ...Chart.MARKS]) {
      const made = button("", `Show or hide ${line.label}`, () => {
        decided.add(line.key);
        switched(line.key, made.getAttribute("aria-pressed") !== "true");
        remember();
        read();
      });
      made.dataset.key = line.key;
      made.append(make("span", "swatch"), make("span", "label", line.label), " ", make("b", "value"));
      box.append(made);
    }
    return box;
  }

  // Lines of figures that this capture has not have no button.
  function offered() {
    for (const made of document.querySelectorAll("#lines button[data-key]")) {
      const { key } = made.dataset;
      made.hidden = !known(key) || (key === "gc" && !timeline.columns.go_num_gc) || (key === "exec" && !timeline.marks.length);
      if (key === "rss") made.querySelector(".label").textContent = head.exact ? "RSS" : "~RSS";
    }
    byId("chart-bars").hidden = byId("causes").hidden = !head.exact;
    byId("axis").textContent = head.exact
      ? "RSS gained and lost, by cause"
      : "RSS is sampled, so there are no bytes by cause: the table below has calls and requested bytes";
  }

  function switched(key, on) {
    chart.toggle(key, Boolean(on));
    document.querySelector(`#lines button[data-key="${key}"]`).setAttribute("aria-pressed", String(Boolean(on)));
  }

  function build() {
    const place = byId("timeline");
    const box = make("div");
    box.id = "charts";
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute(
      "aria-label",
      "Chart. Left and right move the cursor, with Shift the range; plus and minus zoom; Escape shows everything. What the cursor says is below.",
    );
    const lines = make("div");
    const bars = make("div");
    lines.id = "chart-lines";
    bars.id = "chart-bars";
    const axis = make("p", "axis");
    axis.id = "axis";
    box.append(lines, axis, bars);
    const buttons = make("div", "zoom");
    const by = (factor) => () => scale(factor);
    buttons.append(
      button("all", "Show all of it (Escape, double click)", () => chart.zoom(null)),
      button("last 10 min", "Show the last 10 minutes", () => chart.zoom(null, 600)),
      button("last 1 min", "Show the last minute", () => chart.zoom(null, 60)),
      button("+", "Zoom in (+)", by(0.5)),
      button("\u2212", "Zoom out (-)", by(2)),
    );
    const texts = make("div");
    texts.id = "texts";
    for (const id of ["readout", "causes"]) {
      const text = make("div");
      text.id = id;
      texts.append(text);
    }
    const rare = make("p", "note", "LazyFree, AnonHugePages and the cgroup are read at some ticks only: those have points; dots lead from one to the next, and nothing is known in between. Where memtrace did not run, there is no line.");
    place.replaceChildren(make("h2", "unseen", "Timeline"), legend(), buttons, box, texts, rare);
    chart = Chart.create({ lines, bars, box }, timeline, {
      moved(row) {
        at = row;
        read();
      },
      zoomed() {
        remember();
        read();
        sums();
      },
    });
    box.addEventListener("keydown", keys);
    new ResizeObserver(() => {
      chart.resize(Math.max(240, box.clientWidth));
      if (timeline.rows) sums();
    }).observe(box);
    chart.resize(Math.max(240, box.clientWidth));
  }

  function scale(factor) {
    const [a, b] = chart.range();
    const middle = at === null ? (a + b) / 2 : timeline.t[at];
    chart.zoom([middle - (middle - a) * factor, middle + (b - middle) * factor]);
  }

  function keys(event) {
    const [a, b] = chart.range();
    const step = event.key === "ArrowLeft" ? -1 : 1;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    switch (event.key) {
      case "ArrowLeft":
      case "ArrowRight":
        if (event.shiftKey) {
          const by = Math.min(Math.max(((b - a) / 4) * step, timeline.start - a), timeline.end - b);
          chart.zoom([a + by, b + by]);
        } else if (timeline.rows) {
          const [first, last] = [timeline.row(a), Math.min(timeline.row(b), timeline.rows - 1)];
          const fine = Math.max(1, Math.round((last - first) / 200));
          at = Math.min(Math.max((at ?? (step < 0 ? last + 1 : first - 1)) + step * fine, first), last);
          chart.point(at);
          read();
        }
        break;
      case "+":
      case "=":
        scale(0.5);
        break;
      case "-":
        scale(2);
        break;
      case "Escape":
      case "0":
        chart.zoom(null);
        break;
      default:
        return;
    }
    event.preventDefault();
  }

  // What the cursor says, or the last row: every figure in full.
  function read() {
    if (!timeline.rows) return;
    const row = Math.min(at ?? timeline.rows - 1, timeline.rows - 1);
    const table = make("table");
    table.append(make("caption", "", "What the cursor says"));
    const body = make("tbody");
    const entry = (name, key, bytes, shown, note, swatch) => {
      const line = make("tr");
      line.dataset.key = key;
      const th = make("th");
      th.scope = "row";
      const mark = make("span", "swatch");
      mark.style.background = swatch;
      th.append(mark, name);
      const value = make("td", "n", shown);
      if (bytes !== null) value.dataset.value = String(bytes);
      line.append(th, value, make("td", "n exact", bytes === null ? "" : Format.digits(bytes)), make("td", "note", note));
      body.append(line);
    };
    for (const line of Chart.LINES) {
      const from = line.rare ? timeline.reading(line.key, row) : row;
      const bytes = from < 0 ? null : timeline.at(line.key, from);
      const made = document.querySelector(`#lines button[data-key="${line.key}"]`);
      const approximate = !head.exact && line.key.startsWith("rss") ? "~" : "";
      const shown = bytes === null ? "-" : approximate + Format.size(bytes);
      made.querySelector(".value").textContent = shown;
      if (!chart.shown.has(line.key)) continue;
      const notes = [];
      if (from >= 0 && from < row) notes.push(`read at ${Format.time(timeline.t[from])}`);
      if (approximate && head.bound !== null) notes.push(`\u00b1 ${Format.size(head.bound)}`);
      const [low, high] = [timeline.at("rss_lowest", row), timeline.at("rss_highest", row)];
      if (line.key === "rss" && low !== high) notes.push(`from ${Format.size(low)} to ${Format.size(high)} in these ${timeline.at("ticks", row)} ticks`);
      entry(line.label, line.key, bytes, shown, notes.join(", "), chart.colour(line.key));
    }
    const bin = chart.bin(row);
    for (const part of bin?.parts ?? []) {
      const { name } = timeline.causes[part.number];
      const notes = [];
      if (part.up && part.down) notes.push(`${Format.change(part.up)} and ${Format.change(part.down)}`);
      if (part.calls) notes.push(part.calls === 1 ? "1 call" : `${Format.digits(part.calls)} calls`);
      if (part.requested) notes.push(`asked for ${Format.size(part.requested)}`);
      const bytes = head.exact ? part.up + part.down : null;
      entry(name, `cause:${name}`, bytes, bytes === null ? "-" : Format.change(bytes), notes.join(", "), chart.causeColour(part.number));
    }
    table.append(body);
    const said = [`${Format.time(timeline.t[row])} after the start`, Format.clock(head, timeline.t[row])];
    if (timeline.at("faults", row) !== null) said.push(`${Format.digits(timeline.at("faults", row))} page faults`);
    if (timeline.collections(row)) said.push(`GC number ${timeline.at("go_num_gc", row)}`);
    if (chart.release(row)) said.push(`gave back ${Format.size(chart.release(row))}`);
    if (timeline.gap(row)) said.push("a gap before it: memtrace did not run");
    if (bin && bin.end > bin.begin) said.push(`causes from ${Format.time(bin.from)} to ${Format.time(bin.to)}`);
    const line = make("p", "", said.filter(Boolean).join(", "));
    line.dataset.row = row;
    byId("readout").replaceChildren(line, table);
  }

  // What the causes did in all that is shown: the sums of the bars.
  function sums() {
    const bins = chart.bins();
    const all = new Map();
    for (const bin of bins) {
      for (const part of bin.parts) {
        const sum = all.get(part.number) ?? { up: 0, down: 0 };
        sum.up += part.up;
        sum.down += part.down;
        all.set(part.number, sum);
      }
    }
    const moved = [...all].filter(([, sum]) => sum.up || sum.down).sort(([, a], [, b]) => b.up - b.down - (a.up - a.down));
    const table = make("table");
    table.append(make("caption", "", "What the causes moved in the time that is shown"));
    const head = make("tr");
    for (const [name, look] of [["cause", ""], ["gained", "n"], ["lost", "n"], ["change", "n"]]) {
      const th = make("th", look, name);
      th.scope = "col";
      head.append(th);
    }
    const thead = make("thead");
    thead.append(head);
    const body = make("tbody");
    for (const [number, { up, down }] of moved) {
      const { name } = timeline.causes[number];
      const row = make("tr");
      row.dataset.cause = name;
      const th = make("th");
      th.scope = "row";
      const swatch = make("span", "swatch");
      swatch.style.background = chart.causeColour(number);
      th.append(swatch, name);
      row.append(th);
      for (const bytes of [up, down, up + down]) {
        const cell = make("td", "n", Format.change(bytes));
        cell.dataset.value = String(bytes);
        cell.title = `${Format.digits(bytes)} bytes`;
        row.append(cell);
      }
      body.append(row);
    }
    table.append(thead, body);
    const [first, last] = [bins[0], bins[bins.length - 1]];
    const when = first ? `Causes from ${Format.time(first.from)} to ${Format.time(last.to)}` : "";
    const none = head && !moved.length ? ": nothing moved" : "";
    byId("causes").replaceChildren(make("p", "", when + none), ...(moved.length ? [table] : []));
  }

  // Stays until the connection tells something again, whatever is drawn meanwhile.
  let trouble = "";
  function about() {
    const parts = [];
    if (trouble) parts.push(trouble);
    if (paused) parts.push("paused");
    if (head) {
      parts.push(head.exact ? "exact" : head.bound === null ? "~ approximate" : `~ approximate: RSS \u00b1 ${Format.size(head.bound)}`);
      parts.push(`from ${head.started_at}`);
      parts.push(head.ended ?? "live");
      parts.push(`memtrace ${head.version}`);
      byId("name").textContent = head.process;
      document.title = `${head.process} - memtrace`;
    }
    byId("about").textContent = parts.join(", ");
  }

  function take(told) {
    head = told.head;
    timeline.interval = head.interval_us / 1e6;
    timeline.add(told.series);
    for (const mark of told.marks) timeline.marks.push({ t: mark.t_us / 1e6, name: mark.name });
  }

  function refresh() {
    offered();
    decide();
    chart.redraw();
    read();
    sums();
    const box = byId("charts");
    box.dataset.rows = timeline.rows;
    box.dataset.bins = chart.bins().length;
  }

  // As often as the screen, at most.
  let due = false;
  function soon() {
    if (due || paused) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      if (!paused) {
        if (waiting) {
          Panels.show(waiting);
          waiting = null;
          program(latest());
        }
        about();
        refresh();
      }
    });
  }

  function begin() {
    build();
    offered();
    follow();
    refresh();
    root.dataset.ready = "1";
  }

  function connect() {
    const source = new EventSource(`events${location.search}`);
    source.addEventListener("state", (event) => {
      const told = JSON.parse(event.data);
      trouble = "";
      Object.assign(timeline, new Data.Timeline());
      take(told);
      waiting = told.epochs[told.epochs.length - 1] ?? null;
      if (chart) soon();
      else {
        if (waiting) Panels.show(waiting);
        waiting = null;
        begin();
        about();
      }
    });
    source.addEventListener("update", (event) => {
      const told = JSON.parse(event.data);
      trouble = "";
      take(told);
      waiting = told.epoch ?? waiting;
      soon();
    });
    source.addEventListener("end", () => {
      source.close();
      trouble = head?.ended ? "" : "the capture has ended";
      about();
    });
    source.addEventListener("error", () => {
      const closed = source.readyState === EventSource.CLOSED;
      trouble = closed ? "memtrace has gone, or lets nobody in any more" : "the connection is lost; trying again";
      about();
    });
  }

  controls();
  theme(url().get("theme"));
  if (live) {
    trouble = "connecting";
    about();
    connect();
  } else {
    const told = JSON.parse(byId("state").textContent);
    take(told);
    Panels.sortable(document);
    begin();
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme(root.dataset.theme));
  addEventListener("hashchange", () => chart && follow());
})();
