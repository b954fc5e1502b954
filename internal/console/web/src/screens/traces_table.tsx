// The answer to a query with functions: a plot where there are buckets of time, and the table.
import { useState } from "preact/hooks";
import { clock } from "../time";
import type { Column, TableAnswer } from "../types";
import { Card, Empty, Tabs } from "../ui/basic";
import { format, Plot, type Line, type Unit } from "../ui/plot";
import { Table, type Col } from "../ui/table";

type Cell = string | number | boolean | null;

const unitOf = (c: Column): Unit => (c.unit === "ns" ? "ns" : c.unit === "1/s" ? "/s" : "");

export function Told({ table }: { table: TableAnswer }) {
  const time = table.columns.findIndex((c) => c.role === "time");
  const values = table.columns.map((c, i) => [c, i] as const).filter(([c]) => c.role === "value");
  const [shown, setShown] = useState("");
  if (table.rows.length === 0) return <Empty title="Nothing was found in this time">Take a longer range at the top, or a wider filter before the bar.</Empty>;
  const picked = values.find(([c]) => c.name === shown) ?? values[0];
  return (
    <>
      {time >= 0 && picked && (
        <Card title={picked[0].name}>
          {values.length > 1 && <Tabs label="Values" tabs={values.map(([c]) => [c.name, c.name] as const)} now={picked[0].name} onPick={setShown} />}
          <Course table={table} time={time} value={picked[1]} />
        </Card>
      )}
      <Card flush title="Table">
        <Table label="Table" name="told" cols={table.columns.map(column)} rows={table.rows.map((cells, i) => ({ cells, i }))} id={(r) => JSON.stringify(r.cells) + r.i} />
      </Card>
    </>
  );
}

function column(c: Column, i: number): Col<{ cells: Cell[]; i: number }> {
  const show = (v: Cell) => {
    if (v === null || v === "") return <span class="muted">–</span>;
    if (c.role === "time" || c.name === "time") return <time title={String(v)}>{clock(new Date(String(v)))}</time>;
    return typeof v === "number" ? format(v, unitOf(c)) : String(v);
  };
  const num = c.role === "value";
  return { key: c.name, head: c.name, cell: (r) => show(r.cells[i] ?? null), sort: (r) => (num ? Number(r.cells[i] ?? -Infinity) : String(r.cells[i] ?? "")), num };
}

/** Course plots a value, a line for each group. */
function Course({ table, time, value }: { table: TableAnswer; time: number; value: number }) {
  const groups = table.columns.map((c, i) => [c, i] as const).filter(([c]) => c.role === "group");
  const zero = table.columns[value]!.zero ? 0 : null;
  const every = (table.every_ns ?? 1e9) / 1e9;
  const at = (row: Cell[]) => Date.parse(String(row[time])) / 1000;
  const first = Math.min(...table.rows.map(at));
  const last = Math.max(...table.rows.map(at));
  const times: number[] = [];
  for (let t = first; t <= last + every / 2 && times.length < 5000; t += every) times.push(t);
  const lines = new Map<string, Line & { sum: number }>();
  for (const row of table.rows) {
    const label = groups.map(([, i]) => String(row[i] ?? "–")).join(" · ") || table.columns[value]!.name;
    let line = lines.get(label);
    if (!line) lines.set(label, (line = { label, values: times.map(() => zero), sum: 0 }));
    const v = Number(row[value]);
    line.values[Math.round((at(row) - first) / every)] = row[value] === null ? null : v;
    line.sum += v || 0;
  }
  const most = [...lines.values()].sort((a, b) => b.sum - a.sum).slice(0, 10);
  return (
    <>
      <Plot times={times} lines={most} unit={unitOf(table.columns[value]!)} label={`${table.columns[value]!.name} over time`} height={200} bars={times.length < 3} />
      {lines.size > most.length && <p class="muted">The 10 largest of {lines.size} groups are drawn.</p>}
    </>
  );
}
