// Draws an answer onto the image that was sent: boxes with their labels, or a class map.
import { byName } from "./tensors.js";

// Neighbouring classes get hues far apart: the golden ratio's fraction of a turn.
const HUE_STEP = 222.5, TEXT_PX = 12, MASK_ALPHA = 128, ONE_PIXEL_SIDE = 300;

/** A canvas of the image with the answer drawn on it; null if the answer has neither boxes nor a class map. */
export function annotate(image, outputs) {
  const named = byName(outputs), canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  if (named.boxes && named.labels && named.indices) drawBoxes(context, named);
  else if (named.classes?.raw && named.labels) drawClasses(context, named.classes);
  else return null;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${image.alt}, with ${describe(named)}`);
  return canvas;
}

/** The color of a class as [red, green, blue]. */
export function colorOf(index) {
  const hue = index * HUE_STEP % 360;
  return [5, 3, 1].map(shift => {
    const part = (shift + hue / 60) % 6;
    return Math.round(255 * (1 - 0.75 * Math.max(0, Math.min(part, 4 - part, 1))));
  });
}

function drawBoxes(context, { boxes, labels, scores, indices }) {
  const corners = boxes.data.flat(), { width, height } = context.canvas;
  const line = Math.max(1, Math.round(Math.min(width, height) / ONE_PIXEL_SIDE)), text = TEXT_PX * line;
  context.lineWidth = line;
  context.font = `${text}px sans-serif`;
  // The best last, on top.
  for (let number = labels.data.length - 1; number >= 0; number -= 1) {
    const [left, top, right, bottom] = corners.slice(4 * number, 4 * number + 4);
    const label = `${labels.data[number]} ${scores.data[number].toFixed(2)}`, above = top >= text ? top - text : top;
    context.strokeStyle = context.fillStyle = `rgb(${colorOf(indices.data[number])})`;
    context.strokeRect(left, top, right - left, bottom - top);
    context.fillRect(left, above, context.measureText(label).width, text);
    context.fillStyle = "black";
    context.fillText(label, left, above + text * 0.85);
  }
}

function drawClasses(context, { raw, shape, datatype }) {
  const [height, width] = shape, wide = datatype === "UINT16", mask = new ImageData(width, height), colors = new Map();
  for (let pixel = 0; pixel < width * height; pixel += 1) {
    const index = wide ? raw[2 * pixel] + 256 * raw[2 * pixel + 1] : raw[pixel];
    if (!colors.has(index)) colors.set(index, [...colorOf(index), MASK_ALPHA]);
    mask.data.set(colors.get(index), 4 * pixel);
  }
  const layer = document.createElement("canvas");
  layer.width = width;
  layer.height = height;
  layer.getContext("2d").putImageData(mask, 0, 0);
  context.drawImage(layer, 0, 0, context.canvas.width, context.canvas.height);
}

function describe({ boxes, labels }) {
  const names = labels.data.join(", ");
  if (!boxes) return `its classes: ${names}`;
  return labels.data.length ? `boxes around ${names}` : "no boxes: nothing was found";
}
