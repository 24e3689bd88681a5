// Latency over time as percentile bands: the median as a line, up to the 90th and up to the 99th as areas.
import { showMs } from "./format.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
const USUAL_WIDTH = 720, HEIGHT = 220, LEFT = 64, RIGHT = 12, TOP = 12, BOTTOM = 28;
const GRID_LINES = 4;
const LEAST_SPAN_S = 60;
// Two windows that are further apart than this many of their lengths are not joined.
const GAP_WINDOWS = 3;

let count = 0;

/** Make an empty chart; `draw` fills it. */
export function makeChart(title) {
  const id = `chart-${count += 1}`;
  const svg = shape("svg", { class: "chart", role: "img", height: HEIGHT, "aria-labelledby": id });
  svg.append(shape("title", { id }), shape("g", { class: "plot" }));
  svg.querySelector("title").textContent = title;
  return svg;
}

/** Draw windows up to the time `nowS`, which is the right edge. */
export function drawChart(svg, title, windows, nowS) {
  const timed = windows.filter(window => window.p99_ms !== null);
  const largest = roundUp(Math.max(0, ...timed.map(window => window.p99_ms)) || 1);
  const spanS = Math.max(LEAST_SPAN_S, timed.length ? nowS - timed[0].at_s : 0);
  // One unit is one pixel, so that text has its size at every width.
  const width = svg.clientWidth || USUAL_WIDTH;
  const x = atS => LEFT + (width - LEFT - RIGHT) * (1 - (nowS - atS) / spanS);
  const y = ms => TOP + (HEIGHT - TOP - BOTTOM) * (1 - ms / largest);
  const plot = shape("g", { class: "plot" });
  drawGrid(plot, y, largest, width);
  drawTimes(plot, x, nowS, spanS);
  for (const run of splitRuns(timed)) {
    plot.append(shape("path", { class: "band p99", d: band(run, x, y, "p90_ms", "p99_ms") }));
    plot.append(shape("path", { class: "band p90", d: band(run, x, y, "p50_ms", "p90_ms") }));
    plot.append(shape("path", { class: "line p50", d: line(run, x, y, "p50_ms") }));
  }
  const last = timed.at(-1);
  if (last) {
    for (const name of ["p50_ms", "p90_ms", "p99_ms"]) {
      plot.append(shape("circle", { class: `dot ${name}`, cx: x(last.at_s), cy: y(last[name]), r: 3 }));
    }
  }
  svg.querySelector("g.plot").replaceWith(plot);
  svg.querySelector("title").textContent = last
    ? `${title}, last ${describeSpan(spanS)}. Latest: p50 ${showMs(last.p50_ms)}, p90 ${showMs(last.p90_ms)}, ` +
      `p99 ${showMs(last.p99_ms)}. The table below has the numbers.`
    : `${title}: no request has been answered yet.`;
}

function shape(tag, attributes) {
  const element = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function drawGrid(plot, y, largest, width) {
  for (let step = 0; step <= GRID_LINES; step += 1) {
    const ms = largest * step / GRID_LINES, height = y(ms);
    plot.append(shape("path", { class: "grid", d: `M${LEFT} ${height}H${width - RIGHT}` }));
    const label = shape("text", { x: LEFT - 8, y: height + 4, "text-anchor": "end" });
    label.textContent = step ? showMs(ms) : "0";
    plot.append(label);
  }
}

function drawTimes(plot, x, nowS, spanS) {
  for (const [share, anchor] of [[1, "start"], [0.5, "middle"], [0, "end"]]) {
    const label = shape("text", { x: x(nowS - spanS * share), y: HEIGHT - 8, "text-anchor": anchor });
    label.textContent = share ? `${describeSpan(spanS * share)} ago` : "now";
    plot.append(label);
  }
}

function splitRuns(windows) {
  const runs = [];
  windows.forEach((window, index) => {
    const before = windows[index - 1];
    const isJoined = before && window.at_s - before.at_s <= GAP_WINDOWS * Math.max(window.length_s, before.length_s, 1);
    if (isJoined) runs.at(-1).push(window);
    else runs.push([window]);
  });
  return runs;
}

function points(run, x, y, name) {
  return run.map(window => `${x(window.at_s).toFixed(1)} ${y(window[name]).toFixed(1)}`);
}

function line(run, x, y, name) {
  return `M${points(run, x, y, name).join("L")}`;
}

function band(run, x, y, low, high) {
  return `M${[...points(run, x, y, high), ...points(run, x, y, low).reverse()].join("L")}Z`;
}

function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 4, 6, 8, 10].find(step => step * power >= value * 0.999);
}

function describeSpan(seconds) {
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}
