"use strict";
// The timeline: what the document holds, or the server sends, as columns; a row is a tick, or several in a row.
const Data = (() => {
  // Rows that are kept; where a page stays open for longer, the older half of them is joined in pairs.
  const MOST = 24000;
  const ADDED = ["ticks", "faults"];

  // Each number is the difference to the last one that is not null; [difference, n] stands for n times the same.
  function numbers(steps) {
    const out = [];
    let last = 0;
    const push = (step) => {
      if (step === null) {
        out.push(null);
      } else {
        last += step;
        out.push(last);
      }
    };
    for (const step of steps) {
      if (Array.isArray(step)) {
        for (let i = 0; i < step[1]; i++) push(step[0]);
      } else {
        push(step);
      }
    }
    return out;
  }

  const plus = (a, b) => (a === null || b === null ? null : a + b);
  const either = (a, b) => (a === null ? b : b === null ? a : a + b);

  class Timeline {
    constructor() {
      this.t = [];
      this.from = [];
      this.columns = {};
      this.causes = [];
      this.marks = [];
      this.interval = 1;
    }

    get rows() {
      return this.t.length;
    }

    get end() {
      return this.rows ? this.t[this.rows - 1] : 0;
    }

    get start() {
      return this.rows ? this.from[0] : 0;
    }

    add(series) {
      const base = this.rows;
      for (const us of numbers(series.t_us)) this.t.push(us / 1e6);
      for (const us of numbers(series.from_us)) this.from.push(us / 1e6);
      for (const [name, steps] of Object.entries(series.columns)) {
        const column = (this.columns[name] ??= new Array(base).fill(null));
        for (const number of numbers(steps)) column.push(number);
      }
      for (const column of Object.values(this.columns)) {
        while (column.length < this.rows) column.push(null);
      }
      for (const told of series.causes) {
        let cause = this.causes.find((known) => known.name === told.name);
        if (!cause) {
          cause = { name: told.name, own: told.own, lazily: told.lazily, row: [], rss: [], calls: [], requested: [] };
          this.causes.push(cause);
        }
        for (const row of numbers(told.row)) cause.row.push(base + row);
        for (const part of ["rss", "calls", "requested"]) {
          for (const number of numbers(told[part])) cause[part].push(number);
        }
      }
      if (this.rows > MOST) this.thin();
    }

    // Each two of the older rows become one: states are the later one's, changes are added.
    thin() {
      const pairs = Math.floor(this.rows / 4);
      const old = 2 * pairs;
      const join = (column, of) => {
        const joined = [];
        for (let i = 0; i < old; i += 2) joined.push(of(column[i], column[i + 1]));
        return joined.concat(column.slice(old));
      };
      this.t = join(this.t, (a, b) => b);
      this.from = join(this.from, (a) => a);
      for (const [name, column] of Object.entries(this.columns)) {
        const of = ADDED.includes(name)
          ? plus
          : name === "rss_lowest"
            ? Math.min
            : name === "rss_highest"
              ? Math.max
              : (a, b) => (b === null ? a : b);
        this.columns[name] = join(column, of);
      }
      for (const cause of this.causes) {
        const joined = { row: [], rss: [], calls: [], requested: [] };
        cause.row.forEach((row, i) => {
          const place = row < old ? row >> 1 : row - pairs;
          const last = joined.row.length - 1;
          if (joined.row[last] === place) {
            joined.rss[last] = plus(joined.rss[last], cause.rss[i]);
            joined.calls[last] = either(joined.calls[last], cause.calls[i]);
            joined.requested[last] = either(joined.requested[last], cause.requested[i]);
          } else {
            joined.row.push(place);
            for (const part of ["rss", "calls", "requested"]) joined[part].push(cause[part][i]);
          }
        });
        Object.assign(cause, joined);
      }
    }

    at(name, row) {
      const column = this.columns[name];
      return column && row >= 0 && row < column.length ? column[row] : null;
    }

    // The last row up to this one that has the figure; -1 where there is none.
    reading(name, row) {
      const column = this.columns[name];
      if (!column) return -1;
      let i = Math.min(row, column.length - 1);
      const first = name.startsWith("cgroup") ? 0 : this.programStart(row);
      while (i >= first && column[i] === null) i--;
      return i >= first ? i : -1;
    }

    // The first row of the program that ran at this one.
    programStart(row) {
      const before = this.marks.filter((mark) => mark.t < this.t[row]);
      return before.length ? this.row(before[before.length - 1].t + 1e-6) : 0;
    }

    // Between which rows a line says nothing, since a program's last figure and the next one's first are not of one thing. A cgroup
    // stays the same; and what each tick has is known right up to the exec.
    breaks(name, i0, i1) {
      const column = this.columns[name];
      if (!column || name.startsWith("cgroup")) return [];
      const found = [];
      for (const mark of this.marks) {
        let after = this.row(mark.t + 1e-6);
        let before = after - 1;
        while (before >= 0 && column[before] === null) before--;
        while (after < column.length && column[after] === null) after++;
        if (before >= 0 && after < column.length && after > before + 1 && after > i0 && before < i1) found.push([before, after]);
      }
      return found;
    }

    // Whether memtrace did not run for a part of this row.
    gap(row) {
      const ticks = this.at("ticks", row) ?? 1;
      return this.t[row] - this.from[row] > (ticks + 0.75) * this.interval;
    }

    // The first row that ends at or after a moment.
    row(t) {
      let low = 0;
      let high = this.rows;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (this.t[middle] < t) low = middle + 1;
        else high = middle;
      }
      return low;
    }

    // What the causes did between two moments, in bins of so many rows; a bin holds whole rows, so that its sums are exact.
    bins(t0, t1, per) {
      const first = Math.floor(Math.min(this.row(t0), this.rows - 1) / per);
      const last = Math.floor(Math.min(this.row(t1), this.rows - 1) / per);
      const bins = [];
      for (let bin = first; bin <= last && bin >= 0; bin++) {
        const begin = bin * per;
        const end = Math.min(begin + per, this.rows) - 1;
        bins.push({ begin, end, from: this.from[begin], to: this.t[end], up: 0, down: 0, parts: [] });
      }
      this.causes.forEach((cause, number) => {
        let i = lower(cause.row, first * per);
        for (; i < cause.row.length; i++) {
          const bin = bins[Math.floor(cause.row[i] / per) - first];
          if (!bin) break;
          let part = bin.parts[bin.parts.length - 1];
          if (!part || part.number !== number) {
            part = { number, up: 0, down: 0, calls: null, requested: null };
            bin.parts.push(part);
          }
          const rss = cause.rss[i];
          if (rss > 0) {
            part.up += rss;
            bin.up += rss;
          } else if (rss < 0) {
            part.down += rss;
            bin.down += rss;
          }
          part.calls = either(part.calls, cause.calls[i]);
          part.requested = either(part.requested, cause.requested[i]);
        }
      });
      return bins;
    }

    // Rows in which much was given back: at the process's own calls, or by MADV_FREE, which leaves it in RSS.
    releases() {
      const given = new Map();
      const note = (row, bytes) => given.set(row, (given.get(row) ?? 0) + bytes);
      let highest = 0;
      for (const rss of this.columns.rss_highest ?? []) highest = Math.max(highest, rss ?? 0);
      for (const cause of this.causes) {
        if (!cause.own) continue;
        cause.row.forEach((row, i) => {
          if (cause.rss[i] < 0) note(row, -cause.rss[i]);
          else if (cause.lazily && cause.requested[i]) note(row, cause.requested[i]);
        });
      }
      const big = Math.max(highest / 10, 1 << 20);
      return [...given].filter(([, bytes]) => bytes >= big).sort((a, b) => a[0] - b[0]);
    }

    // How often Go's collector has come to its end in a row.
    collections(row) {
      const now = this.at("go_num_gc", row);
      if (now === null || row === 0) return 0;
      const before = this.at("go_num_gc", row - 1);
      return before === null || now < before ? 0 : now - before;
    }
  }

  function lower(sorted, value) {
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  return { Timeline };
})();
