// Where the reader is: all state of a screen stands in the address, so that every view can be linked to.
import { computed, signal } from "@preact/signals";

const here = signal(location.pathname + location.search);

addEventListener("popstate", () => (here.value = location.pathname + location.search));

const mark = computed(() => (here.value + "?").indexOf("?"));

/** path is the path of the address, such as /traces, as it is written there: what lies between two slashes is read by decode. */
export const path = computed(() => here.value.slice(0, mark.value));

/** query is the rest of the address. */
export const query = computed(() => new URLSearchParams(here.value.slice(mark.value + 1)));

/** decode reads a part of a path. One that was not written by encodeURIComponent is taken as it is. */
export function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** go shows another address; replace leaves no step in the history. */
export function go(to: string, replace = false) {
  if (to === here.value) return;
  if (replace) history.replaceState(null, "", to);
  else {
    history.pushState(null, "", to);
    scrollTo(0, 0);
  }
  here.value = to;
}

/** href makes an address; parameters that are empty are left out. The range of time goes along. */
export function href(to: string, params: Record<string, string | number | undefined> = {}): string {
  const all = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) if (value !== undefined && value !== "") all.set(name, String(value));
  const range = query.value.get("t");
  if (range && !all.has("t")) all.set("t", range);
  const text = all.toString();
  return text ? `${to}?${text}` : to;
}

/** set changes parameters of the present address. */
export function set(params: Record<string, string | undefined>, replace = true) {
  const all = new URLSearchParams(query.value);
  for (const [name, value] of Object.entries(params)) {
    if (value === undefined || value === "") all.delete(name);
    else all.set(name, value);
  }
  const text = all.toString();
  go(location.pathname + (text ? `?${text}` : ""), replace);
}

/** param is a parameter of the present address. */
export function param(name: string, otherwise = ""): string {
  return query.value.get(name) ?? otherwise;
}

// A click on a link within the console changes the address without loading the page anew.
addEventListener("click", (e) => {
  if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  const link = (e.target as Element).closest?.("a[href]");
  if (!(link instanceof HTMLAnchorElement) || link.target || link.origin !== location.origin || link.hasAttribute("download")) return;
  e.preventDefault();
  go(link.pathname + link.search);
});
