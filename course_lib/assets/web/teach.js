// Classes of the visitor's own: some pictures of each, and a new head on the features of the network. All of it stays on this device.
import { fitHead, largest, scores } from "./ridge.js";
export const LEAST = 2; // Pictures of a class
export const MOST = 200; // Pictures in all
export const LONGEST = 60; // Characters of a name
// What still has to be done before anything can be learned; nothing where all is well.
export function missing(groups) {
    const names = groups.map(({ name }) => name), filled = groups.filter(({ lessons }) => lessons.length > 0);
    if (filled.length === 0)
        return "Name two classes or more, and give each of them a few pictures.";
    if (groups.length === 1)
        return "One class alone leaves nothing to decide. Add a second one, for example \u201csomething else\u201d.";
    if (names.includes(""))
        return "Give every class a name.";
    const twice = names.find((name, i) => names.indexOf(name) < i);
    if (twice !== undefined)
        return `Two classes are called \u201c${twice}\u201d. Give one of them another name.`;
    const small = groups.find(({ lessons }) => lessons.length < LEAST);
    if (small)
        return `\u201c${small.name}\u201d has ${small.lessons.length || "no"} picture${small.lessons.length === 1 ? "" : "s"}. Two are the least; five that differ are better.`;
    return "";
}
// The class that has this very picture already.
export function holderOf(features, groups) {
    const same = ({ features: theirs }) => theirs.every((value, i) => Math.abs(value - features[i]) <= 1e-5);
    return groups.find(({ lessons }) => lessons.some(same));
}
export class OwnHead {
    head;
    names;
    right;
    count;
    constructor(head, names, right, count) {
        this.head = head;
        this.names = names;
        this.right = right;
        this.count = count;
    }
    static fit(groups) {
        const labels = groups.flatMap(({ lessons }, wanted) => lessons.map(() => wanted));
        const head = fitHead(groups.flatMap(({ lessons }) => lessons.map(({ features }) => features)), labels, groups.length);
        const right = labels.filter((wanted, i) => largest(head.alone[i]) === wanted).length;
        return new OwnHead(head, groups.map(({ name }) => name), right, labels.length);
    }
    judge(features) {
        const found = scores(features, this.head).map((score, i) => ({ label: this.names[i], score }));
        return found.sort((a, b) => b.score - a.score);
    }
}
// Kept between visits: in this browser, for this page, and only when the visitor says so.
const KEY = `own classes ${location.pathname.replace(/index\.html$/, "")}`;
async function bytesOf(blob) { return new Uint8Array(await blob.arrayBuffer()); }
function toText(bytes) { return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join("")); }
function fromText(text) { return Uint8Array.from(atob(text), letter => letter.charCodeAt(0)); }
export async function keep(groups, model) {
    const texts = await Promise.all(groups.map(async ({ name, lessons }) => ({ name, lessons: await Promise.all(lessons.map(async ({ features, thumbnail }) => ({
            features: toText(new Uint8Array(features.buffer, features.byteOffset, features.byteLength)), thumbnail: toText(await bytesOf(thumbnail))
        }))) })));
    localStorage.setItem(KEY, JSON.stringify({ model, groups: texts }));
}
export function forget() { localStorage.removeItem(KEY); }
// What was kept; null where there is nothing. Throws where it was taught to another model, or cannot be read.
export function kept(model) {
    const text = localStorage.getItem(KEY);
    if (text === null)
        return null;
    const found = JSON.parse(text);
    if (found.model !== model)
        throw new Error("it was taught to another version of the model");
    return found.groups.map(({ name, lessons }) => ({
        name: String(name).slice(0, LONGEST),
        lessons: lessons.map(({ features, thumbnail }) => ({
            features: new Float32Array(fromText(features).buffer), thumbnail: new Blob([fromText(thumbnail)], { type: "image/jpeg" })
        })),
    }));
}
