// The page: its settings come from the local server, everything else from the broker.
import { Connection } from "./connection.js";
import { DeviceView } from "./device.js";
import { make, setText } from "./elements.js";
import { Fleet, RowCache, summarize } from "./fleet.js";
import { Inbox } from "./inbox.js";
import { FleetTable } from "./table.js";

const DRAW_INTERVAL_MS = 1000;
const NEWS_DELAY_MS = 200;
// Of the time between two drawings, drawing takes at most one part in this many.
const DRAWING_SHARE = 10;
const TOKEN = "drupelet-token";

const find = id => document.getElementById(id);
const decoder = new TextDecoder();
const nowS = () => performance.now() / 1000;

/** Move the token from the address into the tab's storage, where a reload finds it, and return it. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(TOKEN, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(TOKEN) ?? "";
}

async function readSession() {
  const answer = await fetch(`/session.json?token=${encodeURIComponent(takeToken())}`);
  if (!answer.ok) throw new Error("Open the address that drupelet dashboard printed: this one is of another run.");
  return answer.json();
}

class App {
  constructor(session) {
    this.session = session;
    this.fleet = new Fleet(session.prefix);
    this.rows = new RowCache();
    this.table = new FleetTable(find("devices"));
    this.inbox = new Inbox(({ topic, payload, atS }) => this.fleet.receive(topic, decoder.decode(payload), atS),
      () => this.drawSoon());
    this.connection = new Connection(session, {
      onMessage: (topic, payload) => this.inbox.add({ topic, payload, atS: nowS() }),
      onState: (isConnected, reason) => this.showConnection(isConnected, reason),
    });
    this.deviceView = new DeviceView(find("device"), this.connection);
    find("filter").addEventListener("input", event => {
      this.table.filter = event.target.value;
      this.draw();
    });
    addEventListener("hashchange", () => this.route(true));
    this.route(false);
    // What is late becomes so without a message.
    setInterval(() => this.drawSoon(), DRAW_INTERVAL_MS);
    // A file that misses its zone must not take the page's place.
    for (const name of ["dragover", "drop"]) addEventListener(name, event => event.preventDefault());
  }

  showConnection(isConnected, reason) {
    const text = isConnected ? `Connected to ${this.session.broker}`
      : `Not connected to ${this.session.broker}${reason ? ` (${reason})` : ""}, trying again`;
    setText(find("connection"), text);
    find("connection").classList.toggle("is-lost", !isConnected);
  }

  /** Show the device in the address, or all devices. */
  route(isMove) {
    const name = new URLSearchParams(location.hash.slice(1)).get("device");
    find("fleet").hidden = name !== null;
    find("device").hidden = name === null;
    document.title = name === null ? "drupelet dashboard" : `${name} · drupelet dashboard`;
    if (name !== null) this.deviceView.show(name);
    this.device = name;
    this.draw();
    if (isMove) find(name === null ? "fleet-heading" : "device-heading").focus();
  }

  /** Draw once for all messages that arrive within a short time. */
  drawSoon() {
    this.soon ??= setTimeout(() => {
      this.soon = undefined;
      this.draw();
    }, Math.max(NEWS_DELAY_MS, DRAWING_SHARE * (this.drawingMs ?? 0)));
  }

  draw() {
    const startMs = performance.now();
    this.drawAll();
    this.drawingMs = performance.now() - startMs;
  }

  drawAll() {
    const rows = this.rows.makeRows(this.fleet, nowS()), counts = summarize(this.fleet, rows);
    drawCounts(counts);
    if (this.device !== null) this.deviceView.draw(this.fleet, nowS());
    else {
      const shown = this.table.draw(rows);
      setText(find("shown"), shown < rows.length ? `${shown} of ${rows.length} rows` : "");
      find("nothing").hidden = rows.length > 0;
    }
  }
}

function drawCounts(counts) {
  const texts = [
    `${counts.online} of ${counts.devices} devices online`,
    `${counts.ready} of ${counts.models} models ready`,
    `${counts.requests_per_s.toFixed(1)} requests/s`,
    `${counts.alerts} alert${counts.alerts === 1 ? "" : "s"}`,
    ...(counts.malformed ? [`${counts.malformed} unreadable messages`] : []),
  ];
  const list = find("counts");
  while (list.children.length > texts.length) list.lastChild.remove();
  texts.forEach((text, index) => setText(list.children[index] ?? list.appendChild(make("li")), text));
}

async function start() {
  try {
    return new App(await readSession());
  } catch (error) {
    setText(find("notice"), error.message);
    find("notice").hidden = false;
    setText(find("connection"), "Not connected");
    return null;
  }
}

await start();
