// MQTT 5 over a WebSocket: announcements of devices, and requests with their replies.
import mqtt from "./vendor/mqtt.js";
import { fleetFilters } from "./fleet.js";
import { readOutputs } from "./tensors.js";

const REQUEST_TIMEOUT_S = 30;
// A command's progress is said at least each time that a candidate was measured.
const COMMAND_TIMEOUT_S = 120;
const RECONNECT_MS = 2000;
const HEADER_LENGTH = "Inference-Header-Content-Length";

/** Return a file's media type by its first bytes, as devices do; null if they do not accept it. */
export function sniffType(bytes) {
  const starts = (...expected) => expected.every((byte, index) => bytes[index] === byte);
  if (starts(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)) return "image/png";
  if (starts(0xff, 0xd8, 0xff)) return "image/jpeg";
  return /^\s*\{/.test(new TextDecoder().decode(bytes.subarray(0, 64))) ? "application/json" : null;
}

export class Connection {
  /** Calls `onMessage(topic, bytes)` for messages and `onState(isConnected, reason)` for changes of the connection. */
  constructor({ websocket, prefix }, { onMessage, onState }) {
    const random = crypto.getRandomValues(new Uint8Array(8));
    const clientId = `drupelet-${[...random].map(byte => byte.toString(16).padStart(2, "0")).join("")}`;
    this.prefix = prefix;
    this.replyTopic = `${prefix}/clients/${clientId}/reply`;
    this.waiting = new Map();
    this.sent = 0;
    this.client = mqtt.connect(websocket, {
      clientId, protocolVersion: 5, clean: true, reconnectPeriod: RECONNECT_MS, connectTimeout: 10000,
      // The other timers need a worker made of a string, which the page's policy forbids.
      timerVariant: "native", resubscribe: false,
    });
    this.client.on("connect", () => {
      onState(true);
      // With QoS 0: who only watches has no use for what it missed, and retained messages come after each connect.
      this.client.subscribe(fleetFilters(prefix), { qos: 0 });
      this.client.subscribe(this.replyTopic, { qos: 1 });
    });
    this.client.on("close", () => onState(false));
    this.client.on("error", error => onState(false, error.message));
    this.client.on("message", (topic, payload, packet) => {
      if (topic === this.replyTopic) this.settle(packet);
      else onMessage(topic, payload);
    });
  }

  /** Send a file's bytes to a model; resolves to `{reply, ms}`, rejects with an error that has a `code`. */
  infer(device, model, bytes, contentType) {
    const startMs = performance.now();
    return this.request(`${device}/infer/${model}`, bytes, {
      contentType, timeoutS: REQUEST_TIMEOUT_S,
      read: (reply, rest) => ({ reply: readOutputs(reply, rest), ms: performance.now() - startMs }),
    });
  }

  /** Send a command; resolves to its result, rejects with an error that has a `code`; progress goes to `onProgress`. */
  command(device, name, body, onProgress = () => {}) {
    return this.request(`${device}/command/${name}`, JSON.stringify(body), {
      contentType: "application/json", timeoutS: COMMAND_TIMEOUT_S, read: reply => reply, onProgress,
    });
  }

  request(topic, payload, { contentType, timeoutS, read, onProgress }) {
    const correlation = String(this.sent += 1);
    return new Promise((resolve, reject) => {
      const fail = (message, code) => {
        clearTimeout(this.waiting.get(correlation)?.timer);
        this.waiting.delete(correlation);
        reject(failure(message, code));
      };
      const wait = () => setTimeout(() => fail(`no answer within ${timeoutS} s`, "reply_timeout"), timeoutS * 1000);
      this.waiting.set(correlation, { timer: wait(), wait, read, onProgress, resolve, reject });
      this.client.publish(`${this.prefix}/${topic}`, payload, {
        qos: 1,
        properties: {
          responseTopic: this.replyTopic, correlationData: correlation, contentType,
          messageExpiryInterval: REQUEST_TIMEOUT_S,
        },
      }, error => error && fail(`the broker does not take it: ${error.message}`, "broker_unreachable"));
    });
  }

  settle(packet) {
    const properties = packet.properties ?? {};
    const correlation = new TextDecoder().decode(properties.correlationData ?? new Uint8Array());
    const waiting = this.waiting.get(correlation), user = properties.userProperties ?? {};
    if (!waiting) return;
    clearTimeout(waiting.timer);
    if (user.code === "progress") {
      waiting.timer = waiting.wait();
      waiting.onProgress?.(JSON.parse(new TextDecoder().decode(packet.payload)));
      return;
    }
    this.waiting.delete(correlation);
    try {
      const length = user[HEADER_LENGTH] === undefined ? packet.payload.length : Number(user[HEADER_LENGTH]);
      const reply = JSON.parse(new TextDecoder().decode(packet.payload.subarray(0, length)));
      if (reply.error !== undefined) waiting.reject(failure(reply.error, reply.code));
      else waiting.resolve(waiting.read(reply, packet.payload.subarray(length)));
    } catch {
      waiting.reject(failure("the reply cannot be read", "remote_error"));
    }
  }
}

function failure(message, code) {
  return Object.assign(new Error(message), { code });
}
