"use strict";
// The two charts, lines and causes, on one time axis.
const Chart = (() => {
  // What may be drawn: the document says it. `rare`: read at some ticks only, so drawn from reading to reading, with points.
  const LINES = JSON.parse(document.getElementById("figures").textContent);
  const scale = (line) => (line.key === "vm" ? "vm" : "y");
  const MARKS = [
    { key: "exec", label: "exec", on: true },
    { key: "gc", label: "GC", on: true },
    { key: "release", label: "big releases", on: true },
  ];
  const SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];
  const BYTES = Array.from({ length: 58 }, (_, power) => 2 ** power);
  // Least width of a bar, and of a causes' colour: as many as the style has.
  const BAR = 5;
  const COLOURS = 9;
  const AXIS = 62;

  function create(place, timeline, options) {
    const style = getComputedStyle(document.documentElement);
    let palette = {};
    const colour = (name) => (palette[name] ??= style.getPropertyValue(`--${name}`).trim());
    const lineColour = (key) => colour(`line-${key.replaceAll("_", "-")}`);
    // A cause keeps its colour.
    const taken = new Map();
    const causeColour = (number) => {
      if (!taken.has(number)) taken.set(number, taken.size);
      const place = taken.get(number);
      return colour(place < COLOURS ? `cause-${place}` : "cause-other");
    };

    const view = { range: null, last: null };
    let bins = [];
    let releases = [];
    const shown = new Set();
    const marked = new Set(MARKS.filter((mark) => mark.on).map((mark) => mark.key));
    const keys = LINES.map((line) => line.key);

    const whole = () => {
      const [a, b] = [timeline.start, timeline.end];
      return b > a ? [a, b] : [a, a + 1];
    };
    const range = () => {
      const [a, b] = whole();
      if (view.range) return view.range;
      if (view.last) return [Math.max(a, b - view.last), b];
      return [a, b];
    };

    // The address space is far larger than what is resident, so it has an axis of its own, on the right.
    const right = () => (shown.has("vm") ? AXIS : 0);

    const gaps = (u, series, i0, i1) => {
      const found = [];
      for (let i = Math.max(i0, 1); i <= i1; i++) {
        if (timeline.gap(i)) found.push([timeline.from[i], timeline.t[i]]);
      }
      for (const [before, after] of timeline.breaks(keys[series - 1] ?? "rss", i0, i1)) found.push([timeline.t[before], timeline.t[after]]);
      found.sort((a, b) => a[0] - b[0]);
      const apart = [];
      for (const gap of found) {
        const last = apart[apart.length - 1];
        if (last && gap[0] <= last[1]) last[1] = Math.max(last[1], gap[1]);
        else apart.push(gap);
      }
      return apart.map((gap) => gap.map((t) => u.valToPos(t, "x", true)));
    };

    const font = "12px system-ui, sans-serif";
    const axis = (more) => ({
      font,
      stroke: () => colour("dim"),
      grid: { stroke: () => colour("grid"), width: 1 },
      ticks: { stroke: () => colour("grid"), width: 1, size: 4 },
      ...more,
    });
    const timeAxis = (show) =>
      axis({
        show,
        incrs: SECONDS,
        space: 84,
        size: 30,
        values: (u, splits, number, space, step) => splits.map((s) => Format.time(s, step)),
      });
    const byteAxis = (more) =>
      axis({
        incrs: BYTES,
        size: AXIS,
        space: 34,
        values: (u, splits) => splits.map(Format.tick),
        ...more,
      });
    const cursor = {
      sync: { key: "memtrace", filters: { pub: moves, sub: moves } },
      drag: { x: true, y: false, setScale: false },
      bind: { dblclick: () => () => zoom(null) },
      y: false,
      points: { size: 6 },
    };
    const hooks = { setSelect: [selected], setCursor: [moved] };

    const lines = new uPlot(
      {
        width: 400,
        height: 260,
        legend: { show: false },
        cursor,
        padding: [14, () => (right() ? 0 : 12), 0, 0],
        scales: {
          x: { time: false, range: () => range() },
          y: { range: (u, min, max) => [Math.min(0, min ?? 0), Math.max(max ?? 0, 4096) * 1.04] },
          vm: { range: (u, min, max) => (shown.has("vm") ? [0, Math.max(max ?? 0, 4096) * 1.04] : [null, null]) },
        },
        axes: [timeAxis(true), byteAxis({ scale: "y" }), byteAxis({ scale: "vm", side: 1, size: () => right(), values: (u, splits) => (shown.has("vm") ? splits.map(Format.tick) : []), grid: { show: false }, stroke: () => lineColour("vm") })],
        series: [
          {},
          ...LINES.map((line) => ({
            scale: scale(line),
            show: false,
            stroke: () => lineColour(line.key),
            width: line.key === "rss" ? 2 : 1.5,
            dash: line.rare ? [2, 5] : scale(line) === "vm" ? [6, 4] : undefined,
            points: { show: line.rare ? (u, s, i0, i1) => readings(line.key, i0, i1) : false, size: 5, filter: undefined },
            gaps,
          })),
          { show: false, scale: "y", points: { show: false }, gaps },
          { show: false, scale: "y", points: { show: false }, gaps },
        ],
        bands: [{ series: [LINES.length + 2, LINES.length + 1], fill: () => colour("band") }],
        hooks: { ...hooks, draw: [drawMarks] },
      },
      data(),
      place.lines,
    );
    const bars = new uPlot(
      {
        width: 400,
        height: 150,
        legend: { show: false },
        cursor: { ...cursor, points: { show: false } },
        padding: [6, () => Math.max(12, right()), 8, 0],
        scales: { x: { time: false, range: () => range() }, y: { range: () => height() } },
        axes: [timeAxis(false), byteAxis({ scale: "y", values: (u, splits) => splits.map((split) => (split > 0 ? "+" : "") + Format.tick(split)) })],
        series: [{}, { scale: "y", paths: () => null, points: { show: false } }],
        hooks: { ...hooks, draw: [drawBars] },
      },
      [timeline.t, timeline.columns.rss ?? []],
      place.bars,
    );

    function moves(type) {
      return type === "mousemove" || type === "mouseleave";
    }

    // Points where there are not more of them than can be told apart.
    function readings(key, i0, i1) {
      let count = 0;
      const column = timeline.columns[key] ?? [];
      for (let i = i0; i <= i1; i++) count += column[i] != null ? 1 : 0;
      return count > 0 && count < lines.width / 8;
    }

    function data() {
      const none = new Array(timeline.rows).fill(null);
      const of = (name) => timeline.columns[name] ?? none;
      return [timeline.t, ...keys.map(of), of("rss_lowest"), of("rss_highest")];
    }

    function rebin() {
      const [a, b] = range();
      const first = timeline.row(a);
      const count = Math.max(1, timeline.row(b) - first + 1);
      const width = Math.max(bars.bbox.width / devicePixelRatio || 300, 50);
      bins = timeline.rows ? timeline.bins(a, b, Math.max(1, Math.ceil((count * BAR) / width))) : [];
    }

    function height() {
      let [low, high] = [0, 0];
      for (const bin of bins) {
        low = Math.min(low, bin.down);
        high = Math.max(high, bin.up);
      }
      if (low === 0 && high === 0) return [-4096, 4096];
      const room = (high - low) * 0.05;
      return [low ? low - room : 0, high ? high + room : 0];
    }

    function drawBars(u) {
      const { ctx } = u;
      const { left, top, width, height } = u.bbox;
      ctx.save();
      ctx.beginPath();
      ctx.rect(left, top, width, height);
      ctx.clip();
      for (const bin of bins) {
        const x0 = u.valToPos(bin.from, "x", true);
        const x1 = u.valToPos(bin.to, "x", true);
        const room = x1 - x0 > 4 ? 1 : 0;
        let [up, down] = [0, 0];
        for (const part of bin.parts) {
          ctx.fillStyle = causeColour(part.number);
          if (part.up) {
            const [y0, y1] = [u.valToPos(up, "y", true), u.valToPos(up + part.up, "y", true)];
            ctx.fillRect(x0 + room, y1, Math.max(x1 - x0 - 2 * room, 1), Math.max(y0 - y1, 1));
            up += part.up;
          }
          if (part.down) {
            const [y0, y1] = [u.valToPos(down, "y", true), u.valToPos(down + part.down, "y", true)];
            ctx.fillRect(x0 + room, y0, Math.max(x1 - x0 - 2 * room, 1), Math.max(y1 - y0, 1));
            down += part.down;
          }
        }
      }
      ctx.fillStyle = colour("dim");
      const zero = Math.round(u.valToPos(0, "y", true));
      ctx.fillRect(left, zero, width, 1);
      ctx.restore();
    }

    function drawMarks(u) {
      const { ctx } = u;
      const { left, top, width, height } = u.bbox;
      const ratio = devicePixelRatio || 1;
      const [a, b] = range();
      ctx.save();
      ctx.beginPath();
      ctx.rect(left, 0, width, top + height);
      ctx.clip();
      if (marked.has("gc") && timeline.columns.go_num_gc) {
        ctx.fillStyle = colour("gc");
        let before = -1;
        for (let i = Math.max(1, timeline.row(a)); i < timeline.rows && timeline.t[i] <= b; i++) {
          const x = Math.round(u.valToPos(timeline.t[i], "x", true));
          if (x !== before && timeline.collections(i)) {
            ctx.fillRect(x, top + height - 6 * ratio, ratio, 6 * ratio);
            before = x;
          }
        }
      }
      if (marked.has("release")) {
        ctx.fillStyle = colour("release");
        let before = -Infinity;
        for (const [row] of releases) {
          const t = timeline.t[row];
          if (t < a || t > b) continue;
          const x = u.valToPos(t, "x", true);
          if (x - before < 4 * ratio) continue;
          before = x;
          ctx.beginPath();
          ctx.moveTo(x - 5 * ratio, top - 9 * ratio);
          ctx.lineTo(x + 5 * ratio, top - 9 * ratio);
          ctx.lineTo(x, top);
          ctx.fill();
        }
      }
      if (marked.has("exec")) {
        ctx.strokeStyle = ctx.fillStyle = colour("exec");
        ctx.lineWidth = ratio;
        ctx.font = `${11 * ratio}px system-ui, sans-serif`;
        ctx.textBaseline = "top";
        ctx.textAlign = "left";
        let free = -Infinity;
        for (const mark of timeline.marks) {
          if (mark.t < a || mark.t > b) continue;
          const x = Math.round(u.valToPos(mark.t, "x", true)) + 0.5;
          ctx.setLineDash([4 * ratio, 3 * ratio]);
          ctx.beginPath();
          ctx.moveTo(x, top);
          ctx.lineTo(x, top + height);
          ctx.stroke();
          if (x > free) {
            const text = `exec ${mark.name}`;
            ctx.fillText(text, x + 3 * ratio, top + 2 * ratio);
            free = x + ctx.measureText(text).width + 8 * ratio;
          }
        }
      }
      ctx.restore();
    }

    function selected(u) {
      const { left, width } = u.select;
      if (width >= 4) zoom([u.posToVal(left, "x"), u.posToVal(left + width, "x")]);
      if (width) u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    }

    let silent = false;
    function moved(u) {
      if (silent) return;
      const row = u.cursor.left >= 0 && u.cursor.idx !== null && u.cursor.idx !== undefined ? u.cursor.idx : null;
      options.moved(row);
    }

    function zoom(next, last = null) {
      if (next) {
        const [a, b] = whole();
        const least = Math.min(b - a, Math.max((b - a) / 1e5, 0.01));
        let [from, to] = next;
        if (to - from < least) to = from + least;
        from = Math.max(a, from);
        to = Math.min(b, to);
        next = to > from && (from > a || to < b) ? [from, to] : null;
      }
      view.range = next;
      view.last = last;
      redraw(false);
      options.zoomed();
    }

    function redraw(fresh) {
      const begun = performance.now();
      silent = true;
      releases = fresh ? timeline.releases() : releases;
      rebin();
      const [min, max] = range();
      lines.batch(() => {
        if (fresh) lines.setData(data(), false);
        lines.setScale("x", { min, max });
      });
      bars.batch(() => {
        if (fresh) bars.setData([timeline.t, timeline.columns.rss ?? new Array(timeline.rows).fill(null)], false);
        bars.setScale("x", { min, max });
      });
      silent = false;
      place.box.dataset.from = min;
      place.box.dataset.to = max;
      place.box.dataset.redrawMs = (performance.now() - begun).toFixed(2);
    }

    function resize(width) {
      const tall = Math.max(200, Math.min(420, Math.round(window.innerHeight * 0.36)));
      lines.setSize({ width, height: tall });
      bars.setSize({ width, height: Math.round(tall * 0.55) });
      redraw(false);
    }

    function toggle(key, on) {
      if (MARKS.some((mark) => mark.key === key)) {
        if (on) marked.add(key);
        else marked.delete(key);
        lines.redraw(false);
        return;
      }
      if (on) shown.add(key);
      else shown.delete(key);
      lines.batch(() => {
        lines.setSeries(keys.indexOf(key) + 1, { show: on });
        if (key === "rss") {
          lines.setSeries(LINES.length + 1, { show: on });
          lines.setSeries(LINES.length + 2, { show: on });
        }
      });
      if (key === "vm") resize(lines.width);
    }

    return {
      redraw: () => redraw(true),
      recolour() {
        palette = {};
        lines.redraw(false, true);
        bars.redraw(false, true);
      },
      resize,
      zoom,
      range,
      view,
      toggle,
      shown,
      marked,
      colour: lineColour,
      causeColour,
      bin: (row) => bins.find((bin) => row >= bin.begin && row <= bin.end),
      bins: () => bins,
      point(row) {
        const left = lines.valToPos(timeline.t[row], "x");
        for (const u of [lines, bars]) u.setCursor({ left, top: 10 }, false);
      },
      release: (row) => releases.find(([at]) => at === row)?.[1] ?? 0,
    };
  }

  return { LINES, MARKS, create };
})();
