// One device: its numbers, its models, its events.
import { currentTelemetry, describeLabels, deviceTimeline, isOnline } from "./fleet.js";
import { showBytes, showCelsius, showShare, showUptime } from "./format.js";
import { chip, facts, make } from "./elements.js";
import { ModelView } from "./model.js";
import { Trend } from "./trend.js";

export class DeviceView {
  constructor(section, connection) {
    this.connection = connection;
    this.heading = section.querySelector("h2");
    this.facts = section.querySelector("#device-facts");
    this.trends = [
      new Trend("Temperature", "temperature_celsius", showCelsius, null),
      new Trend("Processor", "cpu_percent", value => `${value.toFixed(0)} %`, 0),
      new Trend("Memory in use", "memory_used", showShare, 0),
    ];
    section.querySelector("#device-trends").append(...this.trends.map(trend => trend.element));
    this.models = section.querySelector("#models");
    this.events = section.querySelector("#events");
  }

  /** Show another device. */
  show(name) {
    this.name = name;
    this.views = new Map();
    this.seen = {};
    this.models.replaceChildren();
    this.heading.textContent = name;
  }

  draw(fleet, nowS) {
    const device = fleet.devices.get(this.name) ?? { name: this.name, models: new Map(), events: [], gone: true };
    const telemetry = device.gone ? null : currentTelemetry(device, nowS);
    // Rebuilt only when there is something new, so that what a person selects or reads stays.
    if (this.seen.status !== device.status || this.seen.telemetry !== telemetry) {
      this.seen.status = device.status;
      this.seen.telemetry = telemetry;
      this.facts.replaceChildren(deviceFacts(device, telemetry));
    }
    for (const trend of this.trends) trend.draw(device.gone ? [] : deviceTimeline(device), nowS);
    if (this.seen.event !== device.events.at(-1) || !this.events.children.length) {
      this.seen.event = device.events.at(-1);
      this.events.replaceChildren(...eventItems(device.events));
    }
    for (const [name, view] of this.views) {
      if (!device.models.has(name)) {
        view.element.remove();
        this.views.delete(name);
      }
    }
    for (const name of [...device.models.keys()].sort()) {
      if (!this.views.has(name)) {
        const view = new ModelView(this.name, name, this.connection);
        this.views.set(name, view);
        this.models.append(view.element);
      }
      this.views.get(name).draw(device, device.models.get(name), nowS);
    }
  }
}

function deviceFacts(device, telemetry) {
  if (device.gone) return make("p", {}, "This device is not on the broker.");
  const state = device.status ? (isOnline(device) && !telemetry && device.telemetry ? "silent" : device.status.state) : null;
  const memory = telemetry &&
    `${showBytes(telemetry.memory_available_bytes)} of ${showBytes(telemetry.memory_total_bytes)} available`;
  return facts([
    ["Status", chip(state)],
    ["Agent", device.status?.agent_version],
    ["Labels", describeLabels(device.status).join(" ")],
    ["Store", device.status?.store_error],
    ["Booted", telemetry && `${showUptime(telemetry.uptime_s)} ago`],
    ["Processor", telemetry && `${telemetry.cpu_percent.toFixed(0)} %` +
      (telemetry.clock_mhz ? ` at ${telemetry.clock_mhz.toFixed(0)} MHz` : "")],
    ["Temperature", telemetry?.temperature_celsius && showCelsius(telemetry.temperature_celsius)],
    ["Throttling", telemetry?.throttling && (telemetry.throttling.join(", ") || "never since it booted")],
    ["Memory", memory],
    ["Agent and workers", telemetry &&
      `${showBytes(telemetry.agent_memory_bytes)} and ${showBytes(telemetry.workers_memory_bytes)}`],
    ["Disk", telemetry?.disk_free_bytes && `${showBytes(telemetry.disk_free_bytes)} free`],
    ["Telemetry given up", telemetry?.dropped_messages ? `${telemetry.dropped_messages} messages` : null],
  ]);
}

function eventItems(events) {
  if (!events.length) return [make("li", { className: "note" }, "None since this page was opened.")];
  return events.toReversed().map(event => make("li", {},
    make("span", { className: event.state }, event.state), ` ${event.kind}${event.model ? ` ${event.model}` : ""}: `,
    event.message));
}
