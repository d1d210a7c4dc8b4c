// What the type checker cannot know: which elements the panel's own HTML has under a selector, that events come from elements, and what
// scripts beside ours define.

interface ParentNode {
  querySelector(selector: string): any;
  querySelectorAll(selector: string): NodeListOf<any>;
}

interface Element {
  closest(selector: string): any;
}

interface Window {
  Plotly?: any; // plotly.js, once it has come
  trustedTypes?: { createPolicy(name: string, rules: { createScriptURL(address: string): string }): any };
}

interface Navigator {
  readonly connection?: { saveData?: boolean; type?: string };
}

/** An event of the page, which comes from an element. */
type PageEvent<E extends Event = Event> = E & { readonly target: HTMLElement };
