// A form for the columns of a file that fastdl.tabular exported, and the model's answer to it.
// Beside this page: model.onnx (or another: index.html?model=other.onnx), and of the npm package onnxruntime-web's
// folder dist, in ort/: ort.wasm.bundle.min.mjs and ort-wasm-simd-threaded.wasm.

const form = document.querySelector("form");
const output = document.querySelector("output");

// -- the file -------------------------------------------------------------------------------------------

// onnxruntime-web does not hand out what a file tells of itself, so it is read here: ONNX is protobuf, of which a
// message is a row of fields, each a number and a value.
function* fields(message) {
  let at = 0;
  const varint = () => {
    for (let value = 0, factor = 1; ; factor *= 128) {
      const byte = message[at++];
      value += (byte & 127) * factor;
      if (!(byte >= 128)) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const kind = tag & 7;
    if (kind === 0) yield [tag >> 3, varint()];
    else {
      const size = kind === 2 ? varint() : kind === 1 ? 8 : 4;
      yield [tag >> 3, message.subarray(at, at + size)];
      at += size;
    }
  }
}

const all = (message, number) => [...fields(message)].filter(([each]) => each === number).map(([, value]) => value);
const texts = (message, number) => all(message, number).map((value) => new TextDecoder().decode(value));

// The columns and their kinds, as fastdl writes them into the file, and the texts that each column may hold.
function describe(file, name) {
  const entries = all(file, 14).map((entry) => [texts(entry, 1)[0], texts(entry, 2)[0]]);
  const told = JSON.parse(Object.fromEntries(entries)["fastdl.columns"] ?? "null");
  if (!told) throw new Error(`${name} is no file of a table, as fastdl train or TabularClassifier.export writes it.`);
  told.choices = {};
  for (const node of all(all(file, 7)[0], 1)) {
    if (texts(node, 4)[0] !== "LabelEncoder") continue;
    const keys = all(node, 5).find((attribute) => texts(attribute, 1)[0] === "keys_strings");
    if (keys) told.choices[texts(node, 1)[0]] = texts(keys, 9);
  }
  return told;
}

// -- the form -------------------------------------------------------------------------------------------

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// The inputs of a column, and what reads them as the file takes it: text as it is, "" where missing; numbers, NaN where
// missing; dates in seconds since 1970.
function field(name, kind, choices = []) {
  const id = `choices-${form.children.length}`;
  if (kind === "number") {
    const input = element("input", { type: "number", step: "any", name });
    return [[input], () => input.valueAsNumber];
  }
  if (kind === "boolean") {
    const options = ["", "true", "false"].map((value) => element("option", { value }, value));
    const input = element("select", { name }, ...options);
    return [[input], () => ({ true: 1, false: 0 })[input.value] ?? NaN];
  }
  if (kind === "date") {
    const date = element("input", { type: "date", name });
    const time = element("input", { type: "time", name: `${name} time`, ariaLabel: `${name}, time` });
    const read = () => (date.valueAsNumber + (time.valueAsNumber || 0)) / 1000;
    return [[element("div", { className: "date" }, date, time)], read];
  }
  const input = element("input", { name, autocomplete: "off", spellcheck: false });
  input.setAttribute("list", id);
  return [[input, element("datalist", { id }, ...choices.map((value) => element("option", { value })))], () => input.value];
}

function fill(told) {
  const readers = {};
  for (const [name, kind] of Object.entries(told.columns)) {
    const [inputs, read] = field(name, kind, told.choices[name]);
    readers[name] = read;
    form.append(element("label", {}, element("span", {}, `${name} `, element("small", {}, kind)), ...inputs));
  }
  form.append(element("button", {}, "Ask"));
  return readers;
}

// -- the answer -----------------------------------------------------------------------------------------

const MOST = 10; // classes that are shown, the likeliest first
const ARRAYS = { float32: Float32Array, float64: Float64Array, string: Array };

// One row: a tensor for each input, which is one column or, of the layout "matrices", several beside each other.
function tensors(ort, session, told, readers) {
  const made = session.inputMetadata.map(({ name, type, shape }) => {
    const row = (told.matrices?.[name] ?? [name]).map((column) => readers[column]());
    return [name, new ort.Tensor(type, ARRAYS[type].from(row), shape.length === 1 ? [1] : [1, row.length])];
  });
  return Object.fromEntries(made);
}

function show(answers, told) {
  if (!told.classes) {
    const [{ data }] = Object.values(answers);
    const numbers = Array.from(data, (value) => Number(value.toPrecision(6)));
    return output.replaceChildren(element("strong", {}, numbers.join(", ")));
  }
  const { [told.label]: label, ...rest } = answers;
  const [{ data }] = Object.values(rest);
  const likely = told.classes.map((name, i) => [name, data[i]]).sort((a, b) => b[1] - a[1]);
  const rows = likely.slice(0, MOST).map(([name, value]) => {
    const bar = element("progress", { value, ariaLabel: name });
    const share = element("span", {}, `${(100 * value).toFixed(2)} %`);
    return element("div", { className: "class" }, element("span", {}, name), bar, share);
  });
  output.replaceChildren(element("strong", {}, String(label.data[0])), ...rows);
}

try {
  const ort = await import("./ort/ort.wasm.bundle.min.mjs");
  ort.env.wasm.numThreads = 1; // more need headers that isolate the page from others, and a net of a table gains nothing
  const name = new URLSearchParams(location.search).get("model") ?? "model.onnx";
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  const file = new Uint8Array(await response.arrayBuffer());
  const told = describe(file, name);
  const session = await ort.InferenceSession.create(file);
  const readers = fill(told);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      show(await session.run(tensors(ort, session, told, readers)), told);
    } catch (error) {
      output.textContent = error.message;
    }
  });
  output.textContent = "Fill in what is known, and ask.";
} catch (error) {
  output.textContent = error.message;
}
