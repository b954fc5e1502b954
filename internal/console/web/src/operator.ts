// Who acts, as the history is to have it. Atoll does not know the people at this browser, so they say it themselves.
import { signal } from "@preact/signals";
import { store, stored } from "./api";

const key = "atoll.operator";

export const operator = signal(stored(key) || "console");

export function setOperator(name: string) {
  operator.value = name.trim() || "console";
  store(key, name.trim() || null);
}
