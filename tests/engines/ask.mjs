// node ask.mjs onnxruntime-node|onnxruntime-web FOLDER questions.json answers.json, packages being those of the folder;
// and in a browser, askAll. A question is {model: base64, inputs: {name: {type, dims, data}}, outputs: names, or none
// for all}, data being base64 or, of strings, a list; an answer {outputs: {name: the same}} or {error: what was said}.

const ARRAYS = { float32: Float32Array, float64: Float64Array, int64: BigInt64Array, bool: Uint8Array };

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

function base64({ buffer, byteOffset, byteLength }) {
  const letters = Array.from(new Uint8Array(buffer, byteOffset, byteLength), (byte) => String.fromCharCode(byte));
  return btoa(letters.join(""));
}

const tensor = (ort, { type, dims, data }) =>
  new ort.Tensor(type, type === "string" ? data : new ARRAYS[type](bytes(data).buffer), dims);

const told = ({ type, dims, data }) => ({ type, dims, data: type === "string" ? data : base64(data) });

const mapped = (object, change) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));

async function ask(ort, { model, inputs, outputs }) {
  try {
    const session = await ort.InferenceSession.create(bytes(model), { logSeverityLevel: 4 });
    try {
      const fetched = outputs.length ? outputs : session.outputNames;
      return { outputs: mapped(await session.run(mapped(inputs, (value) => tensor(ort, value)), fetched), told) };
    } finally {
      await session.release();
    }
  } catch (error) {
    return { error: error.message };
  }
}

export async function askAll(ort, questions) {
  if (ort.env.wasm) ort.env.wasm.numThreads = 1;
  const answers = {};
  for (const [name, question] of Object.entries(questions)) answers[name] = await ask(ort, question);
  return answers;
}

if (globalThis.process) {
  const { readFileSync, writeFileSync } = await import("node:fs");
  const { createRequire } = await import("node:module");
  const [name, folder, from, to] = process.argv.slice(2);
  const answers = await askAll(createRequire(`${folder}/`)(name), JSON.parse(readFileSync(from, "utf8")));
  writeFileSync(to, JSON.stringify(answers));
}
