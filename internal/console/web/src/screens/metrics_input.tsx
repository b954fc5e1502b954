// The field for PromQL: completes names of metrics and functions, labels within braces and by (…), and values of labels.
import type { TargetedKeyboardEvent } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { get, q } from "../api";
import { promAt } from "../trace/promtext";

interface Item {
  text: string;
  note: string;
  after?: number; // characters from the end at which the cursor stands
}

const functions: [string, string][] = [
  ["rate", "per second, of a counter"],
  ["increase", "growth, of a counter"],
  ["sum", "over series"],
  ["avg", "over series"],
  ["max", "over series"],
  ["min", "over series"],
  ["count", "of series"],
  ["topk", "the largest series"],
  ["histogram_quantile", "of a histogram's buckets"],
  ["avg_over_time", "of a gauge"],
  ["max_over_time", "of a gauge"],
  ["delta", "change of a gauge"],
  ["deriv", "slope of a gauge"],
  ["label_replace", "changes labels"],
  ["clamp_min", "at least"],
];

/** asked keeps the answers about names and labels for as long as the page is there, each for a minute. */
const asked = new Map<string, { at: number; answer: Promise<unknown> }>();

function once<T>(path: string): Promise<T> {
  const had = asked.get(path);
  if (had && Date.now() - had.at < 60_000) return had.answer as Promise<T>;
  const answer = get<T>(path);
  answer.catch(() => asked.delete(path));
  asked.set(path, { at: Date.now(), answer });
  return answer;
}

const api = "/prometheus/api/v1";
const names = async () => (await once<{ data: string[] }>(`${api}/label/__name__/values`)).data;
const help = async () => (await once<{ data: Record<string, { type: string; help: string }[]> }>(`${api}/metadata`).catch(() => ({ data: {} as Record<string, { type: string; help: string }[]> }))).data;

async function itemsAt(text: string, cursor: number): Promise<{ from: number; items: Item[] }> {
  const at = promAt(text, cursor);
  const fits = (s: string) => s.toLowerCase().includes(at.word.toLowerCase());
  const rank = (a: Item, b: Item) => Number(b.text.startsWith(at.word)) - Number(a.text.startsWith(at.word)) || (a.text < b.text ? -1 : 1);
  const match = at.metric ? { "match[]": at.metric } : {};
  if (at.kind === "label") {
    const { data } = await once<{ data: string[] }>(`${api}/labels${q(match)}`);
    return { from: at.from, items: data.filter((l) => l !== "__name__" && fits(l)).map((l) => ({ text: at.by ? l : `${l}=""`, note: "label", after: at.by ? 0 : 1 })).sort(rank) };
  }
  if (at.kind === "value") {
    const { data } = await once<{ data: string[] }>(`${api}/label/${encodeURIComponent(at.label)}/values${q(match)}`);
    return { from: at.from, items: data.filter(fits).map((v) => ({ text: JSON.stringify(v).slice(1, -1), note: at.label })).sort(rank) };
  }
  if (at.kind === "none" || !at.word) return { from: at.from, items: [] };
  const [list, told] = await Promise.all([names(), help()]);
  const metrics: Item[] = list.filter(fits).map((n) => {
    const about = told[n]?.[0] ?? told[n.replace(/_(bucket|count|sum|total)$/, "")]?.[0];
    return { text: n, note: about ? [about.type, about.help].filter(Boolean).join(": ") : "metric" };
  });
  return { from: at.from, items: [...functions.filter(([f]) => f.startsWith(at.word)).map(([f, note]) => ({ text: `${f}()`, note, after: 1 })), ...metrics.sort(rank)] };
}

export function PromInput({ value, onAsk, label }: { value: string; onAsk: (text: string) => void; label: string }) {
  const [text, setText] = useState(value);
  const [found, setFound] = useState<{ from: number; items: Item[] }>({ from: 0, items: [] });
  const [at, setAt] = useState(-1);
  const round = useRef(0);
  const field = useRef<HTMLInputElement>(null);
  const id = useId();
  useEffect(() => setText(value), [value]);
  const close = () => {
    round.current++;
    setFound({ from: 0, items: [] });
    setAt(-1);
  };
  const complete = async (text: string, cursor: number) => {
    const mine = ++round.current;
    const next = await itemsAt(text, cursor).catch(() => ({ from: 0, items: [] }));
    if (mine !== round.current) return;
    setFound({ from: next.from, items: next.items.slice(0, 40) });
    setAt(-1);
  };
  const take = (item: Item) => {
    const el = field.current!;
    const end = el.selectionStart ?? text.length;
    const next = text.slice(0, found.from) + item.text + text.slice(end);
    const cursor = found.from + item.text.length - (item.after ?? 0);
    setText(next);
    el.value = next;
    el.focus();
    el.setSelectionRange(cursor, cursor);
    if (item.after) complete(next, cursor);
    else close();
  };
  const onKey = (e: TargetedKeyboardEvent<HTMLInputElement>) => {
    const { items } = found;
    if ((e.key === "ArrowDown" || e.key === "ArrowUp") && items.length) {
      e.preventDefault();
      setAt((at + (e.key === "ArrowDown" ? 1 : -1) + items.length + 1) % (items.length + 1));
    } else if ((e.key === "Enter" || e.key === "Tab") && items[at]) {
      e.preventDefault();
      take(items[at]);
    } else if (e.key === "Enter") {
      e.preventDefault();
      close();
      onAsk(text);
    } else if (e.key === "Escape" && items.length) {
      e.stopPropagation();
      close();
    }
  };
  return (
    <div class="mt-input">
      <input
        ref={field}
        value={text}
        placeholder="sum by (service) (rate(http_server_request_duration_seconds_count[1m]))"
        spellcheck={false}
        autocomplete="off"
        role="combobox"
        aria-label={label}
        aria-autocomplete="list"
        aria-expanded={found.items.length > 0}
        aria-controls={id}
        aria-activedescendant={at >= 0 ? `${id}-${at}` : undefined}
        onInput={(e) => {
          setText(e.currentTarget.value);
          complete(e.currentTarget.value, e.currentTarget.selectionStart ?? 0);
        }}
        onBlur={() => {
          close();
          if (text.trim() && text.trim() !== value) onAsk(text);
        }}
        onKeyDown={onKey}
      />
      {found.items.length > 0 && (
        <ul class="completions" role="listbox" id={id} aria-label="Completions">
          {found.items.map((c, i) => (
            <li
              key={c.text}
              id={`${id}-${i}`}
              role="option"
              aria-selected={i === at}
              ref={i === at ? (el) => el?.scrollIntoView({ block: "nearest" }) : undefined}
              onMouseDown={(e) => {
                e.preventDefault();
                take(c);
              }}
            >
              <code>{c.text}</code>
              <span class="muted" title={c.note}>{c.note}</span>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
