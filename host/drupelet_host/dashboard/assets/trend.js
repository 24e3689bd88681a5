// A value over time as a small line: in a row of the table, and for a device with its latest and largest value.
import { make, setText } from "./elements.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
const WIDTH = 96, HEIGHT = 24, MARGIN = 2;
// A line that hardly moves is not stretched over the whole height.
const LEAST_RANGE = 0.1;

/** Make an empty line; hidden from screen readers, because the numbers are in text beside it. */
export function makeLine() {
  const svg = document.createElementNS(NAMESPACE, "svg");
  for (const [name, value] of Object.entries({
    class: "trend", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true",
  })) svg.setAttribute(name, value);
  svg.append(document.createElementNS(NAMESPACE, "path"));
  return svg;
}

/** Draw values, the oldest first, from `low` or their smallest to their largest; null is a gap. Without `times` they are evenly spaced. */
export function drawLine(svg, values, { low = 0, times = values.map((_, index) => index) } = {}) {
  const path = svg.firstChild, shape = describe(values, times, low);
  if (path.getAttribute("d") !== shape) path.setAttribute("d", shape);
}

function describe(values, times, low) {
  const known = values.filter(value => value !== null);
  if (!known.length) return "";
  const bottom = low ?? Math.min(...known), top = Math.max(...known, bottom + LEAST_RANGE * Math.max(1, Math.abs(bottom)));
  const span = times.at(-1) - times[0], x = index => MARGIN + (WIDTH - 2 * MARGIN) * (span ? (times[index] - times[0]) / span : 1);
  const y = value => HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (value - bottom) / (top - bottom);
  let isOpen = false;
  return values.map((value, index) => {
    if (value === null) {
      isOpen = false;
      return "";
    }
    const command = isOpen ? "L" : "M", point = `${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    isOpen = true;
    // A value alone between gaps is a dot.
    return `${command}${point}${command === "M" ? "h.01" : ""}`;
  }).join("");
}

/** A named value of a device over time: its line, the latest and the largest value. */
export class Trend {
  constructor(name, key, show, low) {
    Object.assign(this, { key, show, low });
    this.line = makeLine();
    this.text = make("span");
    this.range = make("span", { className: "note" });
    this.element = make("div", { className: "measure" }, make("h4", {}, name), this.text, this.line, this.range);
  }

  draw(timeline, nowS) {
    const values = timeline.map(point => point[this.key]), known = values.filter(value => value !== null);
    this.element.hidden = !known.length;
    if (!known.length) return;
    drawLine(this.line, values, { low: this.low, times: timeline.map(point => point.at_s) });
    setText(this.text, values.at(-1) === null ? "–" : this.show(values.at(-1)));
    const minutes = Math.max(1, Math.round((nowS - timeline[0].at_s) / 60));
    setText(this.range, `up to ${this.show(Math.max(...known))} in ${minutes} min`);
  }
}
