// What makes the site work without a network from its second visit on, and with threads on a server that sends no headers. Owns the
// page's own files in the browser's cache; the model's are the engine's (assets/browser/engine/download.js). `{version}` is the sum of
// those files, so that another version has another cache. One host may have several sites, each below a path of its own.

const SITE = `greedyscope-page-${new URL(self.registration.scope).pathname}-`;
const NAME = `${SITE}{version}`;
const SHELL = JSON.parse('{shell}');
// A page may only use several threads where it is kept apart from others (cross-origin isolation).
const APART = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
};

self.addEventListener("install", (event) => {
  event.waitUntil(keep());
});

self.addEventListener("activate", (event) => {
  event.waitUntil(takeOver());
});

self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(self.registration.scope)) event.respondWith(answer(event.request));
});

async function keep() {
  const cache = await caches.open(NAME);
  await cache.addAll(SHELL.map((path) => new Request(path, { cache: "no-cache" })));
  await self.skipWaiting();
}

async function takeOver() {
  const left = (await caches.keys()).filter((name) => name.startsWith(SITE) && name !== NAME);
  await Promise.all(left.map((name) => caches.delete(name)));
  await self.clients.claim();
}

async function answer(request) {
  const isPage = request.mode === "navigate" && new URL(request.url).pathname === new URL(self.registration.scope).pathname;
  const cache = await caches.open(NAME);
  // A script of the engine's is kept by it. (What the engine fetches itself it has looked up before.)
  const kept = (await cache.match(isPage ? "index.html" : request)) ?? (request.destination === "" ? undefined : await caches.match(request));
  return apart(kept ?? (await fetch(request)));
}

function apart(response) {
  if (response.type === "opaque" || response.status === 0) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(APART)) headers.set(name, value);
  const body = [204, 205, 304].includes(response.status) ? null : response.body;
  return new Response(body, { status: response.status, statusText: response.statusText, headers });
}
