// The tensors of a reply: JSON, and the raw ones that follow it (Triton's binary tensor extension).

const READERS = {
  UINT8: bytes => [...bytes],
  UINT16: bytes => read(bytes, 2, (view, at) => view.getUint16(at, true)),
  FP32: bytes => read(bytes, 4, (view, at) => view.getFloat32(at, true)),
  INT64: bytes => read(bytes, 8, (view, at) => Number(view.getBigInt64(at, true))),
  BYTES: readTexts,
};

/** Give each output of a reply its `data`; `tail` holds the raw ones one after the other. */
export function readOutputs(reply, tail) {
  let start = 0;
  for (const output of reply.outputs ?? []) {
    const size = output.parameters?.binary_data_size;
    if (size === undefined) continue;
    const bytes = tail.subarray(start, start + size);
    start += size;
    // A class map has a value for each pixel: it stays as it came.
    output.raw = bytes;
    output.data = output.name === "classes" ? [] : READERS[output.datatype]?.(bytes) ?? [];
  }
  return reply;
}

/** Outputs by name. */
export function byName(outputs) {
  return Object.fromEntries(outputs.map(output => [output.name, output]));
}

function read(bytes, width, value) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / width }, (_, index) => value(view, index * width));
}

function readTexts(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), texts = [];
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = view.getUint32(at, true);
    texts.push(new TextDecoder().decode(bytes.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
  return texts;
}
