// Lesson 8's tiny GPT on a page: its merges, where it looks, and how it writes. No library; one file of weights.
const reader = (() => {
  function parse(buffer) {
    const { facts, tensors } = readWeights(buffer);
    return model(facts, tensors);
  }

  function model(facts, tensors) {
    const rank = new Map(facts.merges.map(([one, other], at) => [`${one}\n${other}`, at]));
    const number = new Map(facts.vocab.map((piece, at) => [piece, at]));
    const width = tensors["embed.weight"].shape[1], { heads, layers, longest } = facts;

    // Byte-pair encoding: the earliest known merge first, wherever it stands, until none is left.
    function pieces(word, count = Infinity) {
      let parts = [...word];
      for (;;) {
        let best = count, pair = "";
        for (let at = 1; at < parts.length; at++) {
          const found = rank.get(`${parts[at - 1]}\n${parts[at]}`);
          if (found < best) { best = found; pair = `${parts[at - 1]}\n${parts[at]}`; }
        }
        if (!pair) return parts;
        const joined = [];
        for (const part of parts) {
          if (joined.length && `${joined.at(-1)}\n${part}` === pair) joined[joined.length - 1] += part;
          else joined.push(part);
        }
        parts = joined;
      }
    }
    const encode = (text, count) =>
      (text.toLowerCase().match(/ ?[\p{L}\p{M}\p{N}_]+| ?[^\p{L}\p{M}\p{N}_\s]+|\s+/gu) ?? []).flatMap(word => pieces(word, count));
    const numbers = parts => parts.map(part => number.get(part) ?? 0);

    // rows x n_in times the transpose of n_out x n_in, and the bias
    function linear(x, rows, name, bias = `${name}.bias`) {
      const { shape: [out, n], values } = tensors[`${name}.weight`], add = tensors[bias]?.values, y = new Float32Array(rows * out);
      for (let row = 0; row < rows; row++) for (let to = 0; to < out; to++) {
        let sum = add ? add[to] : 0;
        for (let at = 0; at < n; at++) sum += x[row * n + at] * values[to * n + at];
        y[row * out + to] = sum;
      }
      return y;
    }
    function norm(x, rows, name) {
      const weight = tensors[`${name}.weight`].values, bias = tensors[`${name}.bias`].values, y = new Float32Array(x.length);
      for (let row = 0; row < rows; row++) {
        const part = x.subarray(row * width, (row + 1) * width), mean = part.reduce((a, b) => a + b) / width;
        const spread = Math.sqrt(part.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width + 1e-5);
        for (let at = 0; at < width; at++) y[row * width + at] = (part[at] - mean) / spread * weight[at] + bias[at];
      }
      return y;
    }
    function softmax(scores) {
      const most = Math.max(...scores), parts = scores.map(score => Math.exp(score - most)), sum = parts.reduce((a, b) => a + b);
      return parts.map(part => part / sum);
    }
    function gelu(x) { // x/2 (1 + erf(x/√2)); erf after Abramowitz and Stegun, 7.1.26
      const z = Math.abs(x) / Math.SQRT2, t = 1 / (1 + 0.3275911 * z);
      const erf = 1 - t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * Math.exp(-z * z);
      return x / 2 * (1 + Math.sign(x) * erf);
    }
    function attention(x, rows, name) {
      const qkv = linear(x, rows, `${name}.qkv`), dim = width / heads, out = new Float32Array(rows * width), shares = [];
      for (let head = 0; head < heads; head++) {
        const at = (row, kind) => row * 3 * width + kind * width + head * dim, grid = [];
        for (let row = 0; row < rows; row++) {
          const scores = Array.from({ length: row + 1 }, (_, other) => {
            let sum = 0;
            for (let i = 0; i < dim; i++) sum += qkv[at(row, 0) + i] * qkv[at(other, 1) + i];
            return sum / Math.sqrt(dim);
          });
          const looks = softmax(scores);
          looks.forEach((share, other) => {
            for (let i = 0; i < dim; i++) out[row * width + head * dim + i] += share * qkv[at(other, 2) + i];
          });
          grid.push(looks);
        }
        shares.push(grid);
      }
      return { out: linear(out, rows, `${name}.out`), shares };
    }

    // Scores of what follows the last piece, and the shares of attention: [block][head][row][column]
    function forward(ids) {
      const rows = ids.length, x = new Float32Array(rows * width), shares = [];
      const embed = tensors["embed.weight"].values, places = tensors["places.weight"].values;
      ids.forEach((id, row) => { for (let at = 0; at < width; at++) x[row * width + at] = embed[id * width + at] + places[row * width + at]; });
      for (let block = 0; block < layers; block++) {
        const name = `blocks.${block}`, looked = attention(norm(x, rows, `${name}.norm1`), rows, `${name}.attention`);
        looked.out.forEach((value, at) => { x[at] += value; });
        const inner = linear(norm(x, rows, `${name}.norm2`), rows, `${name}.network.0`).map(gelu);
        linear(inner, rows, `${name}.network.2`).forEach((value, at) => { x[at] += value; });
        shares.push(looked.shares);
      }
      return { scores: linear(norm(x, rows, "norm").subarray((rows - 1) * width), 1, "embed", "none"), shares };
    }
    function draw(scores, temperature) {
      if (temperature < 0.05) return scores.indexOf(Math.max(...scores));
      let left = Math.random();
      const chances = softmax(Array.from(scores, score => score / temperature));
      return Math.max(chances.findIndex(chance => (left -= chance) < 0), 0);
    }
    return { facts, encode, numbers, forward, draw, longest };
  }

  return { parse };
})();

if (document.querySelector("#pieces")) (async () => {
  const get = id => document.getElementById(id), note = get("note");
  let gpt, parts = [], shares = null, looker = -1;
  const whole = () => Number(get("merges").value) === gpt.facts.merges.length;

  function shade() {
    const [block, head] = get("head").value.split(",").map(Number), grid = shares?.[block][head], canvas = get("grid");
    [...get("pieces").children].forEach((button, at) => {
      button.setAttribute("aria-pressed", at === looker);
      button.style.setProperty("--share", grid && looker >= 0 ? grid[looker + 1]?.[at + 1] ?? 0 : 0);
    });
    if (!grid) return;
    canvas.width = canvas.height = 6 * grid.length;
    const paint = canvas.getContext("2d");
    grid.forEach((row, y) => row.forEach((share, x) => { paint.fillStyle = `rgba(59, 142, 218, ${share})`; paint.fillRect(6 * x, 6 * y, 6, 6); }));
  }
  function read() {
    const used = Number(get("merges").value);
    get("used").value = `${used} of ${gpt.facts.merges.length}`;
    parts = gpt.encode(get("text").value, used);
    const seen = parts.slice(0, gpt.longest - 1);
    looker = seen.length - 1;
    get("pieces").replaceChildren(...seen.map((part, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = part.replace(/^ /, "·");
      button.addEventListener("click", () => { looker = at; shade(); });
      return button;
    }));
    get("looks").hidden = !whole() || !seen.length;
    shares = whole() && seen.length ? gpt.forward([1, ...gpt.numbers(seen)]).shares : null;
    const cut = parts.length > seen.length ? ` The model reads the first ${seen.length} of them.` : "";
    note.textContent = `${parts.length} pieces, ${[...get("text").value].length} letters; · is a blank.${cut} `
      + (whole() ? "Press a piece to see at which pieces it looks." : "The model knows all merges: move the slider to the right to see where it looks.");
    shade();
  }
  async function write() {
    get("write").disabled = true;
    const written = [1, ...gpt.numbers(gpt.encode(get("text").value))], from = written.length;
    for (let count = 0; count < 40; count++) {
      const { scores } = gpt.forward(written.slice(-gpt.longest));
      written.push(gpt.draw(scores, Number(get("temperature").value)));
      get("written").textContent = `… ${written.slice(from).map(id => gpt.facts.vocab[id]).join("")}`;
      await new Promise(later => setTimeout(later));
    }
    get("write").disabled = false;
  }
  try {
    const answer = await fetch("tiny_gpt.safetensors");
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    gpt = reader.parse(await answer.arrayBuffer());
  } catch (error) {
    note.textContent = `The model could not be loaded (${error.message}). Load the page again.`;
    return;
  }
  get("merges").max = gpt.facts.merges.length;
  get("merges").value = gpt.facts.merges.length;
  for (let block = 0; block < gpt.facts.layers; block++) for (let head = 0; head < gpt.facts.heads; head++) {
    get("head").add(new Option(`block ${block + 1}, head ${head + 1}`, `${block},${head}`));
  }
  get("head").value = "1,0";
  get("degree").value = get("temperature").value;
  get("temperature").addEventListener("input", () => { get("degree").value = get("temperature").value; });
  for (const id of ["text", "merges"]) get(id).addEventListener("input", read);
  get("head").addEventListener("change", shade);
  get("write").addEventListener("click", write);
  read();
  document.body.classList.add("ready");
})();
