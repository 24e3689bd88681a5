// The table of the fleet: rows are updated in place, so that focus and selection stay.
import { filterRows, isLargestFirst, sortRows } from "./fleet.js";
import { UNKNOWN, showCelsius, showMs, showRate, showShare, showThrottling } from "./format.js";
import { make, setProperty, setText } from "./elements.js";

const HOT_CELSIUS = 80;
// Key, heading, the cell's text, whether it is a number, whether it is highlighted.
const COLUMNS = [
  ["device", "device", row => row.device],
  ["connection", "status", row => row.connection],
  ["model", "model", row => row.model ?? UNKNOWN],
  ["health", "health", row => row.health ?? UNKNOWN],
  ["variant", "variant", row => row.variant ?? UNKNOWN],
  ["plan", "plan", row => row.plan ?? UNKNOWN],
  ["requests_per_s", "req/s", row => showRate(row.requests_per_s), true],
  ["p50_ms", "p50", row => showMs(row.p50_ms), true],
  ["p99_ms", "p99", row => showMs(row.p99_ms), true],
  ["error_rate", "errors", row => showShare(row.error_rate), true, row => row.error_rate > 0],
  ["temperature_celsius", "temp.", row => showCelsius(row.temperature_celsius), true,
    row => row.temperature_celsius >= HOT_CELSIUS],
  ["memory_used", "memory", row => showShare(row.memory_used), true],
  ["throttling", "throttled", showThrottling, false, row => row.throttling?.length > 0],
  ["alerts", "alerts", row => String(row.alerts), true, row => row.alerts > 0],
];
const STATES = new Set(["connection", "health"]);

export class FleetTable {
  constructor(table) {
    this.sortKey = "device";
    this.isReversed = false;
    this.filter = "";
    this.shown = new Map();
    this.body = table.tBodies[0];
    this.headings = new Map();
    const heading = table.tHead.rows[0];
    for (const [key, label, , isNumber] of COLUMNS) {
      const button = make("button", { type: "button", className: "sort" }, label);
      const cell = make("th", { scope: "col", className: isNumber ? "number" : "" }, button);
      button.addEventListener("click", () => this.sortBy(key));
      this.headings.set(key, cell);
      heading.append(cell);
    }
    this.markOrder();
  }

  sortBy(key) {
    this.isReversed = key === this.sortKey ? !this.isReversed : isLargestFirst(key);
    this.sortKey = key;
    this.markOrder();
    this.draw(this.rows ?? []);
  }

  markOrder() {
    for (const [key, cell] of this.headings) {
      cell.ariaSort = key === this.sortKey ? (this.isReversed ? "descending" : "ascending") : "none";
    }
  }

  /** Show the rows that pass the filter in the chosen order; returns how many. */
  draw(rows) {
    this.rows = rows;
    const visibleRows = sortRows(filterRows(rows, this.filter), this.sortKey, this.isReversed);
    const keys = new Set(visibleRows.map(keyOf));
    for (const [key, element] of this.shown) {
      if (!keys.has(key)) {
        element.remove();
        this.shown.delete(key);
      }
    }
    visibleRows.forEach((row, index) => this.place(row, index));
    return visibleRows.length;
  }

  place(row, index) {
    const key = keyOf(row);
    let element = this.shown.get(key);
    if (!element) {
      element = makeRowElement(row);
      this.shown.set(key, element);
    }
    updateRowElement(element, row);
    const there = this.body.rows[index];
    // An element that has the focus loses it when it moves; moving the others around it does not.
    if (there === element) return;
    if (element.contains(document.activeElement)) {
      while (this.body.rows[index] !== element) this.body.append(this.body.rows[index]);
    } else this.body.insertBefore(element, there ?? null);
  }
}

function keyOf(row) {
  return `${row.device}/${row.model ?? ""}`;
}

function makeRowElement(row) {
  const link = make("a", { href: `#device=${encodeURIComponent(row.device)}` }, row.device);
  const element = make("tr", {}, make("th", { scope: "row" }, link));
  for (const [key, , , isNumber] of COLUMNS.slice(1)) {
    const cell = make("td", { className: isNumber ? "number" : "" });
    if (STATES.has(key)) cell.append(make("span"));
    element.append(cell);
  }
  return element;
}

function updateRowElement(element, row) {
  COLUMNS.slice(1).forEach(([key, , show, isNumber, isBad], index) => {
    const cell = element.cells[index + 1], text = show(row);
    if (STATES.has(key)) {
      setText(cell.firstChild, text);
      setProperty(cell.firstChild, "className", text === UNKNOWN ? "" : `chip is-${text}`);
    } else {
      setText(cell, text);
      setProperty(cell, "className", `${isNumber ? "number" : ""}${isBad?.(row) ? " bad" : ""}`.trim());
    }
  });
}
