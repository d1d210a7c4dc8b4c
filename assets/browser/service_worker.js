// What makes the site work without a network from its second visit on, and with threads on a server that sends no headers. Owns the
// page's own files in the browser's cache; the model's are the engine's (assets/browser/engine/download.js). `{version}` is the sum of
// those files, so that another version has another cache. One host may have several sites, each below a path of its own.

const worker = /** @type {ServiceWorkerScope} */ (/** @type {*} */ (self));
const SITE = `greedyscope-page-${new URL(worker.registration.scope).pathname}-`;
const NAME = `${SITE}{version}`;
/** @type {string[]} */
const SHELL = JSON.parse('{shell}');
// A page may only use several threads where it is kept apart from others (cross-origin isolation).
const ISOLATION = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
};

worker.addEventListener("install", (event) => {
  event.waitUntil(install());
});

worker.addEventListener("activate", (event) => {
  event.waitUntil(activate());
});

worker.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(worker.registration.scope)) event.respondWith(answer(event.request));
});

async function install() {
  const cache = await caches.open(NAME);
  await cache.addAll(SHELL.map((path) => new Request(path, { cache: "no-cache" })));
  await worker.skipWaiting();
}

async function activate() {
  const left = (await caches.keys()).filter((name) => name.startsWith(SITE) && name !== NAME);
  await Promise.all(left.map((name) => caches.delete(name)));
  await worker.clients.claim();
}

/**
 * @param {Request} request
 * @returns {Promise<Response>}
 */
async function answer(request) {
  const isPage = request.mode === "navigate" && new URL(request.url).pathname === new URL(worker.registration.scope).pathname;
  const cache = await caches.open(NAME);
  // A script of the engine's is kept by it. (What the engine fetches itself it has looked up before.)
  const kept = (await cache.match(isPage ? "index.html" : request)) ?? (request.destination === "" ? undefined : await caches.match(request));
  return withIsolationHeaders(kept ?? (await fetch(request)));
}

/**
 * @param {Response} response
 * @returns {Response}
 */
function withIsolationHeaders(response) {
  if (response.type === "opaque" || response.status === 0) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  const body = [204, 205, 304].includes(response.status) ? null : response.body;
  return new Response(body, { status: response.status, statusText: response.statusText, headers });
}
