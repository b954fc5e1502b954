// The field for a query, with what may stand at the cursor below it, and errors at their column.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { get, q, type Problem } from "../api";
import type { Completion } from "../types";
import { useKeys } from "../keys";

interface Props {
  signal: "traces" | "logs";
  value: string;
  onAsk: (text: string) => void;
  error?: Problem;
  placeholder: string;
}

export function Query({ signal, value, onAsk, error, placeholder }: Props) {
  const [text, setText] = useState(value);
  const [list, setList] = useState<Completion[]>([]);
  const [at, setAt] = useState(-1);
  const input = useRef<HTMLInputElement>(null);
  const shown = useRef<Completion[]>([]);
  const asking = useRef<AbortController | undefined>(undefined);
  const id = useId();
  useEffect(() => setText(value), [value]);
  useKeys([["/", "Search", () => input.current?.focus()]]);

  const complete = async (text: string, cursor: number) => {
    asking.current?.abort();
    const mine = (asking.current = new AbortController());
    try {
      const found = await get<{ completions: Completion[] }>("/v1/complete" + q({ signal, text, cursor }), mine.signal);
      const fresh = found.completions.slice(0, 12);
      // What was chosen stays chosen when an answer comes late and has it in the same place.
      setAt((at) => (at >= 0 && fresh[at]?.text === shown.current[at]?.text ? at : -1));
      shown.current = fresh;
      setList(fresh);
    } catch {
      if (!mine.signal.aborted) setList([]);
    }
  };
  const close = () => {
    asking.current?.abort();
    shown.current = [];
    setList([]);
    setAt(-1);
  };
  const take = (c: Completion) => {
    const chars = [...text];
    const next = [...chars.slice(0, c.from), c.text, ...chars.slice(c.to)].join("");
    const cursor = [...chars.slice(0, c.from).join("")].length + c.cursor;
    setText(next);
    const el = input.current!;
    el.value = next;
    el.focus();
    el.setSelectionRange(cursor, cursor);
    complete(next, cursor);
  };
  const onKey = (e: KeyboardEvent) => {
    if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      e.preventDefault();
      if (!list.length) complete(text, input.current!.selectionStart ?? text.length);
      else setAt((at + (e.key === "ArrowDown" ? 1 : -1) + list.length + 1) % (list.length + 1));
    } else if ((e.key === "Enter" || e.key === "Tab") && list[at]) {
      e.preventDefault();
      take(list[at]);
    } else if (e.key === "Enter") {
      close();
      onAsk(text.trim());
    } else if (e.key === "Escape") {
      if (list.length) {
        e.stopPropagation();
        close();
      } else input.current?.blur();
    }
  };
  return (
    <div class="query">
      <div class="query-row">
        <input
          ref={input}
          value={text}
          placeholder={placeholder}
          spellcheck={false}
          autocomplete="off"
          autocapitalize="off"
          role="combobox"
          aria-label="Query"
          aria-expanded={list.length > 0}
          aria-controls={id}
          aria-activedescendant={at >= 0 ? `${id}-${at}` : undefined}
          aria-invalid={!!error}
          onInput={(e) => {
            setText(e.currentTarget.value);
            complete(e.currentTarget.value, e.currentTarget.selectionStart ?? 0);
          }}
          onFocus={(e) => complete(e.currentTarget.value, e.currentTarget.selectionStart ?? 0)}
          onBlur={close}
          onKeyDown={onKey}
        />
        <button type="button" class="primary" onClick={() => onAsk(text.trim())}>
          Ask
        </button>
      </div>
      {list.length > 0 && (
        <ul class="completions" role="listbox" id={id}>
          {list.map((c, i) => (
            <li
              key={c.kind + c.text}
              id={`${id}-${i}`}
              role="option"
              aria-selected={i === at}
              onMouseDown={(e) => {
                e.preventDefault();
                take(c);
              }}
            >
              <code>{c.text.trim()}</code>
              <span class="muted">{c.note || c.kind}</span>
            </li>
          ))}
        </ul>
      )}
      {error && (
        <div class="query-error" role="alert">
          {error.column > 0 && (
            <pre>
              {value}
              {"\n" + " ".repeat(error.column - 1) + "^".repeat(Math.max(1, error.width))}
            </pre>
          )}
          <strong>{error.detail}</strong> <span class="muted">{error.remedy}</span>
        </div>
      )}
    </div>
  );
}
