// What the type checker cannot know: which elements the panel's own HTML has under a selector, that events come from elements, and what
// scripts beside ours define.

interface ParentNode {
  querySelector(selector: string): any;
  querySelectorAll(selector: string): NodeListOf<any>;
}

interface Element {
  closest(selector: string): any;
}

/** An event that an element of the page hears. */
type PageEvent<E extends Event = Event, T extends Element = Element> = E & { readonly target: T };

interface HTMLElement {
  addEventListener<K extends keyof HTMLElementEventMap>(name: K, listener: (event: PageEvent<HTMLElementEventMap[K]>) => void, options?: AddEventListenerOptions): void;
  addEventListener(name: string, listener: (event: PageEvent) => void, options?: AddEventListenerOptions): void;
}

interface Document {
  addEventListener<K extends "click" | "keydown">(name: K, listener: (event: PageEvent<DocumentEventMap[K]>) => void, options?: AddEventListenerOptions): void;
  removeEventListener<K extends "click" | "keydown">(name: K, listener: (event: PageEvent<DocumentEventMap[K]>) => void, options?: EventListenerOptions): void;
}

/** A table of the panel's HTML has a head. */
type HeadedTable = HTMLTableElement & { readonly tHead: HTMLTableSectionElement };

/** An element that keeps what it shows, and in which language, so that the same is not drawn again. */
type Showing<T> = HTMLElement & { drawn?: T | null; language?: string };

interface Window {
  Plotly?: any; // plotly.js, once it has come
}

interface Navigator {
  readonly connection?: { saveData?: boolean; type?: string };
}
