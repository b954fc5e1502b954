// What was done, said for a moment at the edge of the screen.
import { signal } from "@preact/signals";
import { Problem } from "../api";

interface Notice {
  id: number;
  text: string;
  more?: string;
  bad?: boolean;
}

const notices = signal<Notice[]>([]);
let last = 0;

export function notify(text: string, more?: string, bad = false) {
  const id = ++last;
  notices.value = [...notices.value.slice(-3), { id, text, more, bad }];
  setTimeout(() => (notices.value = notices.value.filter((n) => n.id !== id)), bad ? 12_000 : 5_000);
}

/** act runs something that a person asked for, and says how it went. */
export async function act<T>(does: Promise<T>, done: string | ((result: T) => string)): Promise<T | undefined> {
  try {
    const result = await does;
    notify(typeof done === "string" ? done : done(result));
    return result;
  } catch (e) {
    if (e instanceof Problem) notify(e.detail, e.remedy, true);
    else notify(String(e), undefined, true);
    return undefined;
  }
}

export function Notices() {
  return (
    <div class="notices" role="status" aria-live="polite">
      {notices.value.map((n) => (
        <div key={n.id} class={n.bad ? "bad" : ""}>
          <strong>{n.text}</strong>
          {n.more && <span>{n.more}</span>}
        </div>
      ))}
    </div>
  );
}
