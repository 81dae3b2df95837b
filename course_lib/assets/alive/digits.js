// Lesson 4's network on a page: a drawing is made like a digit of MNIST, and goes through. No library; one file of weights.
const digits = (() => {
  function parse(buffer) {
    const { facts, tensors } = readWeights(buffer);
    return network(facts, tensors);
  }

  function network({ blocks, size }, tensors) {
    // One block: a convolution with stride 2, its batch norm folded in, and a ReLU
    function block(x, rows, name) {
      const { shape: [out, n, k], values } = tensors[name], bias = tensors[`${name}.bias`].values;
      const pad = k >> 1, less = Math.floor((rows + 2 * pad - k) / 2) + 1, y = new Float32Array(out * less * less);
      for (let to = 0; to < out; to++) for (let row = 0; row < less; row++) for (let column = 0; column < less; column++) {
        let sum = bias[to];
        for (let from = 0; from < n; from++) for (let i = 0; i < k; i++) {
          const at = 2 * row + i - pad;
          if (at < 0 || at >= rows) continue;
          for (let j = 0; j < k; j++) {
            const along = 2 * column + j - pad;
            if (along >= 0 && along < rows) sum += x[(from * rows + at) * rows + along] * values[((to * n + from) * k + i) * k + j];
          }
        }
        y[(to * less + row) * less + column] = Math.max(sum, 0);
      }
      return [y, less];
    }

    // Pixels from 0 (paper) to 1 (ink), row by row: probabilities, and the channels of the first block
    function answer(pixels) {
      let x = pixels, rows = size, first = null;
      for (let number = 0; number < blocks; number++) {
        [x, rows] = block(x, rows, `conv${number}`);
        first ??= { channels: x, rows };
      }
      const { shape: [out, n], values } = tensors.linear, bias = tensors["linear.bias"].values;
      const scores = Array.from({ length: out }, (_, to) => {
        let sum = bias[to];
        for (let at = 0; at < n; at++) sum += x[at] * values[to * n + at];
        return sum;
      });
      const most = Math.max(...scores), parts = scores.map(score => Math.exp(score - most)), total = parts.reduce((a, b) => a + b);
      return { probabilities: parts.map(part => part / total), first };
    }
    return { answer, size };
  }

  // As MNIST was made: the ink fits into 20 by 20 pixels, and its centre of mass is the middle of 28 by 28.
  // `ink` has a number from 0 to 1 for each pixel of a square of `side`; null where there is none.
  function prepare(ink, side, size = 28) {
    let [left, top, right, bottom] = [side, side, -1, -1], total = 0, x = 0, y = 0;
    ink.forEach((value, at) => {
      if (value < 0.1) return;
      const column = at % side, row = Math.floor(at / side);
      left = Math.min(left, column); right = Math.max(right, column); top = Math.min(top, row); bottom = Math.max(bottom, row);
      total += value; x += value * (column + 0.5); y += value * (row + 0.5);
    });
    if (!total) return null;
    const step = Math.max(right - left + 1, bottom - top + 1) / (size - 8), fine = Math.max(Math.ceil(step), 2);
    const pixels = new Float32Array(size * size);
    for (let row = 0; row < size; row++) for (let column = 0; column < size; column++) {
      let sum = 0; // the mean of a grid of points within the pixel
      for (let i = 0; i < fine; i++) for (let j = 0; j < fine; j++) {
        const across = Math.floor(x / total + (column + (j + 0.5) / fine - size / 2) * step);
        const down = Math.floor(y / total + (row + (i + 0.5) / fine - size / 2) * step);
        if (across >= 0 && across < side && down >= 0 && down < side) sum += ink[down * side + across];
      }
      pixels[row * size + column] = sum / (fine * fine);
    }
    return pixels;
  }
  return { parse, prepare };
})();

if (document.querySelector("#paper")) (async () => {
  const get = id => document.getElementById(id), note = get("note"), paper = get("paper"), side = paper.width;
  const pen = paper.getContext("2d", { willReadFrequently: true });
  // Strokes for those who cannot draw: lines through points of a grid of 28 by 28
  const MINE = { 0: "14,5 8,10 8,18 14,23 20,18 20,10 14,5", 1: "11,9 15,5 15,23", 2: "8,9 12,5 18,6 19,11 8,22 20,22", 4: "16,23 16,5 7,17 21,17",
    7: "8,6 20,6 12,23", "7, with a bar": "8,6 20,6 12,23 15,15 10,14 19,14", "A, a letter": "6,23 14,5 22,23 18,16 9,16" };
  let net;

  function paint(canvas, values, rows, most) {
    canvas.width = canvas.height = rows;
    const brush = canvas.getContext("2d"), image = brush.createImageData(rows, rows);
    values.forEach((value, at) => image.data.set([0, 0, 0, 255 * Math.min(value / most, 1)], 4 * at));
    brush.putImageData(image, 0, 0);
  }
  function clear() {
    pen.fillStyle = "white";
    pen.fillRect(0, 0, side, side);
    look();
  }
  function line(points) {
    pen.strokeStyle = "black"; pen.lineWidth = side / 13; pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    points.forEach(([x, y], at) => at ? pen.lineTo(x, y) : pen.moveTo(x, y));
    pen.stroke();
  }
  function look() {
    const { data } = pen.getImageData(0, 0, side, side);
    const ink = Float32Array.from({ length: side * side }, (_, at) => 1 - data[4 * at] / 255);
    const pixels = digits.prepare(ink, side, net.size), { probabilities, first } = net.answer(pixels ?? new Float32Array(net.size ** 2));
    paint(get("seen"), pixels ?? new Float32Array(net.size ** 2), net.size, 1);
    const place = first.rows ** 2, maps = [...document.querySelectorAll("#maps canvas")], most = Math.max(...first.channels, 1e-6);
    maps.forEach((canvas, at) => paint(canvas, pixels ? first.channels.subarray(at * place, (at + 1) * place) : new Float32Array(place), first.rows, most));
    const best = probabilities.indexOf(Math.max(...probabilities));
    get("answers").replaceChildren(...probabilities.map((share, digit) => {
      const item = document.createElement("li"), meter = document.createElement("meter"), words = document.createElement("span");
      meter.value = pixels ? share : 0;
      words.textContent = pixels ? `${(100 * share).toFixed(1)} %` : "";
      item.className = pixels && digit === best ? "best" : "";
      item.append(`${digit} `, meter, words);
      return item;
    }));
    note.textContent = pixels ? `The network reads a ${best}, with ${(100 * probabilities[best]).toFixed(0)} %.` : "Draw a digit on the white paper.";
  }

  try {
    const answer = await fetch("digits.safetensors");
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    net = digits.parse(await answer.arrayBuffer());
  } catch (error) {
    note.textContent = `The model could not be loaded (${error.message}). Load the page again.`;
    return;
  }
  for (let at = 0; at < 8; at++) get("maps").prepend(document.createElement("canvas"));
  for (const name of Object.keys(MINE)) get("mine").add(new Option(name, name));
  let last = null;
  const place = event => [event.offsetX * side / paper.clientWidth, event.offsetY * side / paper.clientHeight];
  paper.addEventListener("pointerdown", event => { paper.setPointerCapture(event.pointerId); last = place(event); line([last, last]); look(); });
  paper.addEventListener("pointermove", event => { if (last) { const here = place(event); line([last, here]); last = here; look(); } });
  for (const end of ["pointerup", "pointercancel"]) paper.addEventListener(end, () => { last = null; });
  get("clear").addEventListener("click", () => { get("mine").value = ""; clear(); });
  get("mine").addEventListener("change", () => {
    clear();
    if (MINE[get("mine").value]) line(MINE[get("mine").value].split(" ").map(point => point.split(",").map(value => value * side / 28)));
    look();
  });
  clear();
  document.body.classList.add("ready");
})();
