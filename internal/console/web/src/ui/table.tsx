// Tables, and lists of which only what can be seen is drawn.
import type { ComponentChildren, TargetedKeyboardEvent, TargetedMouseEvent, VNode } from "preact";
import { cloneElement, isValidElement } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { count } from "../time";
import { go, param, set } from "../url";

export interface Col<T> {
  key: string;
  head: ComponentChildren;
  cell: (row: T) => ComponentChildren;
  sort?: (row: T) => number | string;
  num?: boolean; // to the right, in figures of equal width
  min?: "s" | "m"; // left out on screens that are narrower than small (480) or medium (820 pixels)
}

const drawn = 500; // rows that are drawn before somebody asks for more

/** Table shows rows. A row with a link opens by click and Enter; j and k go up and down. Its order stands in the address. Of many
 * rows the first are drawn, and more on demand. */
export function Table<T>({ cols, rows, id, link, name, label }: { cols: Col<T>[]; rows: T[]; id: (row: T) => string; link?: (row: T) => string; name?: string; label: string }) {
  const key = name ? `sort.${name}` : "sort";
  const [most, setMost] = useState(drawn);
  const order = param(key);
  const down = order.startsWith("-");
  const by = down ? order.slice(1) : order;
  const col = cols.find((c) => c.key === by && c.sort);
  const sorted = col
    ? rows.slice().sort((a, b) => {
        const x = col.sort!(a);
        const y = col.sort!(b);
        return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
      })
    : rows;
  const columns = cols.map((c) => c.key).join();
  const ref = useStill(rows.length > many, columns);
  const watch = useSeen(ref, rows.length > many);
  const turn = useRef(0).current++;
  const reorder = (c: Col<T>) => set({ [key]: by !== c.key ? (c.num ? "-" : "") + c.key : down === !!c.num ? (c.num ? "" : "-") + c.key : undefined });
  return (
    <div class="scroll" tabIndex={-1}>
      <table ref={ref} aria-label={label}>
        <thead>
          <tr>
            {cols.map((c) => (
              <th key={c.key} scope="col" class={cls(c)} aria-sort={by === c.key ? (down ? "descending" : "ascending") : undefined}>
                {c.sort ? (
                  <button type="button" onClick={() => reorder(c)}>
                    {c.head}
                    <i aria-hidden="true">{by === c.key ? (down ? " ↓" : " ↑") : ""}</i>
                  </button>
                ) : (
                  c.head
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {sorted.slice(0, most).map((row, i) => (
            <Row key={id(row)} watch={watch} columns={columns} turn={turn % turns === i % turns}>
              {() => (
                <tr class={link ? "open" : ""} tabIndex={link ? 0 : undefined} onClick={link && ((e) => open(e, link(row)))} onKeyDown={link && ((e) => onKey(e, link(row)))}>
                  {cols.map((c) => (
                    <td key={c.key} class={cls(c)}>
                      {c.cell(row)}
                    </td>
                  ))}
                </tr>
              )}
            </Row>
          ))}
        </tbody>
      </table>
      {rows.length > most && (
        <p class="more-row">
          <button type="button" onClick={() => setMost(most + drawn)}>
            {count(Math.min(drawn, rows.length - most))} more
          </button>{" "}
          <span class="muted">
            The first {count(most)} of {count(rows.length)} rows are shown.
          </span>
        </p>
      )}
    </div>
  );
}

/** picking is what is picked once some rows are or no longer are. A row that was drawn a while ago adds to what is picked now. */
export function picking<T>(was: Set<T>, rows: T[], on: boolean): Set<T> {
  const now = new Set(was);
  for (const r of rows) on ? now.add(r) : now.delete(r);
  return now;
}

const many = 60; // rows, from which on the widths of columns stand still

/** useStill keeps the columns of a long table as wide as they were at first: otherwise each change in a cell lays out all cells anew. */
function useStill(long: boolean, columns: string) {
  const ref = useRef<HTMLTableElement>(null);
  useLayoutEffect(() => {
    const table = ref.current;
    const heads = [...(table?.tHead?.rows[0]?.cells ?? [])];
    if (!table || !long) return;
    const free = () => {
      table.classList.remove("still");
      for (const th of heads) th.style.width = "";
    };
    let was = -1;
    const watch = new ResizeObserver(() => {
      const width = table.parentElement!.clientWidth;
      if (width === was) return;
      was = width;
      free();
      const widths = heads.map((th) => th.offsetWidth);
      heads.forEach((th, i) => widths[i]! > 0 && (th.style.width = `${widths[i]}px`));
      table.classList.add("still");
    });
    watch.observe(table.parentElement!);
    return () => {
      watch.disconnect();
      free();
    };
  }, [long, columns]);
  return ref;
}

/** Place is what is known of a row of a long table. */
interface Place {
  seen: boolean; // or nearly so
  behind: boolean; // what it shows may be old
  draw: () => void;
}

type Watch = (row: Element, place: Place) => () => void;

const rest = 150; // milliseconds after which nobody scrolls any more

/** useSeen notes which rows of a long table can be seen. Those that show something old are drawn when the scrolling has ended. */
function useSeen(table: { current: HTMLTableElement | null }, long: boolean): Watch | undefined {
  const [watch, setWatch] = useState<Watch>();
  useLayoutEffect(() => {
    if (!long || !table.current) return;
    const places = new Map<Element, Place>();
    let later = 0;
    const catchUp = () => places.forEach((p) => p.seen && p.behind && p.draw());
    const observer = new IntersectionObserver(
      (list) => {
        for (const e of list) {
          const place = places.get(e.target);
          if (place) place.seen = e.isIntersecting;
        }
        clearTimeout(later);
        later = window.setTimeout(catchUp, rest);
      },
      { rootMargin: "50px 0px" },
    );
    setWatch(() => (row: Element, place: Place) => {
      places.set(row, place);
      observer.observe(row);
      return () => {
        places.delete(row);
        observer.unobserve(row);
      };
    });
    return () => {
      observer.disconnect();
      clearTimeout(later);
      setWatch(undefined);
    };
  }, [long]);
  return watch;
}

const turns = 30;

/** Row is drawn anew whenever it can be seen, and otherwise when it is its turn: hundreds of rows at once would hold up a frame. */
function Row({ watch, columns, turn, children }: { watch?: Watch; columns: string; turn: boolean; children: () => VNode }) {
  const last = useRef<{ row: VNode; columns: string }>(undefined);
  const row = useRef<HTMLTableRowElement>(null);
  const [round, setRound] = useState(0);
  const at = useRef(round);
  const place = useRef<Place>({ seen: false, behind: false, draw: () => setRound((n) => n + 1) }).current;
  useEffect(() => (watch && row.current ? watch(row.current, place) : undefined), [watch]);
  if (!watch || place.seen || turn || at.current !== round || last.current?.columns !== columns) {
    last.current = { row: cloneElement(children(), { ref: row }), columns };
    at.current = round;
    place.behind = false;
  } else place.behind = true;
  return last.current!.row;
}

const cls = <T,>(c: Col<T>) => [c.num ? "num" : "", c.min ? `from-${c.min}` : ""].join(" ").trim() || undefined;

function open(e: TargetedMouseEvent<HTMLElement>, to: string) {
  if ((e.target as Element).closest("a,button,input,label") || getSelection()?.toString()) return;
  if (e.metaKey || e.ctrlKey) window.open(to, "_blank", "noopener");
  else go(to);
}

function onKey(e: TargetedKeyboardEvent<HTMLElement>, to: string) {
  if (e.target !== e.currentTarget) return;
  if (e.key === "Enter") go(to);
  const next = e.key === "j" || e.key === "ArrowDown" ? e.currentTarget.nextElementSibling : e.key === "k" || e.key === "ArrowUp" ? e.currentTarget.previousElementSibling : null;
  if (next instanceof HTMLElement) {
    e.preventDefault();
    next.focus();
  }
}

const ahead = 6; // rows that are drawn beyond what can be seen, on each side

/** Virtual shows a long list of rows of one height, of which only those that can be seen are drawn. */
export function Virtual<T>({ rows, height, render, label, stick, onStick, role = "list", scrollTo, active, onKey }: {
  rows: readonly T[];
  height: number;
  render: (row: T, index: number) => ComponentChildren;
  label: string;
  stick?: boolean; // to the end, as long as the reader does not scroll away from it
  onStick?: (yes: boolean) => void; // whether it is at the end, whenever the reader scrolls to it or away
  role?: "list" | "treegrid";
  scrollTo?: number; // the row that has to be seen
  active?: string; // id of the row that keys are about
  onKey?: (e: TargetedKeyboardEvent<HTMLDivElement>) => void;
}) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, size: 600 });
  const atEnd = useRef(true);
  const lastTop = useRef(0);
  const read = () => {
    const b = box.current;
    if (!b) return;
    // Rows that came since are no reason to leave the end; only the reader goes up.
    const end = b.scrollTop + b.clientHeight >= b.scrollHeight - height * 2 || (atEnd.current && b.scrollTop >= lastTop.current);
    lastTop.current = b.scrollTop;
    if (end !== atEnd.current) onStick?.(end);
    atEnd.current = end;
    // Drawn anew every few rows only: there are some more than can be seen.
    const top = Math.floor(b.scrollTop / height / ahead) * height * ahead;
    setView((v) => (v.top === top && v.size === b.clientHeight ? v : { top, size: b.clientHeight }));
  };
  useEffect(() => {
    const watch = new ResizeObserver(read);
    watch.observe(box.current!);
    return () => watch.disconnect();
  }, []);
  useLayoutEffect(() => {
    if (stick) atEnd.current = true;
  }, [stick]);
  useLayoutEffect(() => {
    const b = box.current;
    if (!stick || !atEnd.current || !b) return;
    b.scrollTop = b.scrollHeight;
    lastTop.current = b.scrollTop;
  }, [rows.length, stick, rows]);
  useEffect(() => {
    const b = box.current;
    if (scrollTo === undefined || !b) return;
    if (scrollTo * height < b.scrollTop) b.scrollTop = scrollTo * height;
    else if ((scrollTo + 1) * height > b.scrollTop + b.clientHeight) b.scrollTop = (scrollTo + 1) * height - b.clientHeight;
  }, [scrollTo]);
  const first = Math.max(0, Math.floor(view.top / height) - ahead);
  const last = Math.min(rows.length, Math.ceil((view.top + view.size) / height) + 2 * ahead);
  return (
    <div ref={box} class="virtual" role={role} aria-label={label} aria-rowcount={role === "treegrid" ? rows.length : undefined} aria-activedescendant={active} tabIndex={0} onScroll={read} onKeyDown={onKey}>
      <div class="virtual-all" role="presentation" style={{ height: `${rows.length * height}px` }}>
        {rows.slice(first, last).map((row, i) => {
          const made = render(row, first + i);
          return (
            <div key={isValidElement(made) && made.key !== null ? made.key : first + i} class="virtual-row" role="presentation" style={{ top: `${(first + i) * height}px` }}>
              {made}
            </div>
          );
        })}
      </div>
    </div>
  );
}
