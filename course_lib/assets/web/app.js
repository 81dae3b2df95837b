// The page: pictures come in by file, drop, paste, camera or example; answers go out as cards, newest first.
import { cameraThere, explain, photograph } from "./camera.js";
import { address, Classifier } from "./model.js";
import { BadPicture, decode } from "./picture.js";
import { resizePicture } from "./resize.js";
const BARS = 5;
const THUMBNAIL = 640;
const METHODS = { crop: "cut to their middle", squish: "squeezed into shape", pad: "given a border" };
function find(selector, within = document) {
    const found = within.querySelector(selector);
    if (!found)
        throw new Error(`The page has no ${selector}`);
    return found;
}
function copyOf(template) {
    return find(template).content.firstElementChild.cloneNode(true);
}
function percent(part) {
    if (part > 0.9995)
        return "> 99.9 %";
    if (part < 0.0005)
        return "< 0.1 %";
    return `${(100 * part).toFixed(1)} %`;
}
function plain(value) {
    return typeof value === "number" ? String(Number(value.toPrecision(4))) : typeof value === "string" ? value : JSON.stringify(value);
}
const settings = JSON.parse(find("#settings").textContent);
const news = find("#news"), results = find("#results");
function show(card, words) {
    results.prepend(card);
    card.scrollIntoView({ block: "nearest" });
    news.textContent = words;
}
function showProblem(name, words) {
    const card = copyOf("#problem");
    find("h3", card).textContent = name;
    find("p", card).textContent = words;
    show(card, "");
}
// Answers
function barFor({ label, probability }) {
    const bar = copyOf("#bar"), value = find("data", bar);
    find(".label", bar).textContent = label;
    value.value = String(probability);
    value.textContent = percent(probability);
    find(".bar > span", bar).style.width = `${100 * probability}%`;
    return bar;
}
function shownTo(rgb, { size: [height, width] }) {
    const canvas = document.createElement("canvas"), pixels = new ImageData(width, height);
    [canvas.width, canvas.height] = [width, height];
    for (let i = 0; i < width * height; i++)
        pixels.data.set([rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 255], 4 * i);
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas;
}
function described(canvas, words) {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", words);
    return canvas;
}
function showAnswer(name, picture, rgb, answer, { preprocess, domain }, seconds) {
    const card = copyOf("#answer"), [best] = answer.classes, note = find(".note", card);
    find("figure", card).append(described(picture.thumbnail(THUMBNAIL), name));
    find("h3", card).textContent = best.label;
    find(".facts", card).textContent = `${name} · ${picture.width} × ${picture.height} · ${seconds.toFixed(2)} s`;
    if (answer.unlike && domain && answer.score !== null) {
        note.textContent = "This picture is unlike those the model learned from. Its answer may mean nothing. " +
            `(Distance ${answer.score.toFixed(2)}; of theirs, ${Math.round(100 * domain.quantile)} % stay below ${domain.threshold.toFixed(2)}.)`;
        note.hidden = false;
    }
    find("ol", card).append(...answer.classes.slice(0, BARS).map(barFor));
    find(".shown", card).append(described(shownTo(rgb, preprocess), `${name}, as the model was shown it`));
    show(card, `${name}: ${best.label}, ${percent(best.probability)}. ${note.textContent}`);
}
async function classify(file, name, classifier) {
    const start = performance.now(), { bundle } = classifier;
    const picture = await decode(file, bundle.preprocess);
    try {
        const rgb = resizePicture(picture, bundle.preprocess);
        const answer = await classifier.classify(rgb);
        showAnswer(name, picture, rgb, answer, bundle, (performance.now() - start) / 1000);
        performance.mark("answered");
    }
    finally {
        picture.close();
    }
}
// One picture after the other; those that come while the model is still loading wait for it.
let waiting = Promise.resolve();
function take(file, name, ready) {
    waiting = waiting.then(async () => {
        try {
            await classify(file, name, await ready);
        }
        catch (error) {
            showProblem(name, error instanceof BadPicture ? error.message : `The picture could not be classified: ${error.message}`);
        }
        await new Promise(painted => setTimeout(painted));
    });
}
function takeAll(files, ready) {
    const given = [...files ?? []];
    given.forEach(file => take(file, file.name || "Picture", ready));
    return given.length > 0;
}
// Ways in
function listenToInputs(ready) {
    for (const input of document.querySelectorAll("input[type=file]")) {
        input.addEventListener("change", () => { takeAll(input.files, ready); input.value = ""; });
    }
    document.addEventListener("paste", event => {
        if (!takeAll(event.clipboardData?.files, ready))
            showProblem("Nothing to classify", "What you pasted is no picture. Copy a picture, not its address, and paste again.");
    });
}
function listenToDrops(ready) {
    const body = document.body;
    document.addEventListener("dragover", event => { event.preventDefault(); body.classList.add("over"); });
    document.addEventListener("dragleave", event => { if (!event.relatedTarget)
        body.classList.remove("over"); });
    document.addEventListener("drop", event => {
        event.preventDefault();
        body.classList.remove("over");
        if (!takeAll(event.dataTransfer?.files, ready))
            showProblem("Nothing to classify", "What you dropped is no file. Save the picture first, then drop the file.");
    });
}
function offerCamera(ready) {
    const button = find("#camera"), onPhone = matchMedia("(pointer: coarse)").matches;
    button.hidden = !onPhone && !cameraThere();
    button.addEventListener("click", async () => {
        if (onPhone)
            return find("#capture").click();
        try {
            const photo = await photograph(find("#photo"));
            if (photo)
                take(photo, "Photo", ready);
        }
        catch (error) {
            showProblem("No photo", explain(error));
        }
    });
}
function offerExamples(ready) {
    find("#examples").hidden = settings.examples.length === 0;
    settings.examples.forEach((name, i) => {
        const button = document.createElement("button"), image = new Image();
        image.src = address(name, settings);
        image.alt = `Example ${i + 1}`;
        button.type = "button";
        button.append(image);
        button.addEventListener("click", async () => {
            try {
                take(await (await fetch(image.src)).blob(), image.alt, ready);
            }
            catch {
                showProblem(image.alt, "The example could not be fetched. Is there a network?");
            }
        });
        find("#examples .row").append(button);
    });
}
// What the visitor is told about the page and the model
function showProgress(done, total) {
    const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(1);
    find("#loading progress").value = done / total;
    find("#loading-text").textContent = done < total ? `Loading the model: ${mebibytes(done)} of ${mebibytes(total)} MiB` : "Starting the model…";
}
function describe({ vocab, preprocess, metrics, versions, created }) {
    const [height, width] = preprocess.size, about = find("#about");
    const facts = [
        [`${vocab.length} classes`, vocab.join(", ")],
        ["Pictures", `are turned upright, put on a plain background, ${METHODS[preprocess.method]} and made ${width} × ${height} pixels.`],
        ...Object.entries(metrics ?? {}).map(([name, value]) => [name.replaceAll("_", " "), plain(value)]),
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
    if (!("serviceWorker" in navigator))
        return;
    await navigator.serviceWorker.register("./sw.js");
    await navigator.serviceWorker.ready;
    find("#offline").hidden = false;
}
function offerInstall() {
    const button = find("#install");
    window.addEventListener("beforeinstallprompt", event => {
        event.preventDefault();
        button.hidden = false;
        button.onclick = () => { button.hidden = true; event.prompt(); };
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
    const loading = find("#loading");
    try {
        describe((await ready).bundle);
    }
    catch (error) {
        find("progress", loading).remove();
        loading.classList.add("problem");
        find("#loading-text").textContent = `The model could not be loaded. ${error.message}`;
        return;
    }
    loading.hidden = true;
    document.body.classList.add("ready");
    performance.mark("ready");
    await workOffline();
}
await start();
