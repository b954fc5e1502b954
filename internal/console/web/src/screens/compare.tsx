import { useMemo } from "preact/hooks";
import { useAsk } from "../live";
import { duration, plural } from "../time";
import { blameOf, pairsOf, treeOf, type Pair, type Tree } from "../trace/model";
import type { Trace } from "../types";
import { href, param, set } from "../url";
import { Card, colorOf, Empty, Failed, Loading, Mark, Page, Time } from "../ui/basic";
import { Table, type Col } from "../ui/table";
import "./compare.css";

const maxRows = 2000;

export default function Compare({ arg, arg2 }: { arg: string; arg2: string }) {
  const one = useAsk<Trace>(`/v1/traces/${encodeURIComponent(arg)}`);
  const two = useAsk<Trace>(`/v1/traces/${encodeURIComponent(arg2)}`);
  const a = useMemo(() => one.data && treeOf(one.data), [one.data]);
  const b = useMemo(() => two.data && treeOf(two.data), [two.data]);
  const failed = [one, two].find((x) => x.error);
  return (
    <Page
      title="Compare two traces"
      sub="Spans of the same service and name below the same path are one line."
      actions={
        <a href={href(`/compare/${arg2}/${arg}`)}>
          Swap A and B
        </a>
      }
    >
      {failed?.error ? (
        <Failed error={failed.error} again={failed.again} />
      ) : a && b ? (
        <Both a={a} b={b} ids={[one.data!.trace_id, two.data!.trace_id]} />
      ) : (
        <Loading rows={8} />
      )}
    </Page>
  );
}

function Both({ a, b, ids }: { a: Tree; b: Tree; ids: [string, string] }) {
  const pairs = useMemo(() => pairsOf(a, b), [a, b]);
  const show = param("show", "all");
  const onlyA = pairs.filter((p) => !p.b.spans.length);
  const onlyB = pairs.filter((p) => !p.a.spans.length);
  const rows = show === "a" ? onlyA : show === "b" ? onlyB : show === "both" ? pairs.filter((p) => p.a.spans.length && p.b.spans.length) : pairs;
  const longest = Math.max(...pairs.map((p) => Math.max(p.a.total, p.b.total)), 1);
  const more = b.total - a.total;
  return (
    <>
      <div class="cp-heads">
        <Head letter="A" tree={a} id={ids[0]} />
        <Head letter="B" tree={b} id={ids[1]} />
      </div>
      <p class="cp-total">
        {more === 0 ? "Both took the same time." : <>B took <strong>{duration(Math.abs(more))} {more > 0 ? "longer" : "less"}</strong> than A ({times(a.total, b.total)}).</>} <Blame pairs={pairs} a={a} b={b} />
      </p>
      <Card
        flush
        title="Span by span"
        actions={
          <div class="seg" role="group" aria-label="Which lines">
            {(
              [
                ["all", `All ${pairs.length}`],
                ["both", `In both ${pairs.length - onlyA.length - onlyB.length}`],
                ["a", `Only A ${onlyA.length}`],
                ["b", `Only B ${onlyB.length}`],
              ] as const
            ).map(([key, text]) => (
              <button key={key} type="button" aria-pressed={show === key} onClick={() => set({ show: key === "all" ? undefined : key })}>
                {text}
              </button>
            ))}
          </div>
        }
      >
        {rows.length ? (
          <Table label="Spans of both traces" name="pairs" cols={columns(longest, !param("sort.pairs"))} rows={rows.slice(0, maxRows)} id={(p) => p.key} />
        ) : (
          <Empty title={show === "both" ? "They have nothing in common" : `There is nothing that only ${show.toUpperCase()} has`}>Show all lines instead.</Empty>
        )}
        {rows.length > maxRows && <p class="muted">The first {maxRows} of {rows.length} lines are shown.</p>}
      </Card>
    </>
  );
}

function Head({ letter, tree, id }: { letter: string; tree: Tree; id: string }) {
  const root = tree.roots[0];
  const errors = tree.nodes.filter((n) => n.failed).length;
  return (
    <section class={`cp-side ${letter.toLowerCase()}`}>
      <h2>
        <span class="cp-letter">{letter}</span>
        <a class="cut" href={href(`/trace/${id}`)}>
          {root ? `${root.span.service} ${root.span.name}` : id}
        </a>
      </h2>
      <p>
        <strong>{duration(tree.total)}</strong> · {plural(tree.nodes.length, "span")} · {errors ? <Mark tone="bad">{plural(errors, "error")}</Mark> : "no errors"}
      </p>
      <p class="muted">
        <Time at={tree.begin} millis /> · <code>{id.slice(0, 12)}…</code>
      </p>
    </section>
  );
}

/** Blame says where the most of the difference comes from. */
function Blame({ pairs, a, b }: { pairs: Pair[]; a: Tree; b: Tree }) {
  const { pair, more } = useMemo(() => blameOf(pairs, a, b), [pairs]);
  if (more === 0) return null;
  const text = `${more > 0 ? "+" : "−"}${duration(Math.abs(more))}`;
  return pair ? (
    <>
      The most of it is <strong>{pair.service}</strong> {pair.name}: {text} on the critical path.
    </>
  ) : (
    <>The most of it is waiting: {text} in which no service was at work, such as before an event is delivered or a step is tried again.</>
  );
}

const times = (a: number, b: number) => (a > 0 && b > 0 ? (b >= a ? `${(b / a).toFixed(1)} times as long` : `${Math.round((b / a) * 100)} % of its time`) : "–");

function columns(longest: number, tree: boolean): Col<Pair>[] {
  const took = (side: Pair["a"]) =>
    side.spans.length ? (
      <>
        {side.spans.length > 1 && <span class="muted">{side.spans.length}× </span>}
        {side.errors > 0 && (
          <span class="bad-text" title={plural(side.errors, "error")}>
            ✕{" "}
          </span>
        )}
        {duration(side.total)}
      </>
    ) : (
      <span class="muted">not there</span>
    );
  const change = (p: Pair) => p.b.total - p.a.total;
  return [
    {
      key: "name",
      head: "Span",
      cell: (p) => (
        <span class="cp-name" style={{ paddingLeft: tree ? `${Math.min(p.depth, 12) * 14}px` : 0 }} title={`${p.service} ${p.name}`}>
          <i class="dot" style={{ background: colorOf(p.service) }} />
          <span class="cut">
            <strong>{p.service}</strong> {p.name}
          </span>
        </span>
      ),
      sort: (p) => p.service + p.name,
    },
    { key: "a", head: "A", cell: (p) => took(p.a), sort: (p) => p.a.total, num: true },
    { key: "b", head: "B", cell: (p) => took(p.b), sort: (p) => p.b.total, num: true },
    {
      key: "bars",
      head: <span class="muted">A above B</span>,
      min: "m",
      cell: (p) => (
        <span class="cp-bars" aria-hidden="true">
          <i style={{ width: `${(p.a.total / longest) * 100}%` }} />
          <i class="b" style={{ width: `${(p.b.total / longest) * 100}%` }} />
        </span>
      ),
    },
    {
      key: "change",
      head: "Change",
      num: true,
      sort: (p) => Math.abs(change(p)),
      cell: (p) =>
        !p.a.spans.length ? (
          <Mark tone="busy">only B</Mark>
        ) : !p.b.spans.length ? (
          <Mark tone="busy">only A</Mark>
        ) : (
          <span class={change(p) > 0 ? "warn-text" : ""}>
            {change(p) === 0 ? "0" : `${change(p) > 0 ? "+" : "−"}${duration(Math.abs(change(p)))}`}
          </span>
        ),
    },
  ];
}
