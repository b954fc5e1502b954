// Keys that act by themselves. They can be switched off, and are silent while something is typed.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { store, stored } from "./api";

interface Key {
  keys: string; // such as "?", "g t", "ctrl+k"
  what: string;
  run: () => void;
}

const all = new Set<Key>();
let first = ""; // of a pair, for a second

/** single is whether keys act without Ctrl. */
export const single = signal(stored("atoll.keys") !== "off");

export function setSingle(on: boolean) {
  single.value = on;
  store("atoll.keys", on ? null : "off");
}

/** useKeys gives keys a meaning as long as the component is there. */
export function useKeys(keys: [keys: string, what: string, run: () => void][], deps: unknown[] = []) {
  useEffect(() => {
    const mine = keys.map(([keys, what, run]) => ({ keys, what, run }));
    mine.forEach((k) => all.add(k));
    return () => mine.forEach((k) => all.delete(k));
  }, deps);
}

/** known lists the keys that have a meaning now. */
export const known = () => [...all].map(({ keys, what }) => ({ keys, what }));

addEventListener("keydown", (e) => {
  const typing = (e.target as Element).closest?.("input,textarea,select,[contenteditable]");
  const ctrl = e.ctrlKey || e.metaKey;
  if (e.defaultPrevented || e.altKey || (typing && !ctrl) || (!single.value && !ctrl)) return;
  if (!ctrl && document.querySelector("dialog[open]") && e.key !== "Escape") return;
  const name = (ctrl ? "ctrl+" : "") + (e.key.length === 1 ? e.key.toLowerCase() : e.key);
  const pair = first ? `${first} ${name}` : name;
  const hit = [...all].reverse().find((k) => k.keys === pair) ?? [...all].reverse().find((k) => k.keys === name);
  first = "";
  if (hit) {
    e.preventDefault();
    hit.run();
  } else if ([...all].some((k) => k.keys.startsWith(name + " "))) {
    first = name;
    setTimeout(() => (first = ""), 1000);
  }
});
