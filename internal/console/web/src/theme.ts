// Dark or light: as the reader has chosen, or as the system has it.
import { effect, signal } from "@preact/signals";
import { store, stored } from "./api";

const system = matchMedia("(prefers-color-scheme: dark)");
const chosen = stored("atoll.theme");

export const theme = signal<"dark" | "light">(chosen === "dark" || chosen === "light" ? chosen : system.matches ? "dark" : "light");

system.addEventListener("change", (e) => {
  if (!stored("atoll.theme")) theme.value = e.matches ? "dark" : "light";
});

effect(() => {
  document.documentElement.dataset.theme = theme.value;
});

export function toggleTheme() {
  theme.value = theme.value === "dark" ? "light" : "dark";
  store("atoll.theme", theme.value);
}
