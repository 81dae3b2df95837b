// Numbers from a safetensors file: 8 bytes with the length of a header in JSON, the header, then the tensors.
// Weights are whole numbers from -127 to 127 with a scale for each row of the first axis.
function readWeights(buffer) {
  const size = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, size)));
  const facts = JSON.parse(header.__metadata__.facts), tensors = {};
  delete header.__metadata__;
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(header)) {
    const bytes = buffer.slice(8 + size + from, 8 + size + to);
    tensors[name] = { shape, values: dtype === "I8" ? new Int8Array(bytes) : new Float32Array(bytes) };
  }
  for (const [name, tensor] of Object.entries(tensors)) {
    const scale = tensors[`${name}.scale`];
    if (!scale) continue;
    const each = tensor.values.length / tensor.shape[0];
    tensor.values = Float32Array.from(tensor.values, (value, at) => value * scale.values[Math.floor(at / each)]);
  }
  return { facts, tensors };
}
