// What TypeScript's own declarations lack: of browsers, and of the scope of a service worker, since a page's is declared everywhere.

interface Navigator {
  /** GB; not in every browser */
  readonly deviceMemory?: number;
}

interface GPUAdapter {
  /** before `info` had it */
  readonly isFallbackAdapter?: boolean;
}

interface Window {
  readonly GPUBufferUsage: { readonly STORAGE: number; readonly COPY_SRC: number; readonly COPY_DST: number };
}

interface ServiceWorkerEvent extends Event {
  waitUntil(work: Promise<void>): void;
}

interface RequestEvent extends Event {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

interface ServiceWorkerScope {
  readonly registration: ServiceWorkerRegistration;
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(name: "install" | "activate", listener: (event: ServiceWorkerEvent) => void): void;
  addEventListener(name: "fetch", listener: (event: RequestEvent) => void): void;
}
