// The page: pictures come in by file, drop, paste, camera or example; answers go out as cards, newest first.
import { cameraThere, explain, photograph } from "./camera.js";
import { lookAt } from "./look.js";
import { address, Classifier } from "./model.js";
import type { Answer, Bundle, Settings } from "./model.js";
import { OwnClasses } from "./own.js";
import { copyOf, find } from "./page.js";
import { BadPicture, decode } from "./picture.js";
import type { Decoded } from "./picture.js";
import { resizePicture } from "./resize.js";
import type { Preprocess } from "./resize.js";
import type { Lesson, Scored } from "./teach.js";

const BARS = 5;
const THUMBNAIL = 640;
const SMALL = 128; // Pixels of a picture that teaches, as it is shown and kept
const CLOSE = 0.2; // Scores that differ by less decide little
const METHODS = { crop: "cut to their middle", squish: "squeezed into shape", pad: "given a border" };

function percent(part: number): string {
  if (part > 0.9995) return "> 99.9 %";
  if (part < 0.0005) return "< 0.1 %";
  return `${(100 * part).toFixed(1)} %`;
}

function plain(value: unknown): string {
  return typeof value === "number" ? String(Number(value.toPrecision(4))) : typeof value === "string" ? value : JSON.stringify(value);
}

const settings: Settings = JSON.parse(find("#settings").textContent!);
const news = find("#news"), results = find("#results");

function show(card: HTMLElement, words: string) {
  results.prepend(card);
  card.scrollIntoView({ block: "nearest" });
  news.textContent = words;
}

function showProblem(name: string, words: string) {
  const card = copyOf("#problem");
  find("h3", card).textContent = name;
  find("p", card).textContent = words;
  show(card, "");
}

// Answers

function barOf(label: string, number: number, words: string): HTMLElement {
  const bar = copyOf("#bar"), value = find<HTMLDataElement>("data", bar);
  find(".label", bar).textContent = label;
  value.value = String(number);
  value.textContent = words;
  find<HTMLElement>(".bar > span", bar).style.width = `${100 * Math.min(Math.max(number, 0), 1)}%`;
  return bar;
}

function barFor({ label, probability }: Answer["classes"][number]): HTMLElement { return barOf(label, probability, percent(probability)); }

function shownTo(rgb: Uint8Array, { size: [height, width] }: Preprocess): HTMLCanvasElement {
  const canvas = document.createElement("canvas"), pixels = new ImageData(width, height);
  [canvas.width, canvas.height] = [width, height];
  for (let i = 0; i < width * height; i++) pixels.data.set([rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 255], 4 * i);
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
  return canvas;
}

function described(canvas: HTMLCanvasElement, words: string): HTMLCanvasElement {
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", words);
  return canvas;
}

interface Seen { name: string; picture: Decoded; rgb: Uint8Array; seconds: number }

function cardFor({ name, picture, rgb, seconds }: Seen, label: string, bars: HTMLElement[], { preprocess }: Bundle): HTMLElement {
  const card = copyOf("#answer");
  find("figure", card).append(described(picture.thumbnail(THUMBNAIL), name));
  find("h3", card).textContent = label;
  find(".facts", card).textContent = `${name} · ${picture.width} × ${picture.height} · ${seconds.toFixed(2)} s`;
  find("ol", card).append(...bars);
  find(".shown", card).append(described(shownTo(rgb, preprocess), `${name}, as the model was shown it`));
  return card;
}

function remark(card: HTMLElement, words: string) {
  const note = find<HTMLElement>(".note", card);
  note.textContent = words;
  note.hidden = words === "";
}

function showAnswer(seen: Seen, answer: Answer, bundle: Bundle) {
  const { domain } = bundle, [best] = answer.classes, card = cardFor(seen, best.label, answer.classes.slice(0, BARS).map(barFor), bundle);
  const words = answer.unlike && domain && answer.score !== null
    ? "This picture is unlike those the model learned from. Its answer may mean nothing. " +
      `(Distance ${answer.score.toFixed(2)}; of theirs, ${Math.round(100 * domain.quantile)} % stay below ${domain.threshold.toFixed(2)}.)`
    : "";
  if (answer.votes.length > 0) find("figure", card).replaceChildren(lookAt(shownTo(seen.rgb, bundle.preprocess), answer.votes, bundle.vocab, answer.classes.slice(0, BARS).map(({ label }) => label)));
  remark(card, words);
  show(card, `${seen.name}: ${best.label}, ${percent(best.probability)}. ${words}`);
}

function showScores(seen: Seen, found: Scored[], bundle: Bundle) {
  const [best, second] = found, words = best.score - second.score < CLOSE ? "The first two are close: it could be either. More pictures of both would help." : "";
  const card = cardFor(seen, best.label, found.slice(0, BARS).map(({ label, score }) => barOf(label, score, score.toFixed(2))), bundle);
  find(".facts", card).textContent += " · your own classes";
  remark(card, words);
  show(card, `${seen.name}: ${best.label}, score ${best.score.toFixed(2)}. ${words}`);
}

async function classify(file: Blob, name: string, classifier: Classifier) {
  const start = performance.now(), { bundle } = classifier;
  const picture = await decode(file, bundle.preprocess);
  try {
    const rgb = resizePicture(picture, bundle.preprocess), answer = await classifier.classify(rgb);
    const seen = { name, picture, rgb, seconds: (performance.now() - start) / 1000 }, own = ownClasses?.judge(answer.features);
    if (own) showScores(seen, own, bundle);
    else showAnswer(seen, answer, bundle);
    performance.mark("answered");
  } finally { picture.close(); }
}

let ownClasses: OwnClasses | null = null; // Once the model is there

async function lessonFrom(file: Blob, classifier: Classifier): Promise<Lesson> {
  const { bundle } = classifier, picture = await decode(file, bundle.preprocess);
  try {
    const { features } = await classifier.classify(resizePicture(picture, bundle.preprocess)), canvas = picture.thumbnail(SMALL);
    const thumbnail = await new Promise<Blob>((done, failed) => canvas.toBlob(blob => blob ? done(blob) : failed(new Error("no picture came")), "image/jpeg", 0.8));
    return { features, thumbnail };
  } finally { picture.close(); }
}

// One picture after the other; those that come while the model is still loading wait for it.

let waiting: Promise<unknown> = Promise.resolve();

function inTurn<Result>(job: () => Promise<Result>): Promise<Result> {
  const done = waiting.then(job);
  waiting = done.catch(() => {}).then(() => new Promise(painted => setTimeout(painted)));
  return done;
}

function take(file: Blob, name: string, ready: Promise<Classifier>) {
  inTurn(async () => {
    try { await classify(file, name, await ready); }
    catch (error) { showProblem(name, error instanceof BadPicture ? error.message : `The picture could not be classified: ${(error as Error).message}`); }
  });
}

function takeAll(files: Iterable<File> | null | undefined, ready: Promise<Classifier>): boolean {
  const given = [...files ?? []];
  given.forEach(file => take(file, file.name || "Picture", ready));
  return given.length > 0;
}

// Ways in

function listenToInputs(ready: Promise<Classifier>) {
  for (const input of document.querySelectorAll<HTMLInputElement>("input[type=file]")) {
    input.addEventListener("change", () => { takeAll(input.files, ready); input.value = ""; });
  }
  document.addEventListener("paste", event => {
    if (!takeAll(event.clipboardData?.files, ready)) showProblem("Nothing to classify", "What you pasted is no picture. Copy a picture, not its address, and paste again.");
  });
}

function listenToDrops(ready: Promise<Classifier>) {
  const body = document.body;
  document.addEventListener("dragover", event => { event.preventDefault(); body.classList.add("over"); });
  document.addEventListener("dragleave", event => { if (!event.relatedTarget) body.classList.remove("over"); });
  document.addEventListener("drop", event => {
    event.preventDefault();
    body.classList.remove("over");
    if (!takeAll(event.dataTransfer?.files, ready)) showProblem("Nothing to classify", "What you dropped is no file. Save the picture first, then drop the file.");
  });
}

function offerCamera(ready: Promise<Classifier>) {
  const button = find<HTMLButtonElement>("#camera"), onPhone = matchMedia("(pointer: coarse)").matches;
  button.hidden = !onPhone && !cameraThere();
  button.addEventListener("click", async () => {
    if (onPhone) return find<HTMLInputElement>("#capture").click();
    try {
      const photo = await photograph(find("#photo"));
      if (photo) take(photo, "Photo", ready);
    } catch (error) { showProblem("No photo", explain(error)); }
  });
}

function offerExamples(ready: Promise<Classifier>) {
  find<HTMLElement>("#examples").hidden = settings.examples.length === 0;
  settings.examples.forEach((name, i) => {
    const button = document.createElement("button"), image = new Image();
    image.src = address(name, settings);
    image.alt = `Example ${i + 1}`;
    button.type = "button";
    button.append(image);
    button.addEventListener("click", async () => {
      try { take(await (await fetch(image.src)).blob(), image.alt, ready); }
      catch { showProblem(image.alt, "The example could not be fetched. Is there a network?"); }
    });
    find("#examples .row").append(button);
  });
}

// What the visitor is told about the page and the model

function showProgress(done: number, total: number) {
  const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
  find<HTMLProgressElement>("#loading progress").value = done / total;
  find("#loading-text").textContent = done < total ? `Loading the model: ${mebibytes(done)} of ${mebibytes(total)} MiB` : "Starting the model…";
}

function describe({ vocab, preprocess, metrics, versions, created, data, licence, limits }: Bundle) {
  const [height, width] = preprocess.size, about = find("#about");
  const facts: [string, string][] = [
    [`${vocab.length} classes`, vocab.join(", ")],
    ["Pictures", `are turned upright, put on a plain background, ${METHODS[preprocess.method]} and made ${width} × ${height} pixels.`],
    ...Object.entries({ "Trained on": data, Licence: licence, "What it cannot do": limits }).filter((fact): fact is [string, string] => Boolean(fact[1])),
    ...Object.entries(metrics ?? {}).map(([name, value]): [string, string] => [name.replaceAll("_", " "), plain(value)]),
    ["Made", [created, ...Object.entries(versions ?? {}).map(([name, version]) => `${name} ${version}`), `ONNX Runtime Web ${settings.runtime}`].filter(Boolean).join(", ")],
  ];
  for (const [term, words] of facts) {
    const name = document.createElement("dt"), description = document.createElement("dd");
    name.textContent = term;
    description.textContent = words;
    about.append(name, description);
  }
}

async function workOffline() {
  if (!("serviceWorker" in navigator)) return;
  await navigator.serviceWorker.register("./sw.js");
  await navigator.serviceWorker.ready;
  find<HTMLElement>("#offline").hidden = false;
}

function offerInstall() {
  const button = find<HTMLButtonElement>("#install");
  window.addEventListener("beforeinstallprompt", event => {
    event.preventDefault();
    button.hidden = false;
    button.onclick = () => { button.hidden = true; (event as Event & { prompt(): void }).prompt(); };
  });
}

async function start() {
  find("#stuck").remove();
  const ready = Classifier.load(settings, showProgress);
  listenToInputs(ready);
  listenToDrops(ready);
  offerCamera(ready);
  offerExamples(ready);
  offerInstall();
  const loading = find<HTMLElement>("#loading");
  try { describe((await ready).bundle); }
  catch (error) {
    find("progress", loading).remove();
    loading.classList.add("problem");
    find("#loading-text").textContent = `The model could not be loaded. ${(error as Error).message}`;
    return;
  }
  const classifier = await ready;
  ownClasses = new OwnClasses(file => inTurn(() => lessonFrom(file, classifier)), settings.files["model.onnx"].sha256);
  loading.hidden = true;
  document.body.classList.add("ready");
  performance.mark("ready");
  await workOffline();
}

await start();
