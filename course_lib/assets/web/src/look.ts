// Where the network looked: how each place of the picture votes for a class, drawn over the picture.
import { copyOf, find } from "./page.js";

// Of one depth of the network: a vote for each class at each place, class after class, row after row.
export interface Votes { depth: string; rows: number; columns: number; values: Float32Array }

const LEAST = [13, 8, 135], MIDDLE = [204, 71, 120], MOST = [240, 249, 33]; // The ramp of matplotlib's `plasma`, with three stops
const OPAQUE = 0.6 * 255;

const between = (from: number[], to: number[], part: number) => from.map((value, i) => value + (to[i] - value) * part);

function colourOf(part: number): number[] {
  return part < 0.5 ? between(LEAST, MIDDLE, 2 * part) : between(MIDDLE, MOST, 2 * part - 1);
}

export function gridOf({ rows, columns, values }: Votes, kind: number): Float32Array {
  return values.subarray(kind * rows * columns, (kind + 1) * rows * columns);
}

const mean = (values: Float32Array) => values.reduce((sum, value) => sum + value, 0) / values.length;

// The class with the largest mean: what the network would say if it ended at this depth.
export function saidBy(votes: Votes): number {
  const scores = Array.from({ length: votes.values.length / (votes.rows * votes.columns) }, (_, kind) => mean(gridOf(votes, kind)));
  return scores.indexOf(Math.max(...scores));
}

function layerOf(grid: Float32Array, { rows, columns }: Votes): HTMLCanvasElement {
  const canvas = document.createElement("canvas"), pixels = new ImageData(columns, rows);
  const least = Math.min(...grid), range = Math.max(...grid) - least || 1;
  [canvas.width, canvas.height] = [columns, rows];
  grid.forEach((vote, i) => pixels.data.set([...colourOf((vote - least) / range), OPAQUE], 4 * i));
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
  return canvas;
}

function placeOf(grid: Float32Array, { rows, columns }: Votes): string {
  const at = grid.indexOf(Math.max(...grid));
  return `row ${Math.floor(at / columns) + 1} of ${rows}, column ${at % columns + 1} of ${columns}`;
}

function choices(select: HTMLSelectElement, names: string[], chosen: number) {
  names.forEach((name, i) => select.add(new Option(name, String(i), false, i === chosen)));
}

// The picture as the model was shown it, with the votes for a class at a depth; the visitor chooses both.
export function lookAt(photo: HTMLCanvasElement, depths: Votes[], vocab: string[], likely: string[]): HTMLElement {
  const look = copyOf("#look"), canvas = find<HTMLCanvasElement>("canvas", look), context = canvas.getContext("2d")!;
  const kind = find<HTMLSelectElement>(".kind", look), depth = find<HTMLSelectElement>(".depth", look);
  [canvas.width, canvas.height] = [photo.width, photo.height];
  choices(kind, likely, 0);
  choices(depth, depths.map(votes => votes.depth), depths.length - 1);
  const draw = () => {
    const votes = depths[depth.selectedIndex], name = likely[kind.selectedIndex], grid = gridOf(votes, vocab.indexOf(name));
    context.drawImage(photo, 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(layerOf(grid, votes), 0, 0, canvas.width, canvas.height);
    canvas.setAttribute("aria-label", `Votes for ${name}: the strongest are in ${placeOf(grid, votes)}`);
    find(".said", look).textContent = `If the network ended there, it would say: ${vocab[saidBy(votes)]}.`;
  };
  look.addEventListener("change", draw);
  draw();
  return look;
}
