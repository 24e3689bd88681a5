// The table of the fleet: rows are updated in place, so that focus and selection stay.
import { filterRows, isLargestFirst, sortRows } from "./fleet.js";
import { UNKNOWN, showCelsius, showMs, showRate, showShare, showThrottling } from "./format.js";
import { make, setProperty, setText } from "./elements.js";
import { drawLine, makeLine } from "./trend.js";

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
  ["p99_trend_ms", "trend"],
  ["error_rate", "errors", row => showShare(row.error_rate), true, row => row.error_rate > 0],
  ["temperature_celsius", "temp.", row => showCelsius(row.temperature_celsius), true,
    row => row.temperature_celsius >= HOT_CELSIUS],
  ["memory_used", "memory", row => showShare(row.memory_used), true],
  ["throttling", "throttled", showThrottling, false, row => row.throttling?.length > 0],
  ["alerts", "alerts", row => String(row.alerts), true, row => row.alerts > 0],
];
const STATES = new Set(["connection", "health"]);
// A longer table has elements only for the rows in view, and so many above and below them.
const WHOLE_ROWS = 500;
const SPARE_ROWS = 20;
// Taken as a row's height until the first one has been measured.
const USUAL_ROW_PX = 32;
const TREND = "p99_trend_ms";
// What a phone shows of a row; the model and its health stand under the device's name there.
const ON_PHONE = new Set(["device", "requests_per_s", "p50_ms", "p99_ms", "error_rate"]);
// What a tablet upright shows besides.
const ON_TABLET = new Set(["health", "p99_trend_ms"]);
// What windows between a tablet and 1,280 pixels leave out, the first of them already where it is a little narrower.
const LESS = new Map([["variant", "less"], ["memory_used", "less"], ["throttling", "less"],
  ["temperature_celsius", "scant"], ["alerts", "scant"]]);
// What a window of 1,280 pixels leaves out, so that the alerts are on it; the device's page has it.
const LEAST = "plan";

export class FleetTable {
  constructor(table) {
    this.sortKey = "device";
    this.isReversed = false;
    this.filter = "";
    this.shown = new Map();
    this.body = table.tBodies[0];
    this.table = table;
    this.visible = [];
    this.above = makeSpacer();
    this.below = makeSpacer();
    this.rowHeight = USUAL_ROW_PX;
    const redraw = () => {
      if (!this.isLong) return;
      this.frame ??= requestAnimationFrame(() => {
        this.frame = undefined;
        this.drawWindow();
      });
    };
    this.scrolled = table.parentElement;
    this.scrolled.addEventListener("scroll", redraw, { passive: true });
    addEventListener("resize", redraw);
    this.headings = new Map();
    const heading = table.tHead.rows[0];
    for (const [key, label, , isNumber] of COLUMNS) {
      const cell = make("th", { scope: "col", className: classOf(key, isNumber) });
      if (key === TREND) cell.append(make("span", { className: "heading", title: "p99 of the latest minutes" }, label));
      else {
        const button = make("button", { type: "button", className: "sort" }, label);
        button.addEventListener("click", () => this.sortBy(key));
        cell.append(button);
        this.headings.set(key, cell);
      }
      heading.append(cell);
    }
    this.markOrder();
  }

  sortBy(key) {
    this.isReversed = key === this.sortKey ? !this.isReversed : isLargestFirst(key);
    this.sortKey = key;
    this.markOrder();
    // A new order is shown from its first row.
    this.scrolled.scrollTop = 0;
    this.draw(this.rows ?? []);
  }

  markOrder() {
    for (const [key, cell] of this.headings) {
      cell.ariaSort = key === this.sortKey ? (this.isReversed ? "descending" : "ascending") : "none";
    }
  }

  /** Show the rows that pass the filter in the chosen order; returns how many. */
  draw(rows) {
    const top = this.topRow();
    this.rows = rows;
    this.visible = sortRows(filterRows(rows, this.filter), this.sortKey, this.isReversed);
    this.table.ariaRowCount = String(this.visible.length + 1);
    this.drawWindow(top && this.movedBy(top) * this.rowHeight);
    return this.visible.length;
  }

  get isLong() {
    return this.visible.length > WHOLE_ROWS;
  }

  /** Return the first row in view and its index; null at the top of the table, and in one without scrolled rows. */
  topRow() {
    const { scrollTop } = this.scrolled;
    if (!this.isLong || scrollTop < this.rowHeight) return null;
    const index = Math.min(this.visible.length - 1, Math.floor(scrollTop / this.rowHeight));
    return { index, row: this.visible[index] };
  }

  /** Return by how many rows a row has moved, which is to stay in view; 0 in orders that measurements change all the time. */
  movedBy({ index, row }) {
    const isSame = each => each !== undefined && each.device === row.device && each.model === row.model;
    if (!this.isLong || isLargestFirst(this.sortKey) || isSame(this.visible[index])) return 0;
    const now = this.visible.findIndex(isSame);
    return now < 0 ? 0 : now - index;
  }

  /** Draw the rows in view after moving the view by so many pixels. */
  drawWindow(shift = 0) {
    this.scrolled.classList.toggle("is-long", this.isLong);
    const scrollTop = Math.max(0, this.scrolled.scrollTop + shift);
    this.drawRows(scrollTop);
    const height = this.measureRow(), scale = height / this.rowHeight;
    if (this.isLong && Math.abs(scale - 1) * this.visible.length * this.rowHeight >= 1) {
      // Everything above and below was drawn for rows of another height: the same rows stay in view.
      this.rowHeight = height;
      this.drawRows(scrollTop * scale);
      this.scrolled.scrollTop = scrollTop * scale;
    } else if (shift) this.scrolled.scrollTop = scrollTop;
  }

  measureRow() {
    return this.body.rows[0]?.getBoundingClientRect().height || this.rowHeight;
  }

  /** Return which rows have elements at a position of the view: from the first to before the end. */
  window(scrollTop) {
    const count = this.visible.length;
    if (!this.isLong) return [0, count];
    const inView = Math.ceil(this.scrolled.clientHeight / this.rowHeight);
    const top = Math.min(Math.max(0, count - inView), Math.floor(scrollTop / this.rowHeight));
    return [Math.max(0, top - SPARE_ROWS), Math.min(count, top + inView + SPARE_ROWS)];
  }

  drawRows(scrollTop) {
    const [first, end] = this.window(scrollTop);
    const visibleRows = this.visible.slice(first, end), keys = new Set(visibleRows.map(keyOf));
    setSpace(this.above, first * this.rowHeight, spacer => this.body.before(spacer));
    setSpace(this.below, (this.visible.length - end) * this.rowHeight, spacer => this.body.after(spacer));
    for (const [key, element] of this.shown) {
      if (!keys.has(key)) {
        element.remove();
        this.shown.delete(key);
      }
    }
    visibleRows.forEach((row, index) => {
      this.place(row, index);
      setProperty(this.body.rows[index], "ariaRowIndex", String(first + index + 2));
    });
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

function makeSpacer() {
  return make("tbody", { ariaHidden: "true" }, make("tr", {}, make("td", { colSpan: COLUMNS.length })));
}

function setSpace(spacer, height, insert) {
  if (height === 0) spacer.remove();
  else if (!spacer.isConnected) insert(spacer);
  spacer.rows[0].cells[0].style.height = `${height}px`;
}

function keyOf(row) {
  return `${row.device}/${row.model ?? ""}`;
}

function classOf(key, isNumber, isBad = false) {
  return [isNumber && "number", isBad && "bad", !ON_PHONE.has(key) && "wide", ON_TABLET.has(key) && "middle", key === LEAST && "least",
    LESS.get(key)].filter(Boolean).join(" ");
}

function makeRowElement(row) {
  const link = make("a", { href: `#device=${encodeURIComponent(row.device)}` }, row.device);
  const element = make("tr", {}, make("th", { scope: "row" }, link, make("span", { className: "narrow note" })));
  for (const [key, , , isNumber] of COLUMNS.slice(1)) {
    const cell = make("td", { className: classOf(key, isNumber) });
    if (STATES.has(key)) cell.append(make("span"));
    if (key === TREND) cell.append(makeLine());
    element.append(cell);
  }
  return element;
}

function updateRowElement(element, row) {
  COLUMNS.slice(1).forEach(([key, , show, isNumber, isBad], index) => {
    const cell = element.cells[index + 1];
    if (key === TREND) {
      drawLine(cell.firstChild, row[TREND]);
      return;
    }
    const text = show(row);
    if (STATES.has(key)) {
      setText(cell.firstChild, text);
      setProperty(cell.firstChild, "className", text === UNKNOWN ? "" : `chip is-${text}`);
    } else {
      setText(cell, text);
      setProperty(cell, "className", classOf(key, isNumber, isBad?.(row)));
    }
  });
  const health = row.connection === "online" ? row.health : row.connection;
  setText(element.cells[0].lastChild, [row.model, health === "ready" ? null : health].filter(Boolean).join(", "));
}
