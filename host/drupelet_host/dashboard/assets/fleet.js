// The state of all devices, computed from their messages by the same rules as drupelet_host/fleet; a test compares both
// message by message. Members are named as on the wire and in `drupelet top --json`.

const WINDOWS_UNTIL_STALE = 4;
const LEAST_INTERVAL_S = 10;
const WINDOWS_KEPT = 360;
const MOST_WINDOWS = 200_000;
const EVENTS_KEPT = 50;
const TREND_POINTS = 20;
const NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}";
const LEVELS = {
  status: "{device}/status",
  state: "{device}/models/{model}/state",
  model_telemetry: "{device}/telemetry/models/{model}",
  device_telemetry: "{device}/telemetry/device",
  event: "{device}/event",
  history: "{device}/telemetry/history",
};
const LARGEST_FIRST = new Set(
  ["requests_per_s", "p50_ms", "p99_ms", "error_rate", "temperature_celsius", "throttling", "memory_used", "alerts"]);

/** Return the subscriptions for all announcements of devices, without requests and replies. */
export function fleetFilters(prefix) {
  return Object.values(LEVELS).map(form => `${prefix}/${form.replace("{device}", "+").replace("{model}", "+")}`);
}

function topicPatterns(prefix) {
  const head = prefix.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return Object.entries(LEVELS).map(([kind, form]) => {
    const levels = form.replace("{device}", `(?<device>${NAME})`).replace("{model}", `(?<model>${NAME})`);
    return [kind, new RegExp(`^${head}/${levels}$`)];
  });
}

/** Updated by each message in the order of arrival, at times of the caller's clock in seconds. */
export class Fleet {
  constructor(prefix) {
    this.patterns = topicPatterns(prefix);
    this.devices = new Map();
    this.histories = new Map();
    this.malformed = 0;
    // How often the set of devices has changed.
    this.changes = 0;
  }

  /** Apply a message: topic, payload as text, time. Returns true if it changed something. */
  receive(topic, payload, nowS) {
    const announcement = this.parse(topic);
    if (!announcement) return false;
    if (payload === "") this.forget(announcement);
    else {
      let message;
      try {
        message = readMessage(announcement.kind, JSON.parse(payload));
      } catch {
        this.malformed += 1;
        return false;
      }
      if (!this.apply(announcement, message, nowS)) return false;
    }
    const device = this.devices.get(announcement.device);
    if (device) device.changes += 1;
    return true;
  }

  parse(topic) {
    for (const [kind, pattern] of this.patterns) {
      const match = pattern.exec(topic);
      if (match) return { kind, ...match.groups };
    }
    return null;
  }

  apply({ kind, device: name, model }, message, nowS) {
    if (kind === "status") return takeStatus(this.device(name), message);
    if (kind === "device_telemetry") takeTelemetry(this.device(name), message, nowS, this.windowsKept);
    else if (kind === "event") takeEvent(this.device(name), message);
    else if (kind === "history") this.takeHistory(name, message, nowS);
    else if (kind === "model_telemetry") takeWindow(this.model(name, model), message, nowS, this.windowsKept);
    else if (message.health === "removed") this.forget({ kind, device: name, model });
    else this.model(name, model).state = message;
    return true;
  }

  /** How many windows of a model are kept: fewer in a large fleet, so that memory does not grow for an hour. */
  get windowsKept() {
    return Math.min(WINDOWS_KEPT, Math.max(TREND_POINTS, Math.floor(MOST_WINDOWS / Math.max(1, this.devices.size))));
  }

  device(name) {
    if (!this.devices.has(name)) {
      this.changes += 1;
      this.devices.set(name, {
        name, changes: 0, status: null, telemetry: null, telemetryAtS: 0, intervalS: LEAST_INTERVAL_S,
        models: new Map(), events: [], alerts: new Map(), readings: [], history: this.histories.get(name) ?? null,
      });
    }
    return this.devices.get(name);
  }

  model(deviceName, name) {
    const { models } = this.device(deviceName);
    if (!models.has(name)) models.set(name, { name, state: null, telemetry: null, served: null, windows: [] });
    return models.get(name);
  }

  /** A history outlives a device whose status was deleted, and therefore announces none. */
  takeHistory(name, message, nowS) {
    const agoS = Math.max(0, (Date.now() - Date.parse(message.ended_at)) / 1000), history = { message, endedS: nowS - agoS };
    this.histories.set(name, history);
    if (this.devices.has(name)) this.devices.get(name).history = history;
  }

  forget({ kind, device, model }) {
    if (kind === "status") {
      this.changes += 1;
      this.devices.delete(device);
      this.histories.delete(device);
    }
    else if (kind === "state") this.devices.get(device)?.models.delete(model);
  }
}

export function isOnline(device) {
  return device.status?.state === "online";
}

/** Return a device's latest telemetry; null if it is offline or the next is long overdue. */
export function currentTelemetry(device, nowS) {
  return isOnline(device) && nowS <= telemetryStaleAfterS(device) ? device.telemetry : null;
}

function telemetryStaleAfterS(device) {
  return device.telemetryAtS + WINDOWS_UNTIL_STALE * device.intervalS;
}

/** Return a model's latest window by the same rule. */
export function currentWindow(device, model, nowS) {
  const last = model.windows.at(-1);
  if (!last || !isOnline(device)) return null;
  return nowS <= windowStaleAfterS(last) ? last : null;
}

function windowStaleAfterS(window) {
  return window.at_s + WINDOWS_UNTIL_STALE * Math.max(window.length_s, LEAST_INTERVAL_S);
}

/** Return when the first of what is current becomes stale without another message; infinite if nothing is. */
function nextStaleS(device, nowS) {
  if (!isOnline(device)) return Infinity;
  let next = Infinity;
  const add = endS => {
    if (endS >= nowS && endS < next) next = endS;
  };
  add(telemetryStaleAfterS(device));
  for (const { windows } of device.models.values()) if (windows.length) add(windowStaleAfterS(windows.at(-1)));
  return next;
}

function pointTimes({ message, endedS }, count) {
  return Array.from({ length: count }, (_, index) => endedS - (count - 1 - index) * message.point_s);
}

function modelHistory(device, name) {
  return device.history?.message.models.find(each => each.model === name) ?? null;
}

/** Return a model's windows, and before them the points of its history, as windows of a longer time. */
export function modelTimeline(device, model) {
  const history = modelHistory(device, model.name), first = model.windows[0];
  if (!history) return model.windows;
  const points = pointTimes(device.history, history.p99_ms.length).map((atS, index) => ({
    at_s: atS, length_s: device.history.message.point_s,
    requests_per_s: history.requests_per_s[index], error_rate: history.error_rate[index],
    p50_ms: history.p50_ms[index], p90_ms: history.p90_ms[index], p99_ms: history.p99_ms[index],
  }));
  return [...points.filter(point => !first || point.at_s <= first.at_s - first.length_s), ...model.windows];
}

/** Return a device's readings, and before them the points of its history. */
export function deviceTimeline(device) {
  const message = device.history?.message, first = device.readings[0];
  if (!message) return device.readings;
  const points = pointTimes(device.history, message.cpu_percent.length).map((atS, index) => ({
    at_s: atS, cpu_percent: message.cpu_percent[index], memory_used: message.memory_used[index],
    temperature_celsius: message.temperature_celsius[index],
  }));
  return [...points.filter(point => !first || point.at_s < first.at_s), ...device.readings];
}

/** Return a row for each model on each device, by name, and one for a device without models. */
export function makeRows(fleet, nowS) {
  return new RowCache().makeRows(fleet, nowS);
}

/** The rows of one fleet, of which only those are made anew that a message or the time has changed. */
export class RowCache {
  constructor() {
    this.kept = new Map();
    this.devices = [];
  }

  /** Return what `makeRows` returns for the same fleet and a time that never goes back. */
  makeRows(fleet, nowS) {
    if (this.changes !== fleet.changes) {
      this.changes = fleet.changes;
      this.devices = [...fleet.devices.values()].sort(byName);
      const before = this.kept;
      this.kept = new Map(this.devices.map(device => [device, before.get(device) ?? { changes: -1 }]));
    }
    const rows = [];
    for (const [device, kept] of this.kept) {
      if (kept.changes !== device.changes || nowS > kept.untilS) {
        kept.rows = makeDeviceRows(device, nowS);
        kept.changes = device.changes;
        kept.untilS = nextStaleS(device, nowS);
      }
      rows.push(...kept.rows);
    }
    return rows;
  }
}

function makeDeviceRows(device, nowS) {
  const models = device.models.size ? [...device.models.values()].sort(byName) : [null];
  return models.map(model => makeRow(device, model, nowS));
}

/** Sort rows by a member; equal ones by name, unknown values last in either direction. */
export function sortRows(rows, key, isReversed) {
  // Rows are made in the order of names.
  if (key === "device" && !isReversed && rows.every(row => row.device === row.device.toLowerCase())) return rows;
  const known = rows.filter(row => row[key] !== null);
  const value = row => {
    const value = row[key];
    return typeof value === "string" ? value.toLowerCase() : Array.isArray(value) ? value.length : value;
  };
  const sign = isReversed ? -1 : 1, values = new Map(known.map(row => [row, value(row)]));
  known.sort((a, b) => {
    const first = values.get(a), second = values.get(b);
    return first < second ? -sign : first > second ? sign : 0;
  });
  return [...known, ...rows.filter(row => row[key] === null)];
}

/** Return the rows that contain every word of a text. */
export function filterRows(rows, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return rows;
  return rows.filter(row => {
    const text = searchedText(row);
    return words.every(word => text.includes(word));
  });
}

const searchedTexts = new WeakMap();

function searchedText(row) {
  let text = searchedTexts.get(row);
  if (text === undefined) {
    text = [row.device, row.connection, row.model, row.version, row.health, row.variant, row.plan, row.error,
      ...row.throttling ?? [], ...row.labels].filter(Boolean).join(" ").toLowerCase();
    searchedTexts.set(row, text);
  }
  return text;
}

export function isLargestFirst(key) {
  return LARGEST_FIRST.has(key);
}

/** Return counts over all devices; `rows` are all rows of the fleet. */
export function summarize(fleet, rows) {
  const counts = {
    devices: fleet.devices.size, online: 0, models: 0, ready: 0, requests_per_s: 0, alerts: 0,
    malformed: fleet.malformed,
  };
  for (const device of fleet.devices.values()) {
    if (isOnline(device)) counts.online += 1;
    counts.models += device.models.size;
    counts.alerts += device.alerts.size;
  }
  for (const row of rows) {
    if (row.health === "ready" && (row.connection === "online" || row.connection === "silent")) counts.ready += 1;
    counts.requests_per_s += row.requests_per_s ?? 0;
  }
  return counts;
}

function byName(a, b) {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

function makeRow(device, model, nowS) {
  const state = model?.state, telemetry = currentTelemetry(device, nowS);
  const window = model ? currentWindow(device, model, nowS) : null;
  const flags = telemetry?.throttling;
  return {
    device: device.name,
    connection: connectionOf(device, telemetry),
    model: model?.name ?? null,
    version: state?.version ?? null,
    health: state?.health ?? null,
    variant: state?.variant ?? null,
    plan: describePlan(state?.plan),
    requests_per_s: window?.requests_per_s ?? null,
    p50_ms: window?.p50_ms ?? null,
    p99_ms: window?.p99_ms ?? null,
    error_rate: window?.error_rate ?? null,
    temperature_celsius: telemetry?.temperature_celsius ?? null,
    throttling: flags?.filter(flag => !flag.endsWith("_occurred")) ?? null,
    throttled_before: flags?.some(flag => flag.endsWith("_occurred")) ?? null,
    memory_used: telemetry
      ? 1 - telemetry.memory_available_bytes / Math.max(1, telemetry.memory_total_bytes) : null,
    alerts: device.alerts.size,
    error: state?.error ?? null,
    labels: describeLabels(device.status),
    // Before the first window there is a history already.
    p99_trend_ms: window || (model && isOnline(device) && !model.windows.length) ? trend(device, model) : [],
  };
}

function trend(device, model) {
  return (modelHistory(device, model.name)?.p99_ms ?? model.windows.map(each => each.p99_ms)).slice(-TREND_POINTS);
}

function connectionOf(device, telemetry) {
  if (!device.status) return "unknown";
  if (!isOnline(device)) return "offline";
  return telemetry || !device.telemetry ? "online" : "silent";
}

/** Return a device's labels in the order of their names: "site=berlin". */
export function describeLabels(status) {
  return Object.entries(status?.labels ?? {}).sort(([a], [b]) => a < b ? -1 : 1).map(([name, value]) => `${name}=${value}`);
}

export function describePlan(plan) {
  return plan ? `${plan.instances} x ${plan.threads} thread${plan.threads === 1 ? "" : "s"}` : null;
}

function takeStatus(device, status) {
  // A will that arrives after the next birth message is about a connection that was replaced (contract, section 7).
  if (status.state === "offline" && device.status && device.status.session !== status.session) return false;
  device.status = status;
  return true;
}

function takeTelemetry(device, telemetry, nowS, kept) {
  const before = device.telemetry?.uptime_s;
  if (telemetry.uptime_s > before) device.intervalS = Math.max(LEAST_INTERVAL_S, telemetry.uptime_s - before);
  device.telemetry = telemetry;
  device.telemetryAtS = nowS;
  device.readings.push({
    at_s: nowS, cpu_percent: telemetry.cpu_percent, temperature_celsius: telemetry.temperature_celsius ?? null,
    memory_used: 1 - telemetry.memory_available_bytes / Math.max(1, telemetry.memory_total_bytes),
  });
  while (device.readings.length > kept) device.readings.shift();
}

function takeWindow(model, telemetry, nowS, kept) {
  const ended = Object.values(telemetry.outcomes).reduce((total, count) => total + count, 0), { total } = telemetry;
  model.telemetry = telemetry;
  // Another window may come before the page is drawn again.
  if (total) model.served = telemetry;
  model.windows.push({
    at_s: nowS,
    length_s: telemetry.window_s,
    requests_per_s: ended / Math.max(telemetry.window_s, 1e-3),
    error_rate: ended ? 1 - (telemetry.outcomes.ok ?? 0) / ended : 0,
    p50_ms: total?.p50_ms ?? null,
    p90_ms: total?.p90_ms ?? null,
    p99_ms: total?.p99_ms ?? null,
  });
  while (model.windows.length > kept) model.windows.shift();
}

function takeEvent(device, event) {
  device.events.push(event);
  if (device.events.length > EVENTS_KEPT) device.events.shift();
  const key = `${event.kind} ${event.model ?? ""}`;
  if (event.state === "raised") device.alerts.set(key, event);
  else device.alerts.delete(key);
}

// The members that each kind of message must have for the rules above; others are shown if present.
const isText = value => typeof value === "string";
const isNumber = value => typeof value === "number";
const isMap = value => typeof value === "object" && value !== null && !Array.isArray(value);
const isCounts = value => isMap(value) && Object.values(value).every(Number.isInteger);
const isPercentiles = value =>
  isMap(value) && ["count", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms"].every(name => isNumber(value[name]));
const isOneOf = (...allowed) => value => allowed.includes(value);
const maybe = check => value => value === undefined || value === null || check(value);
const isSeries = value => Array.isArray(value) && value.every(isNumber);
const isGappedSeries = value => Array.isArray(value) && value.every(maybe(isNumber));
const isModelHistory = value => isMap(value) && isText(value.model) &&
  [value.requests_per_s, value.error_rate].every(isSeries) && [value.p50_ms, value.p90_ms, value.p99_ms].every(isGappedSeries);
const SHAPES = {
  status: {
    state: isOneOf("online", "offline"), device: isText, session: isText, agent_version: isText,
    store_error: maybe(isText), labels: maybe(value => isMap(value) && Object.values(value).every(isText)),
  },
  state: {
    model: isText, version: isText, release: Number.isInteger, digest: isText,
    health: isOneOf("starting", "ready", "failed", "evicted", "removed"), variant: maybe(isText),
    plan: maybe(value => isMap(value) && Number.isInteger(value.threads) && Number.isInteger(value.instances)),
    error: maybe(isText),
  },
  model_telemetry: {
    model: isText, version: isText, variant: isText, window_s: isNumber, outcomes: isCounts,
    queue: maybe(isPercentiles), decode: maybe(isPercentiles), inference: maybe(isPercentiles),
    encode: maybe(isPercentiles), total: maybe(isPercentiles),
  },
  device_telemetry: {
    device: isText, uptime_s: isNumber, cpu_percent: isNumber, memory_total_bytes: Number.isInteger,
    memory_available_bytes: Number.isInteger, agent_memory_bytes: Number.isInteger,
    workers_memory_bytes: Number.isInteger, temperature_celsius: maybe(isNumber),
    throttling: maybe(value => Array.isArray(value) && value.every(isText)),
  },
  event: {
    device: isText, kind: isText,
    state: isOneOf("raised", "cleared"), value: isNumber, limit: isNumber, message: isText, model: maybe(isText),
  },
  history: {
    device: isText, ended_at: value => isText(value) && !Number.isNaN(Date.parse(value)), point_s: isNumber,
    cpu_percent: isSeries, memory_used: isSeries, temperature_celsius: isGappedSeries,
    models: value => value === undefined || (Array.isArray(value) && value.every(isModelHistory)),
  },
};

function readMessage(kind, value) {
  if (!isMap(value)) throw new TypeError(`${kind}: expected an object`);
  for (const [name, check] of Object.entries(SHAPES[kind])) {
    if (!check(value[name])) throw new TypeError(`${kind}: ${name} does not match the contract`);
  }
  return kind === "history" ? { models: [], ...value } : value;
}
