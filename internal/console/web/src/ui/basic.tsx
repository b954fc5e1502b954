// The small parts that all screens are made of.
import type { ComponentChildren, TargetedKeyboardEvent } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { signal } from "@preact/signals";
import { Problem } from "../api";
import { href } from "../url";
import { ago, clock, utc } from "../time";

/** order gives each service a place, so that colours lie far apart; the shell knows the services. */
const places = signal(new Map<string, number>());

export function colorServices(names: string[]) {
  const sorted = names.slice().sort();
  if (sorted.length !== places.value.size || sorted.some((n) => !places.value.has(n))) places.value = new Map(sorted.map((n, i) => [n, i]));
}

/** hue is the colour of a name, the same on every screen: services by their place, other names by their letters. */
export function hue(name: string): number {
  const place = places.value.get(name);
  if (place !== undefined) return Math.round((place * 137.508 + 200) % 360);
  let h = 2166136261;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 16777619);
  return Math.round(((h >>> 0) * 0.618034) % 360);
}

export const colorOf = (name: string) => `oklch(var(--hue-l) var(--hue-c) ${hue(name)})`;

/** Service is the name of a service with its colour, and a link to it. */
export function Service({ name, link = true }: { name: string; link?: boolean }) {
  const inner = (
    <>
      <i class="dot" style={{ background: colorOf(name) }} />
      {name}
    </>
  );
  return link ? (
    <a class="svc" href={href("/service/" + encodeURIComponent(name))}>
      {inner}
    </a>
  ) : (
    <span class="svc">{inner}</span>
  );
}

export type Tone = "ok" | "busy" | "warn" | "bad" | "off";

const signs: Record<Tone, string> = { ok: "●", busy: "◐", warn: "▲", bad: "✕", off: "○" };

/** Mark is a state as a sign, a colour and a word. */
export function Mark({ tone, children, title }: { tone: Tone; children: ComponentChildren; title?: string }) {
  return (
    <span class={`mark ${tone}`} title={title}>
      <i aria-hidden="true">{signs[tone]}</i>
      {children}
    </span>
  );
}

/** toneOf is how the state of a replica, a saga, a subscription or an alert looks. "Starting" is never red. */
export function toneOf(state: string): Tone {
  switch (state) {
    case "ready":
    case "ok":
    case "running":
    case "completed":
    case "delivering":
    case "done":
    case "resolved":
    case "active":
      return "ok";
    case "building":
    case "starting":
    case "draining":
    case "stopping":
    case "pending":
    case "compensating":
    case "waiting":
    case "undoing":
      return "busy";
    case "parked":
    case "full":
    case "warning":
    case "unready":
    case "unreachable":
    case "paused":
      return "warn";
    case "crashed":
    case "backing-off":
    case "failed":
    case "failing":
    case "error":
    case "firing":
    case "critical":
      return "bad";
    default:
      return "off";
  }
}

/** Time is a moment in the reader's zone, UTC on hovering. */
export function Time({ at, millis, relative }: { at: string; millis?: boolean; relative?: boolean }) {
  const date = new Date(at);
  if (isNaN(+date)) return <span class="muted">–</span>;
  return (
    <time dateTime={at} title={(relative ? clock(date) + " · " : "") + utc(date)}>
      {relative ? ago(date) : clock(date, millis)}
    </time>
  );
}

/** Page is a screen: its title, what belongs beside it, and its content. */
export function Page({ title, sub, actions, children }: { title: ComponentChildren; sub?: ComponentChildren; actions?: ComponentChildren; children: ComponentChildren }) {
  return (
    <>
      <header class="page-head">
        <div>
          <h1>{title}</h1>
          {sub && <p class="muted">{sub}</p>}
        </div>
        {actions && <div class="actions">{actions}</div>}
      </header>
      {children}
    </>
  );
}

/** Card is a part of a screen with a heading. */
export function Card({ title, actions, children, flush, class: extra }: { title?: ComponentChildren; actions?: ComponentChildren; children: ComponentChildren; flush?: boolean; class?: string }) {
  return (
    <section class={`card ${flush ? "flush" : ""} ${extra ?? ""}`}>
      {(title || actions) && (
        <div class="card-head">
          {title && <h2>{title}</h2>}
          {actions && <div class="actions">{actions}</div>}
        </div>
      )}
      {children}
    </section>
  );
}

/** Empty says that there is nothing, and what to do next. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="state">
      <svg viewBox="0 0 48 24" width="64" aria-hidden="true">
        <path d="M2 17c5 0 5-4 10-4s5 4 10 4 5-4 10-4 5 4 10 4" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" />
        <path d="M17 8a7 7 0 0 1 14 0" fill="none" stroke="var(--accent)" stroke-width="2.5" stroke-linecap="round" />
      </svg>
      <strong>{title}</strong>
      {children && <div class="muted">{children}</div>}
    </div>
  );
}

/** Failed says what went wrong, and what to do about it. */
export function Failed({ error, again }: { error: Problem | Error; again?: () => void }) {
  const problem = error instanceof Problem ? error : undefined;
  return (
    <div class="state failed" role="alert">
      <strong>{sentence(problem?.detail || error.message)}</strong>
      {problem?.remedy && <div class="muted">{sentence(problem.remedy)}</div>}
      {problem && <code class="muted">{problem.code}</code>}
      {again && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

/** sentence begins with a capital. */
export const sentence = (text: string) => (/^[a-z]+[ ,:]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text);

/** Loading keeps the place of rows that are on their way. It shows itself after a moment only: what comes at once does not flicker. */
export function Loading({ rows = 4 }: { rows?: number }) {
  return (
    <div class="loading" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, i) => (
        <div key={i} class={`bone w${i % 4}`} />
      ))}
    </div>
  );
}

/** Answer shows what became of a question: the content, or what is in its place. */
export function Answer<T>({ of, rows, children }: { of: { data?: T; error?: Problem; again?: () => void }; rows?: number; children: (data: T) => ComponentChildren }) {
  if (of.data !== undefined) {
    return (
      <>
        {of.error && <Failed error={of.error} again={of.again} />}
        {children(of.data)}
      </>
    );
  }
  if (of.error) return <Failed error={of.error} again={of.again} />;
  return <Loading rows={rows} />;
}

/** Tabs choose one of a few views. */
export function Tabs<K extends string>({ tabs, now, onPick, label }: { tabs: readonly (readonly [K, ComponentChildren])[]; now: K; onPick: (key: K) => void; label: string }) {
  const move = (e: TargetedKeyboardEvent<HTMLDivElement>) => {
    const by = e.key === "ArrowRight" ? 1 : e.key === "ArrowLeft" ? -1 : 0;
    if (!by) return;
    const i = tabs.findIndex(([key]) => key === now);
    const next = tabs[(i + by + tabs.length) % tabs.length]!;
    onPick(next[0]);
    (e.currentTarget.children[tabs.indexOf(next)] as HTMLElement).focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={move}>
      {tabs.map(([key, text]) => (
        <button key={key} type="button" role="tab" aria-selected={key === now} tabIndex={key === now ? 0 : -1} onClick={() => onPick(key)}>
          {text}
        </button>
      ))}
    </div>
  );
}

/** Spark is the course of a value in a line of text. As long as the values are the same ones it is not drawn anew: lists have hundreds. */
export function Spark({ values, label, tone }: { values: (number | null)[]; label: string; tone?: "bad" }) {
  const line = useMemo(() => lineOf(values), [values]);
  return useMemo(
    () => (
      <svg class={`spark ${tone ?? ""}`} viewBox={`0 0 ${sparkWidth} ${sparkHeight}`} preserveAspectRatio="none" role="img" aria-label={label}>
        <title>{label}</title>
        <path d={line} />
      </svg>
    ),
    [line, label, tone],
  );
}

const sparkWidth = 120;
const sparkHeight = 24;

function lineOf(values: (number | null)[]): string {
  const top = Math.max(...values.map((v) => v ?? 0), 1e-9);
  const x = (i: number) => (values.length < 2 ? 0 : (i / (values.length - 1)) * sparkWidth);
  const y = (v: number) => sparkHeight - 1.5 - (v / top) * (sparkHeight - 3);
  let line = "";
  let pen = "M";
  values.forEach((v, i) => {
    if (v === null) pen = "M";
    else {
      line += `${pen}${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
      pen = "L";
    }
  });
  return line;
}

/** Json is a value as indented text. */
export function Json({ value }: { value: unknown }) {
  return <pre class="json">{typeof value === "string" ? value : JSON.stringify(value, null, 2)}</pre>;
}

/** Copy puts a text onto the clipboard. */
export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  const [done, setDone] = useState(false);
  return (
    <button
      type="button"
      class="quiet"
      onClick={() =>
        navigator.clipboard.writeText(text).then(() => {
          setDone(true);
          setTimeout(() => setDone(false), 1500);
        })
      }
    >
      {done ? "Copied" : label}
    </button>
  );
}

/** Dialog is a modal window; Escape closes it, and the focus goes back to where it was. */
export function Dialog({ title, onClose, children, wide }: { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    ref.current?.showModal();
    return () => before?.focus?.();
  }, []);
  return (
    <dialog
      ref={ref}
      class={wide ? "wide" : ""}
      aria-label={title}
      onCancel={(e) => {
        e.preventDefault();
        onClose();
      }}
      onClick={(e) => e.target === ref.current && onClose()}
    >
      <div class="dialog">
        <div class="card-head">
          <h2>{title}</h2>
          <button type="button" class="quiet" aria-label="Close" onClick={onClose}>
            ✕
          </button>
        </div>
        {children}
      </div>
    </dialog>
  );
}

/** useSize follows the width of an element. */
export function useWidth<E extends Element>(): [{ current: E | null }, number] {
  const ref = useRef<E>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (!ref.current) return;
    const watch = new ResizeObserver(([e]) => setWidth(Math.floor(e!.contentRect.width)));
    watch.observe(ref.current);
    return () => watch.disconnect();
  }, []);
  return [ref, width];
}
