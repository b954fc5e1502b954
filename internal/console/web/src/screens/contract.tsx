// The contract of a service, rendered, with a form that tries an operation through the gateway.
import { useMemo, useState } from "preact/hooks";
import { Problem, post } from "../api";
import { useAsk } from "../live";
import { example, readContract, typeOf, type Contract, type Operation, type Schema } from "../openapi";
import { duration } from "../time";
import { href, param, set } from "../url";
import { Answer, Card, Copy, Empty, Failed, Mark } from "../ui/basic";
import type { GatewayRoute, Route, Service } from "../types";
import "./contract.css";

export default function ContractOf({ service }: { service: Service }) {
  const doc = useAsk<unknown>(service.api ? `/v1/services/${encodeURIComponent(service.service)}/contract` : null);
  const contract = useMemo(() => (doc.data === undefined ? undefined : readContract(doc.data)), [doc.data]);
  if (!service.api) {
    return (
      <Card>
        <Empty title={`${service.service} has no contract`}>
          Name an OpenAPI document in its manifest: <code>api: openapi.yaml</code>. Calls of sagas are then checked against it, and it can be tried here.
        </Empty>
      </Card>
    );
  }
  return (
    <Answer of={{ ...doc, data: contract }}>
      {(c) => (
        <>
          <p class="muted contract-intro">
            {c.text} <code>{service.api}</code> {c.version && <span class="tag">version {c.version}</span>}
          </p>
          {c.operations.length ? <Operations c={c} service={service} /> : <Card><Empty title="The contract has no operation">Describe some under <code>paths</code>.</Empty></Card>}
        </>
      )}
    </Answer>
  );
}

function Operations({ c, service }: { c: Contract; service: Service }) {
  const open = param("op");
  return (
    <Card flush>
      <ul class="contract-list">
        {c.operations.map((op) => (
          <li key={op.id}>
            <button type="button" class="contract-op" aria-expanded={open === op.id} onClick={() => set({ op: open === op.id ? undefined : op.id })}>
              <b class={`method ${op.method}`}>{op.method}</b>
              <code>{op.path}</code>
              <span class="muted">{op.summary}</span>
              {op.deprecated && <span class="tag">deprecated</span>}
            </button>
            {open === op.id && <Detail c={c} op={op} service={service} />}
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Detail({ c, op, service }: { c: Contract; op: Operation; service: Service }) {
  return (
    <div class="contract-detail">
      <div>
        {op.description && <p>{op.description}</p>}
        {op.parameters.length > 0 && (
          <>
            <h3>Parameters</h3>
            <dl class="facts">
              {op.parameters.map((p) => (
                <>
                  <dt key={p.in + p.name}>
                    <code>{p.name}</code>
                    {p.required && <sup title="required">*</sup>}
                  </dt>
                  <dd>
                    <span class="muted">
                      {p.in}, {typeOf(p.schema ?? {})}
                    </span>{" "}
                    {p.description}
                  </dd>
                </>
              ))}
            </dl>
          </>
        )}
        {op.body && (
          <>
            <h3>Body</h3>
            {Object.entries(op.body.content).map(([media, m]) => (
              <div key={media}>
                <span class="tag">{media}</span>
                <Shape c={c} schema={m.schema} />
              </div>
            ))}
          </>
        )}
        <h3>Answers</h3>
        {op.responses.map((r) => (
          <details key={r.status} open={r.status.startsWith("2")}>
            <summary>
              <b>{r.status}</b> <span class="muted">{r.description}</span>
            </summary>
            {Object.entries(r.content).map(([media, m]) => (
              <div key={media}>
                <span class="tag">{media}</span>
                <Shape c={c} schema={m.schema} />
              </div>
            ))}
          </details>
        ))}
      </div>
      <Try c={c} op={op} service={service} />
    </div>
  );
}

/** Shape is a schema as an indented list. */
function Shape({ c, schema, depth = 0 }: { c: Contract; schema?: Schema; depth?: number }) {
  const s = c.resolve(schema);
  if (depth > 4) return <span class="muted">…</span>;
  const several = (s.oneOf ?? s.anyOf ?? s.allOf) as Schema[] | undefined;
  if (several) return <div class="shape">{several.map((one, i) => <Shape key={i} c={c} schema={one} depth={depth + 1} />)}</div>;
  if (s.type === "array" || s.items) {
    return (
      <div class="shape">
        <span class="muted">list of</span> <Shape c={c} schema={s.items} depth={depth + 1} />
      </div>
    );
  }
  if (!s.properties) {
    return (
      <span class="muted">
        {typeOf(s)} {s.enum && s.enum.map((v) => JSON.stringify(v)).join(", ")} {s.description}
      </span>
    );
  }
  return (
    <ul class="shape">
      {Object.entries(s.properties).map(([name, p]) => {
        const of = c.resolve(p);
        const deep = of.properties || of.items || of.oneOf || of.anyOf || of.allOf;
        return (
          <li key={name}>
            <code>{name}</code>
            {s.required?.includes(name) && <sup title="required">*</sup>}{" "}
            {deep ? (
              <>
                <span class="muted">{of.description ?? typeOf(of)}</span>
                <Shape c={c} schema={p} depth={depth + 1} />
              </>
            ) : (
              <Shape c={c} schema={p} depth={depth + 1} />
            )}
          </li>
        );
      })}
    </ul>
  );
}

/** throughGateway is the path by which the gateway leads to a path of the service; undefined where no route does. */
function throughGateway(path: string, method: string, routes: Route[]): { path: string; route: Route } | undefined {
  for (const route of routes) {
    if (route.methods?.length && !route.methods.includes(method)) continue;
    const rest = route.rewrite ? (path.startsWith(route.rewrite) ? path.slice(route.rewrite.length) : undefined) : path;
    if (rest === undefined) continue;
    const outside = (route.strip ?? "") + rest;
    const pattern = route.path.split("/");
    const parts = outside.split("/");
    const fits = pattern.every((p, i) => (p === "**" ? true : p === "*" || /^\{.*\}$/.test(parts[i] ?? "") ? parts[i] !== undefined : p === parts[i])) && (pattern.at(-1) === "**" || pattern.length === parts.length);
    if (fits) return { path: outside, route };
  }
  return undefined;
}

interface Tried {
  status: number;
  headers: Record<string, string[]>;
  body?: string;
  base64?: string;
  cut?: boolean;
  took_ns: number;
  trace_id: string;
}

function Try({ c, op, service }: { c: Contract; op: Operation; service: Service }) {
  const all = useAsk<{ routes: GatewayRoute[] }>("/v1/routes");
  const way = throughGateway(op.path, op.method, all.data?.routes.filter((r) => r.kind === "service" && r.to === service.service) ?? service.routes);
  const media = op.body ? Object.keys(op.body.content) : [];
  const [values, setValues] = useState<Record<string, string>>(() => Object.fromEntries(op.parameters.filter((p) => p.required).map((p) => [p.in + p.name, String(p.example ?? example(c, p.schema) ?? "")])));
  const [kind, setKind] = useState(media.find((m) => m.includes("json")) ?? media[0] ?? "");
  const [body, setBody] = useState(() => {
    const m = op.body?.content[kind];
    if (!m) return "";
    const v = m.example ?? example(c, m.schema);
    return kind.includes("json") ? JSON.stringify(v, null, 2) : kind.includes("urlencoded") ? new URLSearchParams(v as Record<string, string>).toString() : typeof v === "string" ? v : "";
  });
  const [headers, setHeaders] = useState("");
  const [busy, setBusy] = useState(false);
  const [answer, setAnswer] = useState<Tried>();
  const [failed, setFailed] = useState<Problem>();
  if (!way) {
    return (
      <aside class="contract-try">
        <h3>Try it</h3>
        <p class="muted">
          No route of the gateway leads here, so it cannot be tried from outside. A route would stand in atoll.yaml: <code>{`{path: ${op.path.replace(/\{[^}]*\}/g, "*")}, to: ${service.service}}`}</code>
        </p>
      </aside>
    );
  }
  let path = way.path.replace(/\{([^}]+)\}/g, (_, name: string) => encodeURIComponent(values["path" + name] ?? ""));
  const query = op.parameters.filter((p) => p.in === "query" && values["query" + p.name]).map((p) => `${encodeURIComponent(p.name)}=${encodeURIComponent(values["query" + p.name]!)}`);
  if (query.length) path += "?" + query.join("&");
  const send = async () => {
    setBusy(true);
    setFailed(undefined);
    const sent: Record<string, string> = {};
    if (op.body && body) sent["Content-Type"] = kind;
    for (const p of op.parameters) if (p.in === "header" && values["header" + p.name]) sent[p.name] = values["header" + p.name]!;
    for (const line of headers.split("\n")) {
      const at = line.indexOf(":");
      if (at > 0) sent[line.slice(0, at).trim()] = line.slice(at + 1).trim();
    }
    try {
      setAnswer(await post<Tried>("/v1/try", { method: op.method, path, host: way.route.host?.startsWith("*") ? undefined : way.route.host, headers: sent, body: op.body ? body : undefined }));
    } catch (e) {
      setFailed(e as Problem);
    }
    setBusy(false);
  };
  return (
    <aside class="contract-try">
      <h3>Try it</h3>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          send();
        }}
      >
        {op.parameters
          .filter((p) => p.in !== "cookie")
          .map((p) => (
            <label key={p.in + p.name} class="field">
              <span>
                {p.name} <span class="muted">{p.in}</span>
              </span>
              {p.schema?.enum ? (
                <select value={values[p.in + p.name] ?? ""} onChange={(e) => setValues({ ...values, [p.in + p.name]: e.currentTarget.value })}>
                  {!p.required && <option value="">–</option>}
                  {p.schema.enum.map((v) => (
                    <option key={String(v)}>{String(v)}</option>
                  ))}
                </select>
              ) : (
                <input required={p.required && p.in === "path"} value={values[p.in + p.name] ?? ""} onInput={(e) => setValues({ ...values, [p.in + p.name]: e.currentTarget.value })} />
              )}
            </label>
          ))}
        {op.body && (
          <label class="field">
            <span>
              Body{" "}
              {media.length > 1 ? (
                <select aria-label="Kind of body" value={kind} onChange={(e) => setKind(e.currentTarget.value)}>
                  {media.map((m) => (
                    <option key={m}>{m}</option>
                  ))}
                </select>
              ) : (
                <span class="muted">{kind}</span>
              )}
            </span>
            <textarea value={body} spellcheck={false} onInput={(e) => setBody(e.currentTarget.value)} />
          </label>
        )}
        <details>
          <summary class="muted">Headers{way.route.auth?.length ? `: the route asks for ${way.route.auth.join(" or ")}` : ""}</summary>
          <textarea aria-label="Headers, one a line" class="contract-headers" placeholder={"Authorization: Bearer …"} value={headers} onInput={(e) => setHeaders(e.currentTarget.value)} />
        </details>
        <div class="contract-send">
          <button type="submit" class="primary" disabled={busy}>
            {busy ? "Sending …" : "Send"}
          </button>
          <code class="cut" title={path}>
            {op.method} {path}
          </code>
        </div>
      </form>
      {failed && <Failed error={failed} />}
      {answer && <Result a={answer} />}
    </aside>
  );
}

function Result({ a }: { a: Tried }) {
  const kind = a.headers["Content-Type"]?.[0] ?? "";
  let body = a.body ?? "";
  if (kind.includes("json")) {
    try {
      body = JSON.stringify(JSON.parse(body), null, 2);
    } catch {
      // It says that it is JSON, and is shown as it came.
    }
  }
  return (
    <div class="contract-result" aria-live="polite">
      <div class="actions">
        <Mark tone={a.status < 400 ? "ok" : a.status < 500 ? "warn" : "bad"}>{a.status}</Mark>
        <span class="muted">{duration(a.took_ns)}</span>
        <a href={href("/trace/" + a.trace_id)}>Its trace</a>
        <Copy text={body} label="Copy body" />
      </div>
      <pre class="json">{a.base64 ? `${Math.floor((a.base64.length * 3) / 4)} bytes that are no text` : body || "(no body)"}</pre>
      {a.cut && <p class="muted">Only the first megabyte is shown.</p>}
      <details>
        <summary class="muted">Headers</summary>
        <dl class="facts">
          {Object.entries(a.headers).map(([name, all]) => (
            <>
              <dt key={name}>{name}</dt>
              <dd>{all.join(", ")}</dd>
            </>
          ))}
        </dl>
      </details>
    </div>
  );
}
