// What is different in a region of the heat map.
import { useEffect, useState } from "preact/hooks";
import { q } from "../api";
import { useAsk } from "../live";
import { clock, count, percent } from "../time";
import { fieldText, parseDuration, valueText, type Region } from "../trace/querytext";
import type { Difference, DiffField, DiffValue } from "../types";
import { Answer, Card, Empty } from "../ui/basic";

/** RegionForm says what the region is, and lets it be written. */
export function RegionForm({ region, onRegion }: { region: Region; onRegion: (r: Region | undefined) => void }) {
  const written = (ns: number) => (ns ? exactly(ns) : "");
  const [least, setLeast] = useState(written(region.least));
  const [most, setMost] = useState(written(region.most));
  useEffect(() => {
    setLeast(written(region.least));
    setMost(written(region.most));
  }, [region.least, region.most]);
  const a = least.trim() ? parseDuration(least) : 0;
  const b = most.trim() ? parseDuration(most) : 0;
  const wrong = a === undefined || b === undefined || (b > 0 && b <= a);
  return (
    <form
      class="tr-region"
      onSubmit={(e) => {
        e.preventDefault();
        if (!wrong) onRegion({ ...region, least: a, most: b });
      }}
    >
      <strong>
        {clock(new Date(region.from))} – {clock(new Date(region.to))}
      </strong>
      <label class="field">
        From
        <input value={least} placeholder="0" aria-invalid={a === undefined} onInput={(e) => setLeast(e.currentTarget.value)} />
      </label>
      <label class="field">
        to
        <input value={most} placeholder="no end" aria-invalid={wrong} onInput={(e) => setMost(e.currentTarget.value)} />
      </label>
      <button type="submit" disabled={wrong}>
        Set
      </button>
      <button type="button" class="quiet" onClick={() => onRegion(undefined)}>
        Clear the region
      </button>
    </form>
  );
}

/** exactly is a duration that is read back as the same number. */
function exactly(ns: number): string {
  for (const [unit, size] of [
    ["s", 1e9],
    ["ms", 1e6],
    ["us", 1e3],
  ] as const) {
    if (ns >= size) return `${ns / size}${unit}`;
  }
  return `${ns}ns`;
}

interface Props {
  query: string;
  errors: boolean;
  ends: { from: string; to: string };
  region: Region;
  onAdd: (filter: string) => void;
}

export function Different({ query, errors, ends, region, onAdd }: Props) {
  const [all, setAll] = useState(false);
  const path =
    "/v1/difference" +
    q({ query, from: ends.from, to: ends.to, inside_from: region.from, inside_to: region.to, least_ns: region.least || undefined, most_ns: region.most || undefined, errors: errors || undefined });
  const asked = useAsk<Difference>(path);
  return (
    <Card
      title="What is different"
      actions={
        asked.data && (
          <span class="muted tr-bar">
            <span class="tr-key">
              <i class="in" aria-hidden="true" /> {count(asked.data.inside)} inside
            </span>
            <span class="tr-key">
              <i class="out" aria-hidden="true" /> {count(asked.data.outside)} outside
            </span>
          </span>
        )
      }
    >
      <Answer of={asked} rows={6}>
        {(d) =>
          d.inside === 0 || d.outside === 0 ? (
            <Empty title={d.inside === 0 ? "There is nothing within the region" : "There is nothing outside of the region"}>{d.inside === 0 ? "Draw it over cells that have a colour." : "Draw a smaller one: there is nothing to compare with."}</Empty>
          ) : d.fields.length === 0 ? (
            <Empty title="Nothing differs by more than chance">The spans within the region are like the others in every field that they have. Few spans inside say little: a larger region may.</Empty>
          ) : (
            <>
              <div class="tr-diff">
                {(all ? d.fields : d.fields.slice(0, 6)).map((f) => (
                  <Field key={f.field} field={f} onAdd={onAdd} />
                ))}
              </div>
              <p class="muted">
                {d.fields.length > 6 && (
                  <button type="button" onClick={() => setAll(!all)}>
                    {all ? "Fewer fields" : `All ${d.fields.length} fields`}
                  </button>
                )}{" "}
                Fields are ranked by how much the shares of their values differ (total variation distance, less what chance would do). A click on a value adds it to the query.
                {d.many && ` Left out for too many values: ${d.many.slice(0, 6).join(", ")}${d.many.length > 6 ? " …" : ""}.`}
                {d.looked < d.spans && ` Of ${count(d.spans)} spans ${count(d.looked)} were looked at.`}
                {d.caps.reached && ` Only the first ${d.caps.fields} fields were counted.`}
              </p>
            </>
          )
        }
      </Answer>
    </Card>
  );
}

function Field({ field, onAdd }: { field: DiffField; onAdd: (filter: string) => void }) {
  return (
    <section class="tr-field">
      <h3>
        <code class="cut">{field.field}</code>
        <span title={`Of that about ${percent(Math.min(field.chance, 1))} would be by chance.`}>{percent(field.difference)} differs</span>
      </h3>
      {field.values.slice(0, 5).map((v, i) => (
        <Value key={i} field={field.field} v={v} onAdd={onAdd} />
      ))}
    </section>
  );
}

function Value({ field, v, onAdd }: { field: string; v: DiffValue; onAdd: (filter: string) => void }) {
  const filter = filterFor(field, v);
  const text = valueTitle(v);
  return (
    <button type="button" class="tr-value" disabled={!filter} title={filter ? `Add ${filter}` : text} onClick={() => filter && onAdd(filter)}>
      {v.missing || v.rest ? <span class="muted">{text}</span> : <code>{text}</code>}
      <span class="tr-bars">
        <Bar kind="in" share={v.inside} name="inside" />
        <Bar kind="out" share={v.outside} name="outside" />
      </span>
    </button>
  );
}

function Bar({ kind, share, name }: { kind: string; share: number; name: string }) {
  return (
    <span title={`${percent(share)} ${name}`}>
      <i class={kind} style={{ width: `${Math.min(share, 1) * 100}%` }} />
      {short(share)}
    </span>
  );
}

const short = (share: number) => (share > 0 && share < 0.005 ? "<1 %" : `${Math.round(share * 100)} %`);

function valueTitle(v: DiffValue): string {
  if (v.missing) return "without the field";
  if (v.rest) return "all others";
  if (v.low !== undefined) return v.low === v.high ? String(v.low) : `${v.low} to ${v.high}`;
  const text = typeof v.value === "string" ? v.value : JSON.stringify(v.value);
  return text + (v.cut ? "…" : "");
}

function filterFor(field: string, v: DiffValue): string | undefined {
  const name = fieldText(field);
  if (v.rest || v.cut) return undefined;
  if (v.missing) return `not has ${name}`;
  if (v.low !== undefined) return `${name} >= ${v.low} and ${name} <= ${v.high}`;
  return `${name} = ${valueText(v.value)}`;
}

