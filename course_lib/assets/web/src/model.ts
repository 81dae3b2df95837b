// The model: fetched, checked, and asked.
import * as ort from "onnxruntime-web";
import type { Votes } from "./look.js";
import type { Preprocess } from "./resize.js";

export interface Bundle {
  format: number;
  title: string;
  vocab: string[];
  preprocess: Preprocess;
  domain: { means: number[][]; scale: number[]; threshold: number; quantile: number } | null;
  versions?: Record<string, string>;
  metrics?: Record<string, unknown>;
  created?: string;
  data?: string;
  licence?: string;
  limits?: string;
  depths?: string[]; // Of a model that gives votes: after which part of the network, for each of its outputs "votes_0", "votes_1" ...
}

export interface Settings {
  runtime: string; // Version of ONNX Runtime Web
  files: Record<string, { bytes: number; sha256: string }>;
  examples: string[];
}

export interface Answer {
  classes: { label: string; probability: number }[]; // Most likely first
  score: number | null; // How far the picture is from the training data
  unlike: boolean;
  features: Float32Array; // What the network's body makes of the picture, for a head of the visitor's own
  votes: Votes[]; // Of each depth, where the model gives them
}

export type Progress = (done: number, total: number) => void;

const RUNTIME_FILE = "onnxruntime-web.wasm";

// The address of a file of this page. Its hash is part of it, so that no cache on the way can hold another version.
export function address(name: string, { files }: Settings): string {
  return `./${name}?${files[name].sha256.slice(0, 12)}`;
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, byte => byte.toString(16).padStart(2, "0")).join("");
}

// What the browser is to check by itself where this page may not compute hashes: at addresses that are neither https nor this machine.
function integrity(hexadecimal: string): RequestInit {
  if (globalThis.isSecureContext) return {};
  const bytes = hexadecimal.match(/../g)!.map(pair => parseInt(pair, 16));
  return { integrity: `sha256-${btoa(String.fromCharCode(...bytes))}` };
}

async function* chunks(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
}

// The bytes of one file, proven to be the ones that this page was built with.
async function load(name: string, settings: Settings, tell: (bytes: number) => void): Promise<Uint8Array<ArrayBuffer>> {
  const wanted = settings.files[name];
  const response = await fetch(address(name, settings), integrity(wanted.sha256));
  if (!response.ok || !response.body) throw new Error(`${name} could not be fetched: the server answered ${response.status}.`);
  const bytes = new Uint8Array(wanted.bytes);
  let at = 0;
  for await (const chunk of chunks(response.body)) {
    if (at + chunk.length > bytes.length) throw new Error(`${name} is longer than the ${bytes.length} bytes it should have.`);
    bytes.set(chunk, at);
    at += chunk.length;
    tell(chunk.length);
  }
  if (at < bytes.length) throw new Error(`${name} ended after ${at} of ${bytes.length} bytes. Load the page again; if that does not help, the host serves another file (see README.md).`);
  if (globalThis.isSecureContext && await sha256(bytes) !== wanted.sha256) throw new Error(`${name} is not the file that this page was built with.`);
  return bytes;
}

// How far the features of a picture are from those of the nearest class, in units of their usual spread.
export function domainScore(features: ArrayLike<number>, { means, scale }: NonNullable<Bundle["domain"]>): number {
  const distance = (mean: number[]) => Math.sqrt(mean.reduce((sum, value, i) => sum + ((features[i] - value) / scale[i]) ** 2, 0) / mean.length);
  return Math.min(...means.map(distance));
}

// Numbers from 0 to 1, all red ones first, then green, then blue.
export function planes(rgb: Uint8Array): Float32Array {
  const size = rgb.length / 3, values = new Float32Array(rgb.length);
  for (let i = 0; i < size; i++) for (let colour = 0; colour < 3; colour++) values[colour * size + i] = rgb[3 * i + colour] / 255;
  return values;
}

export class Classifier {
  private constructor(readonly bundle: Bundle, private readonly session: ort.InferenceSession) {}

  static async load(settings: Settings, progress: Progress): Promise<Classifier> {
    const names = ["bundle.json", "model.onnx", RUNTIME_FILE];
    const total = names.reduce((sum, name) => sum + settings.files[name].bytes, 0);
    let done = 0;
    const tell = (bytes: number) => progress(done += bytes, total);
    const [description, model, runtime] = await Promise.all(names.map(name => load(name, settings, tell)));
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = runtime.buffer;
    const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    return new Classifier(JSON.parse(new TextDecoder().decode(description)), session);
  }

  async classify(rgb: Uint8Array): Promise<Answer> {
    const { vocab, domain, preprocess } = this.bundle;
    const output = await this.session.run({ pixels: new ort.Tensor("float32", planes(rgb), [1, 3, ...preprocess.size]) });
    const probabilities = output.probabilities.data;
    const classes = vocab.map((label, i) => ({ label, probability: probabilities[i] })).sort((a, b) => b.probability - a.probability);
    const score = domain && domainScore(output.features.data, domain);
    const features = Float32Array.from((output.body ?? output.features).data); // Older bundles have only the features before the last layer
    const votes = (this.bundle.depths ?? []).map((depth, i) => {
      const { dims: [, , rows, columns], data } = output[`votes_${i}`];
      return { depth, rows, columns, values: Float32Array.from(data) };
    });
    return { classes, score, unlike: domain !== null && score !== null && score > domain.threshold, features, votes };
  }
}
