// The service worker: after the first visit the page needs no network. What was built writes `APP` in front of this.
declare const APP: { version: string; files: Record<string, { bytes: number; sha256: string }> };

const worker = self as unknown as ServiceWorkerGlobalScope;
const PREFIX = `classify ${worker.registration.scope} `; // Pages of one host share their caches
const CACHE = PREFIX + APP.version;

// The page is asked for as its folder: some hosts answer "index.html" with a redirection, which cannot be stored.
function address(name: string): string { return new URL(name === "index.html" ? "./" : name, worker.registration.scope).href; }

// The browser itself compares what arrives with the hash.
function checked(name: string): Request {
  const { sha256 } = APP.files[name], bytes = sha256.match(/../g)!.map(pair => parseInt(pair, 16));
  return new Request(`${address(name)}?${sha256.slice(0, 12)}`, { integrity: `sha256-${btoa(String.fromCharCode(...bytes))}` });
}

async function store(): Promise<void> {
  const cache = await caches.open(CACHE);
  await Promise.all(Object.keys(APP.files).map(async name => {
    const response = await fetch(checked(name));
    if (!response.ok) throw new Error(`${name}: the server answered ${response.status}`);
    await cache.put(address(name), response);
  }));
  await worker.skipWaiting();
}

async function forgetOthers(): Promise<void> {
  const others = (await caches.keys()).filter(name => name.startsWith(PREFIX) && name !== CACHE);
  await Promise.all(others.map(name => caches.delete(name)));
  await worker.clients.claim();
}

async function answer(request: Request): Promise<Response> {
  const wanted = request.url.replace(/index\.html(?=[?#]|$)/, "");
  return await caches.match(wanted, { cacheName: CACHE, ignoreSearch: true }) ?? fetch(request);
}

worker.addEventListener("install", event => event.waitUntil(store()));
worker.addEventListener("activate", event => event.waitUntil(forgetOthers()));
worker.addEventListener("fetch", event => {
  const { request } = event;
  if (request.method === "GET" && request.url.startsWith(worker.registration.scope)) event.respondWith(answer(request));
});
