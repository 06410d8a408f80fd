/// <reference lib="dom" />
/**
 * The page: three views behind three addresses, each made when it is first opened.
 *
 * @module
 */

import { byId } from "./dom.ts";
import { threadsAllowed } from "./engine.ts";
import { openAtlas } from "./atlas.ts";
import { openExplorer } from "./explorer.ts";
import { openQuantise } from "./quantise.ts";

/** A view takes its section, and what its address carries when that changes. */
type View = (section: HTMLElement) => { arrive?(state: string): void };

const VIEWS: Record<string, { title: string; open: View; opened?: ReturnType<View> }> = {
  formats: { title: "Number formats", open: openExplorer },
  quantise: { title: "Quantise here", open: openQuantise },
  methods: { title: "Methods", open: openAtlas },
};

function route(): void {
  const [, name = "formats", state = ""] = /^#\/(\w+)(?:\/(.*))?$/.exec(location.hash) ?? [];
  const shown = name in VIEWS ? name : "formats";
  for (const id of Object.keys(VIEWS)) byId(id).hidden = id !== shown;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href") === `#/${shown}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const view = VIEWS[shown];
  document.title = `${view.title} · lowbit`;
  view.opened ??= view.open(byId(shown));
  view.opened.arrive?.(state);
}

const threads = threadsAllowed();
byId("threads").textContent = globalThis.crossOriginIsolated
  ? `Running on ${threads} thread${threads === 1 ? "" : "s"}.`
  : "Running on one thread: this host does not send the headers that shared memory needs " +
    "(Cross-Origin-Opener-Policy and Cross-Origin-Embedder-Policy).";
document.querySelector(".skip")!.addEventListener("click", (event) => {
  event.preventDefault();
  byId("content").focus();
});
addEventListener("hashchange", route);
route();
