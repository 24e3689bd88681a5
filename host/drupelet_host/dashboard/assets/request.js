// A test request: sends a dropped or chosen image to the model and shows the answer.
import { annotate } from "./annotate.js";
import { sniffType } from "./connection.js";
import { make } from "./elements.js";
import { byName } from "./tensors.js";

const SMALL_PX = 64;
const VALUES_SHOWN = 10;

export class RequestForm {
  constructor(device, model, connection) {
    this.device = device;
    this.model = model;
    this.connection = connection;
    this.input = make("input", { type: "file", accept: "image/png,image/jpeg,.json,application/json" });
    this.zone = make("label", { className: "drop" }, this.input, "Drop a PNG or JPEG here, or ",
      make("b", {}, "choose a file"), make("span", { className: "note" }, " (or an Open Inference Protocol request, .json)"));
    this.answer = make("div", { className: "answer", "aria-live": "polite" });
    this.element = make("div", {}, make("h4", {}, "Try a request"), this.zone, this.answer);
    this.input.addEventListener("change", () => {
      if (this.input.files.length) this.send(this.input.files[0]);
      // So that the same file can be chosen again.
      this.input.value = "";
    });
    this.takeDrops();
  }

  takeDrops() {
    for (const name of ["dragenter", "dragover"]) {
      this.zone.addEventListener(name, event => {
        event.preventDefault();
        this.zone.classList.add("is-over");
      });
    }
    this.zone.addEventListener("dragleave", () => this.zone.classList.remove("is-over"));
    this.zone.addEventListener("drop", event => {
      event.preventDefault();
      this.zone.classList.remove("is-over");
      if (event.dataTransfer.files.length) this.send(event.dataTransfer.files[0]);
    });
  }

  async send(file) {
    const bytes = new Uint8Array(await file.arrayBuffer()), contentType = sniffType(bytes);
    if (!contentType) {
      this.answer.replaceChildren(refusal(`${file.name} is not a PNG, a JPEG or a JSON request`, "unsupported_content_type"));
      return;
    }
    this.answer.replaceChildren(make("p", {}, `${file.name} is on its way`));
    const preview = contentType.startsWith("image/") ? await makePreview(file) : null;
    try {
      const { reply, ms } = await this.connection.infer(this.device, this.model, bytes, contentType);
      const about = `${reply.model_name} ${reply.model_version ?? ""} answered ${file.name} in ${ms.toFixed(0)} ms, the way there and back included.`;
      const picture = preview && (annotate(preview, reply.outputs) ?? preview);
      this.answer.replaceChildren(...[picture, make("p", {}, about), showOutputs(reply.outputs)].filter(Boolean));
    } catch (error) {
      this.answer.replaceChildren(...[preview, refusal(error.message, error.code)].filter(Boolean));
    }
  }
}

async function makePreview(file) {
  const url = URL.createObjectURL(file), image = make("img", { alt: `The image that was sent: ${file.name}`, src: url });
  try {
    await image.decode();
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(url);
  }
  image.classList.toggle("is-small", image.naturalWidth <= SMALL_PX);
  return image;
}

function refusal(message, code) {
  return make("p", { className: "failed" }, `${message} [${code ?? "no code"}]`);
}

function showOutputs(outputs) {
  const { labels, scores, fractions } = byName(outputs);
  if (labels && scores) return labelTable(labels.data.flat(), scores.data.flat(), "score");
  if (labels && fractions) return labelTable(labels.data, fractions.data, "share of the image");
  return make("ul", {}, ...outputs.map(output => {
    const values = (output.data ?? []).flat(Infinity), rest = values.length - VALUES_SHOWN;
    const shown = values.slice(0, VALUES_SHOWN).map(value => typeof value === "number" ? value.toPrecision(4) : value);
    return make("li", {}, `${output.name} ${output.datatype} [${output.shape}]: ${shown.join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`);
  }));
}

function labelTable(labels, scores, heading) {
  const rows = labels.map((label, index) => {
    const bar = make("span", { className: "share", "aria-hidden": "true" });
    bar.style.setProperty("--share", Math.min(1, Math.max(0, scores[index])));
    return make("tr", {}, make("th", { scope: "row" }, label),
      make("td", { className: "number" }, scores[index].toFixed(3)), make("td", {}, bar));
  });
  const headings = [make("th", { scope: "col" }, "label"), make("th", { scope: "col", className: "number" }, heading)];
  return make("table", {}, make("caption", { className: "unseen" }, "The answer, best first"),
    make("thead", {}, make("tr", {}, ...headings, make("td"))), make("tbody", {}, ...rows));
}
