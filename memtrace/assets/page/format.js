"use strict";
// Numbers as memtrace prints them everywhere; see view/format.rs.
const Format = (() => {
  const UNITS = ["K", "M", "G", "T", "P", "E"];

  function size(bytes) {
    if (bytes === null || bytes === undefined) return "-";
    const minus = bytes < 0 ? "-" : "";
    let value = Math.abs(bytes);
    if (value < 1024) return `${minus}${Math.round(value)}`;
    if (value % 1024 === 0 && value < 10000 * 1024) return `${minus}${value / 1024}K`;
    let unit = -1;
    do {
      value /= 1024;
      unit++;
    } while (value >= 999.95 && unit < UNITS.length - 1);
    return `${minus}${value.toFixed(value < 99.995 ? 2 : 1)}${UNITS[unit]}`;
  }

  const change = (bytes) => (bytes > 0 ? `+${size(bytes)}` : size(bytes));

  const digits = (number) =>
    number === null || number === undefined
      ? "-"
      : String(Math.abs(number)).replace(/\B(?=(\d{3})+$)/g, ",").replace(/^/, number < 0 ? "-" : "");

  // As short as a step on an axis allows: 64M, not 64.00M.
  function tick(bytes) {
    return size(bytes).replace(/(\.\d*?)0+(?=[A-Z])/, "$1").replace(/\.(?=[A-Z])/, "");
  }

  const two = (number) => String(number).padStart(2, "0");

  // Time since the start: 4.5 s, 2:03, 1:02:03.
  function time(s, step = 0.01) {
    const decimals = step >= 1 ? 0 : step >= 0.1 ? 1 : step >= 0.01 ? 2 : 3;
    if (s < 60) return `${s.toFixed(decimals)} s`;
    const minutes = Math.floor(s / 60);
    const seconds = (s - 60 * minutes).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
    if (minutes < 60) return `${minutes}:${seconds}`;
    return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${seconds}`;
  }

  // The time of day at which a moment of the capture was, on this browser's clock.
  function clock(head, s) {
    const began = Date.parse(head.started_at);
    if (Number.isNaN(began)) return "";
    const date = new Date(began - head.started_us / 1000 + s * 1000);
    const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
    return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  }

  return { size, change, digits, tick, time, clock };
})();
