// Texts of the query language, as docs/reference/query.md has it.

const reserved = /^(and|or|not|has|by|every|as|asc|desc)$/i;

/** fieldText is the name of a field as it is written. */
export const fieldText = (name: string) => (/^[\p{L}\p{N}._\-/@$]+$/u.test(name) && !reserved.test(name) ? name : "`" + name + "`");

/** valueText is a value as it is written. */
export function valueText(v: unknown): string {
  if (typeof v !== "string") return typeof v === "object" ? valueText(JSON.stringify(v)) : String(v);
  const escapes: Record<string, string> = { "\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  return `"${v.replace(/[\\"\n\r\t]/g, (c) => escapes[c]!)}"`;
}

/** barAt is where the stages of a query begin: its first bar outside of quotes; its length if it has none. */
function barAt(query: string): number {
  let quote = "";
  for (let i = 0; i < query.length; i++) {
    const c = query[i]!;
    if (quote) {
      if (c === "\\" && quote === '"') i++;
      else if (c === quote) quote = "";
    } else if (c === '"' || c === "`") quote = c;
    else if (c === "|") return i;
  }
  return query.length;
}

/** filterOf is what stands before the stages. */
export const filterOf = (query: string) => query.slice(0, barAt(query)).trim();

/** stagesOf is what stands behind the filter, with its bar. */
export const stagesOf = (query: string) => query.slice(barAt(query)).trim();

/** both chooses what all of some filters choose; empty ones choose everything. */
export function both(...filters: (string | undefined | false)[]): string {
  const some = filters.filter((f): f is string => !!f);
  return some.length === 1 ? some[0]! : some.map((f) => (/\bor\b/i.test(f) ? `(${f})` : f)).join(" and ");
}

/** narrowed is a query that also asks for something. */
export function narrowed(query: string, filter: string): string {
  const stages = stagesOf(query);
  return both(filterOf(query), filter) + (stages ? " " + stages : "");
}

/** parseDuration reads 250ms; undefined where it is none. */
export function parseDuration(text: string): number | undefined {
  const m = /^\s*(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s|m|h)\s*$/.exec(text);
  if (!m) return undefined;
  const unit = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 }[m[2]!]!;
  return Math.round(Number(m[1]) * unit);
}

/** Region is a part of a heat map; most is the first duration outside, 0 for no bound. */
export interface Region {
  from: string;
  to: string;
  least: number;
  most: number;
}

/** regionOf reads FROM~TO~LEAST~MOST. */
export function regionOf(text: string): Region | undefined {
  const [from, to, least, most] = text.split("~");
  if (!from || !to || isNaN(Date.parse(from)) || isNaN(Date.parse(to)) || !(Date.parse(to) > Date.parse(from))) return undefined;
  const whole = (t: string | undefined) => (/^\d{1,19}$/.test(t ?? "") ? Number(t) : 0);
  return { from: new Date(from).toISOString(), to: new Date(to).toISOString(), least: whole(least), most: whole(most) };
}

/** regionText is what regionOf reads. */
export const regionText = (r: Region) => [r.from, r.to, r.least, r.most].join("~");

/** withinText is the filter of a region's durations. */
export const withinText = (r: Region) => both(r.least > 0 && `duration >= ${r.least}ns`, r.most > 0 && `duration < ${r.most}ns`);
