// One model on one device: its state, its latency over time, its stages, and a test request.
import { Actions } from "./actions.js";
import { currentWindow, describePlan, modelTimeline } from "./fleet.js";
import { UNKNOWN, showBytes, showMs, showRate, showShare, showTime } from "./format.js";
import { chip, facts, make, setText } from "./elements.js";
import { drawChart, makeChart } from "./chart.js";
import { RequestForm } from "./request.js";

const STAGES = ["queue", "decode", "inference", "encode", "total"];
const PERCENTILES = ["mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms"];
const WINDOWS_LISTED = 30;

export class ModelView {
  constructor(device, name, connection) {
    this.name = name;
    this.seen = {};
    this.version = make("span", { className: "note" });
    this.health = make("span");
    this.state = make("div");
    this.live = make("p", { className: "note" });
    this.title = `${name}, latency from arrival to reply`;
    this.chart = makeChart(this.title);
    this.stages = make("div");
    this.windows = make("div");
    this.actions = new Actions(device, name, connection);
    this.element = make("section", { className: "card model", "aria-label": `Model ${name}` },
      make("h3", {}, name, this.version, this.health), this.state, this.actions.element,
      make("div", { className: "pair" },
        make("div", {}, this.figure(), this.windowsFold(), this.stages),
        new RequestForm(device, name, connection).element));
  }

  figure() {
    return make("figure", {}, make("figcaption", {}, "Latency from arrival to reply"), this.live, this.chart,
      make("ul", { className: "legend", "aria-label": "Legend" },
        make("li", { className: "p50" }, "median"), make("li", { className: "p90" }, "up to p90"),
        make("li", { className: "p99" }, "up to p99")));
  }

  windowsFold() {
    this.fold = make("details", {}, make("summary", {}, "The windows as a table"), this.windows);
    this.fold.addEventListener("toggle", () => this.fold.open && this.listWindows());
    return this.fold;
  }

  draw(device, model, nowS) {
    if (this.seen.state !== model.state) {
      this.seen.state = model.state;
      this.drawState(model.state);
    }
    const window = currentWindow(device, model, nowS);
    setText(this.live, window
      ? `${showRate(window.requests_per_s)} requests/s, ${showShare(window.error_rate)} errors${outcomes(model.telemetry)}`
      : "No telemetry now.");
    const timeline = modelTimeline(device, model);
    drawChart(this.chart, this.title, timeline, nowS);
    if (this.seen.telemetry !== model.telemetry || this.seen.isCurrent !== Boolean(window)) {
      this.seen.telemetry = model.telemetry;
      this.seen.isCurrent = Boolean(window);
      // A window without requests has no stages: those of the last one with requests stay.
      const served = window ? model.served : null;
      if (this.seen.served !== served) {
        this.seen.served = served;
        this.stages.replaceChildren(served ? stageTable(served) : "");
      }
      this.kept = timeline;
      if (this.fold.open) this.listWindows();
    }
  }

  drawState(state) {
    this.actions.state = state;
    setText(this.version, state?.version ?? "");
    this.health.replaceChildren(chip(state?.health));
    const plan = state?.plan;
    const list = facts([
      ["Variant", state?.variant],
      ["Plan", plan && `${plan.engine}, ${describePlan(plan)}`],
      ["Measured for the plan", plan && `p50 ${showMs(plan.p50_ms)}, p99 ${showMs(plan.p99_ms)}`],
      ["Memory", plan && `${showBytes(plan.footprint_bytes)} of a budget of ${showBytes(plan.memory_budget_bytes)}`],
      ["Release", state && `${state.release}, ${state.digest.slice(0, 12)}`],
      ["Earlier versions that answer", state?.earlier_versions?.join(", ")],
      ["Latest change", lastChange(state?.changes)],
      ["Error", state?.error && make("span", { className: "failed" }, `${state.error} [${state.code ?? "no code"}]`)],
    ]);
    this.state.replaceChildren(list, make("p", { className: "note reason" }, plan ? `Why this plan: ${plan.reason}` : ""));
  }

  listWindows() {
    const rows = (this.kept ?? []).slice(-WINDOWS_LISTED).reverse().map(window => [
      showTime(new Date(Date.now() - (performance.now() / 1000 - window.at_s) * 1000)),
      showRate(window.requests_per_s), showShare(window.error_rate),
      showMs(window.p50_ms), showMs(window.p90_ms), showMs(window.p99_ms)]);
    this.windows.replaceChildren(numberTable("Windows, the latest first",
      ["ended", "req/s", "errors", "p50", "p90", "p99"], rows));
  }
}

function outcomes(telemetry) {
  const parts = Object.entries(telemetry.outcomes).sort().map(([code, count]) => `${code} ${count}`);
  return parts.length ? ` (${parts.join(", ")})` : "";
}

function lastChange(changes) {
  const last = changes?.at(-1);
  return last && `${last.what} release ${last.release}, ${showTime(new Date(last.at))}: ${last.why}`;
}

function stageTable(telemetry) {
  const rows = STAGES.filter(stage => telemetry[stage]).map(stage =>
    [stage, String(telemetry[stage].count), ...PERCENTILES.map(name => showMs(telemetry[stage][name]))]);
  if (!rows.length) return "";
  const rest = restOfTotal(telemetry);
  if (rest !== null) {
    rows.splice(-1, 0, ["rest", String(telemetry.total.count), showMs(rest), ...PERCENTILES.slice(1).map(() => UNKNOWN)]);
  }
  return make("div", {}, make("h4", {}, "Stages in the latest window with requests"),
    numberTable("Stages in the latest window with requests", ["stage", "count", "mean", "p50", "p90", "p95", "p99", "max"], rows, [1, 4, 5]),
    make("p", { className: "note" }, rest === null ? "Percentiles of stages do not add up to that of the total."
      : "The means add up to that of the total; percentiles do not. The rest is handing over between processes and sending the reply."));
}

/** The mean time of a request between the stages; null from agents that send no means. */
function restOfTotal(telemetry) {
  const { total } = telemetry;
  if (!total || typeof total.mean_ms !== "number") return null;
  const spent = STAGES.slice(0, -1).map(stage => telemetry[stage]).filter(Boolean)
    .reduce((sum, stage) => sum + (stage.mean_ms ?? 0) * stage.count, 0);
  return Math.max(0, total.mean_ms - spent / Math.max(1, total.count));
}

/** Make a table of numbers; a phone does not show the columns at the positions of `wide`. */
function numberTable(caption, headings, rows, wide = []) {
  const classOf = index => [index && "number", wide.includes(index) && "wide"].filter(Boolean).join(" ");
  const table = make("table", {}, make("caption", { className: "unseen" }, caption),
    make("thead", {}, make("tr", {}, ...headings.map((heading, index) =>
      make("th", { scope: "col", className: classOf(index) }, heading)))),
    make("tbody", {}, ...rows.map(([first, ...others]) => make("tr", {}, make("th", { scope: "row" }, first),
      ...others.map((text, index) => make("td", { className: classOf(index + 1) }, text))))));
  return make("div", { className: "scroll", role: "region", "aria-label": caption, tabIndex: 0 }, table);
}
