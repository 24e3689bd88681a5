// Copies MQTT.js's build for browsers into the page's assets, and the licences of everything that is inside it.
import { copyFileSync, existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "node_modules");
const vendor = join(here, "../drupelet_host/dashboard/assets/vendor");

// The build that is not minified names the file that each part of it comes from.
const readable = readFileSync(join(modules, "mqtt/dist/mqtt.js"), "utf8");
const origins = readable.matchAll(/^\s*\/\/ node_modules\/((?:@[^/\n]+\/)?[^/\n]+)\//gm);
const names = ["mqtt", ...new Set([...origins].map(([, name]) => name))].sort();

const texts = names.map((name) => {
  const folder = join(modules, name);
  if (!existsSync(folder)) throw new Error(`${name} is inside MQTT.js: add it to devDependencies`);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (!file) throw new Error(`${name} ${version} is published without its licence's text (${license})`);
  return `${name} ${version} (${license})\n${"-".repeat(72)}\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
});

copyFileSync(join(modules, "mqtt/dist/mqtt.esm.js"), join(vendor, "mqtt.js"));
const { version } = JSON.parse(readFileSync(join(modules, "mqtt/package.json"), "utf8"));
writeFileSync(join(vendor, "LICENSES.txt"), `mqtt.js is MQTT.js ${version} with these packages inside.\n\n${texts.join("\n")}`);
