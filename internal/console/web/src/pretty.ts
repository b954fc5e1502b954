// Lines of log as people read them, the same way as atoll logs shows them.

// Colours and other commands to a terminal, and what else has no shape of its own.
const commands = /\u001b\[[0-9;:?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b[@-Z\\-_]/g;
const shapeless = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** plain is a text without commands to a terminal. */
export const plain = (text: string) => text.replace(commands, "").replace(/\r+$/gm, "").replace(shapeless, "\ufffd");

const messages = ["msg", "message", "event", "@m"];
const known = new Set(["time", "timestamp", "ts", "@t", "level", "severity", "lvl", "@l", "service", "replica", "pid", "hostname", "v"]);

interface Readable {
  message: string;
  fields: [key: string, value: string][];
}

/** readable is a line's text: a JSON object becomes its message and its other fields; time, level and what else the record itself says are left out. */
export function readable(text: string): Readable {
  if (!text.startsWith("{")) return { message: plain(text), fields: [] };
  let object: Record<string, unknown>;
  try {
    object = JSON.parse(text);
  } catch {
    return { message: plain(text), fields: [] };
  }
  let message = "";
  const left = new Map(Object.entries(object));
  for (const key of messages) {
    const value = left.get(key);
    if (typeof value === "string") {
      message = value;
      left.delete(key);
      break;
    }
  }
  if (message === "request") message = request(left);
  for (const key of known) left.delete(key);
  const fields = [...left].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]): [string, string] => [plain(key), plain(valueText(value))]);
  return { message: plain(message), fields };
}

/** request is a line of an access log; the fields that it shows are taken out. */
function request(fields: Map<string, unknown>): string {
  const words = ["request"];
  const method = fields.get("method");
  if (typeof method === "string") {
    words[0] = method;
    fields.delete("method");
  }
  for (const key of ["path", "status", "duration_ms", "endpoint"]) {
    if (!fields.has(key)) continue;
    const word = valueText(fields.get(key));
    words.push(key === "duration_ms" ? word + "ms" : key === "endpoint" ? "→ " + word : word);
    fields.delete(key);
  }
  return words.join(" ");
}

function valueText(value: unknown): string {
  if (typeof value === "string") return value === "" || /[ "=\n]/.test(value) ? JSON.stringify(value) : value;
  return JSON.stringify(value) ?? "";
}

/** after is the first moment after a time, to the nanosecond, which Date does not know. */
export function after(time: string): string {
  const [head = "", rest = ""] = time.replace(/Z$/, "").split(".");
  const n = Number(rest.padEnd(9, "0").slice(0, 9)) + 1;
  return n < 1e9 ? `${head}.${String(n).padStart(9, "0")}Z` : new Date(+new Date(time) + 1).toISOString();
}

/** quoted is a value as the query language writes it. */
export const quoted = (value: string) =>
  /^[A-Za-z_][\w./-]*$/.test(value) && !/^(and|or|not|by|true|false)$/i.test(value) ? value : '"' + value.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n").replace(/\r/g, "\\r").replace(/\t/g, "\\t") + '"';

/** parts cuts a query at its first bar: what chooses rows, and what is made of them. */
export function parts(query: string): [where: string, then: string] {
  let inside = false;
  for (let i = 0; i < query.length; i++) {
    if (query[i] === "\\" && inside) i++;
    else if (query[i] === '"') inside = !inside;
    else if (query[i] === "|" && !inside) return [query.slice(0, i).trim(), query.slice(i).trim()];
  }
  return [query.trim(), ""];
}

/** every joins conditions that must all hold. */
export function every(...conditions: string[]): string {
  const all = conditions.filter((c) => c);
  return all.length === 1 ? all[0]! : all.map((c) => (/ or /i.test(c) ? `(${c})` : c)).join(" and ");
}

/** anyOf says that a field has one of some values. */
export const anyOf = (field: string, values: string[]) => values.map((v) => `${field} = ${quoted(v)}`).join(" or ");
