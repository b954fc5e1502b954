// What the console reads of an OpenAPI document (3.0 or 3.1): its operations, with references resolved as they are looked at.

export type Schema = Record<string, unknown> & { $ref?: string; type?: string | string[]; properties?: Record<string, Schema>; items?: Schema; required?: string[]; enum?: unknown[]; description?: string };

interface Parameter {
  name: string;
  in: "path" | "query" | "header" | "cookie";
  required?: boolean;
  description?: string;
  schema?: Schema;
  example?: unknown;
}

export interface Operation {
  id: string; // method and path
  method: string;
  path: string;
  summary?: string;
  description?: string;
  deprecated?: boolean;
  parameters: Parameter[];
  body?: { required?: boolean; description?: string; content: Record<string, { schema?: Schema; example?: unknown }> };
  responses: { status: string; description?: string; content: Record<string, { schema?: Schema }> }[];
}

export interface Contract {
  title: string;
  version: string;
  text: string;
  operations: Operation[];
  resolve: (s: Schema | undefined) => Schema;
}

type Obj = Record<string, unknown>;
const obj = (v: unknown): Obj => (v && typeof v === "object" && !Array.isArray(v) ? (v as Obj) : {});
const str = (v: unknown): string | undefined => (typeof v === "string" ? v : undefined);

/** readContract reads a document; what it does not understand it leaves out. */
export function readContract(doc: unknown): Contract {
  const root = obj(doc);
  const deref = (v: unknown, depth = 0): Obj => {
    const o = obj(v);
    const ref = str(o.$ref);
    if (!ref || depth > 16) return o;
    if (!ref.startsWith("#/")) return o;
    let at: unknown = root;
    for (const part of ref.slice(2).split("/")) at = obj(at)[part.replaceAll("~1", "/").replaceAll("~0", "~")];
    return deref(at, depth + 1);
  };
  const operations: Operation[] = [];
  for (const [path, item] of Object.entries(obj(root.paths))) {
    const shared = Array.isArray(obj(item).parameters) ? (obj(item).parameters as unknown[]) : [];
    for (const method of ["get", "post", "put", "patch", "delete", "head", "options"]) {
      const op = obj(deref(item)[method]);
      if (!Object.keys(op).length) continue;
      const own = Array.isArray(op.parameters) ? (op.parameters as unknown[]) : [];
      const parameters = new Map<string, Parameter>();
      for (const p of [...shared, ...own].map((p) => deref(p))) {
        const name = str(p.name);
        const where = str(p.in);
        if (name && where && ["path", "query", "header", "cookie"].includes(where)) {
          parameters.set(where + name, { name, in: where as Parameter["in"], required: p.required === true, description: str(p.description), schema: deref(p.schema) as Schema, example: p.example });
        }
      }
      const body = op.requestBody ? deref(op.requestBody) : undefined;
      operations.push({
        id: `${method.toUpperCase()} ${path}`,
        method: method.toUpperCase(),
        path,
        summary: str(op.summary),
        description: str(op.description),
        deprecated: op.deprecated === true,
        parameters: [...parameters.values()],
        body: body && { required: body.required === true, description: str(body.description), content: obj(body.content) as never },
        responses: Object.entries(obj(op.responses)).map(([status, r]) => ({ status, description: str(deref(r).description), content: obj(deref(r).content) as never })),
      });
    }
  }
  const info = obj(root.info);
  return {
    title: str(info.title) ?? "",
    version: str(info.version) ?? "",
    text: str(info.description) ?? str(info.summary) ?? "",
    operations,
    resolve: (s) => deref(s) as Schema,
  };
}

export function typeOf(s: Schema): string {
  const type = Array.isArray(s.type) ? s.type.join(" or ") : (s.type ?? (s.properties ? "object" : s.enum ? "one of" : s.oneOf || s.anyOf || s.allOf ? "one of several" : "any"));
  const format = str(s.format);
  return format ? `${type} (${format})` : type;
}

/** example is a value that fits a schema, as far as it can be told. */
export function example(c: Contract, schema: Schema | undefined, depth = 0, name = ""): unknown {
  if (depth > 8) return null; // a schema may go on for ever
  const s = c.resolve(schema);
  if (s.example !== undefined) return s.example;
  if (Array.isArray(s.examples) && s.examples.length) return s.examples[0];
  if (s.default !== undefined) return s.default;
  if (s.const !== undefined) return s.const;
  if (s.enum?.length) return s.enum[0];
  const first = (s.oneOf ?? s.anyOf) as Schema[] | undefined;
  if (first?.length) return example(c, first[0], depth + 1);
  if (Array.isArray(s.allOf)) return Object.assign({}, ...(s.allOf as Schema[]).map((p) => example(c, p, depth + 1)));
  const type = Array.isArray(s.type) ? s.type.find((t) => t !== "null") : s.type;
  if (type === "object" || s.properties) {
    if (depth > 5) return {};
    const wanted = Object.entries(s.properties ?? {}).filter(([name], i) => s.required?.includes(name) || (!s.required?.length && i < 6));
    return Object.fromEntries(wanted.map(([name, p]) => [name, example(c, p, depth + 1, name)]));
  }
  switch (type) {
    case "array":
      return depth > 5 ? [] : [example(c, s.items, depth + 1)];
    case "integer":
    case "number":
      return typeof s.minimum === "number" ? s.minimum : 1;
    case "boolean":
      return true;
    case "null":
      return null;
  }
  switch (s.format ?? (/e-?mail/.test(name) ? "email" : "")) {
    case "email":
      return "ann@example.com";
    case "date":
      return new Date().toISOString().slice(0, 10);
    case "date-time":
      return new Date().toISOString();
    case "uuid":
      return "00000000-0000-4000-8000-000000000000";
    case "uri":
      return "https://example.com/";
  }
  return "text";
}
