import { useMemo, useRef } from "preact/hooks";
import { q, type Problem } from "../api";
import { useAsk, useLive } from "../live";
import { bounds, count, moving, percent, plural, range, setRange } from "../time";
import { both, filterOf, narrowed, regionOf, regionText, stagesOf, withinText, type Region } from "../trace/querytext";
import type { Found, Heat } from "../types";
import { go, href, param, set } from "../url";
import { Answer, Card, Empty, Page } from "../ui/basic";
import { HeatMap } from "../ui/heat";
import { heatPath } from "../ui/latency";
import { Query } from "../ui/query";
import { Different, RegionForm } from "./traces_different";
import { Results } from "./traces_list";
import { Told } from "./traces_table";
import "./traces.css";

const roots = "not has parent";

/** useFresh watches a path as long as the range of time moves and the reader wants that, and asks once otherwise. What was there stays until the answer comes. */
function useFresh<T>(live: boolean, watched: string | null, asked: string | null) {
  const a = useLive<T>(live ? watched : null);
  const b = useAsk<T>(live ? null : asked);
  const now = live ? { ...a, loading: !a.data && !a.error, again: () => undefined } : b;
  const last = useRef<T | undefined>(undefined);
  if (now.data) last.current = now.data;
  return { ...now, data: now.data ?? (now.error ? undefined : last.current) };
}

export default function Traces() {
  const query = param("q");
  const filter = filterOf(query);
  const stages = stagesOf(query);
  const of = param("of", filter ? "spans" : "roots");
  const region = regionOf(param("r"));
  const errors = param("errors") === "1";
  const still = range.value.minutes === undefined;
  const live = !still && param("live") !== "off";
  const fixed = useMemo(() => {
    const { from, to } = bounds();
    return { from: from.toISOString(), to: to.toISOString() };
  }, [param("t"), live, param("round")]);
  const ends = live ? moving() : fixed;
  const chosen = both(filter, of === "roots" && roots, errors && "status = error");

  const path = heatPath(chosen, ends.from, ends.to);
  const heat = useFresh<Heat>(live, "5s " + path, path);

  const draw = (r: Region | undefined) => {
    if (!r) {
      const was = param("was");
      set({ r: undefined, was: undefined, t: was === "-" ? undefined : was || param("t") }, false);
      return;
    }
    // What is drawn over must not move away: the range stands still from now on.
    const { from, to } = heat.data ?? fixed;
    set({ r: regionText(r), t: `${from}~${to}`, was: param("was") || (still ? param("t") : param("t") || "-") }, false);
  };
  const add = (filter: string) => set({ q: narrowed(query, filter), of });
  const error = heat.error?.code === "query-invalid" ? heat.error : undefined;

  return (
    <Page
      title="Traces"
      sub="Requests, events and sagas on their way through the services."
      actions={
        still ? (
          region ? undefined : (
            <button type="button" onClick={() => setRange({ minutes: 15 })}>
              Back to now
            </button>
          )
        ) : (
          <>
            <button type="button" aria-pressed={live} onClick={() => set({ live: live ? "off" : undefined })}>
              {live ? "● Live" : "○ Live"}
            </button>
            {!live && (
              <button type="button" onClick={() => set({ round: String(Number(param("round", "0")) + 1) })}>
                Refresh
              </button>
            )}
          </>
        )
      }
    >
      <Query signal="traces" value={query} onAsk={(text) => set({ q: text, pick: undefined, n: undefined }, false)} error={error} placeholder="service = orders and duration > 250ms" />
      <Choice of={of} errors={errors} heat={heat.data} />
      {!error && (
        <Card title={of === "roots" ? "Whole requests by duration" : "Spans by duration"} actions={heat.data && <Sampled of={heat.data} />}>
          <Answer of={heat} rows={6}>
            {(h) => (h.cells.length ? <HeatMap heat={h} region={region} onRegion={draw} /> : <Nothing query={query} of={of} errors={errors} />)}
          </Answer>
          {region && <RegionForm region={region} onRegion={draw} />}
        </Card>
      )}
      {region && !error && <Different query={both(filter, of === "roots" && roots)} errors={errors} ends={fixed} region={region} onAdd={add} />}
      {!error && (stages ? <Stages query={query} narrow={both(of === "roots" && roots, errors && "status = error", region && withinText(region))} live={live && !region} ends={region ?? ends} /> : <List filter={both(chosen, region && withinText(region))} live={live && !region} ends={region ?? ends} />)}
    </Page>
  );
}

function Choice({ of, errors, heat }: { of: string; errors: boolean; heat?: Heat }) {
  return (
    <div class="tr-bar">
      <div class="seg" role="group" aria-label="What is chosen">
        <button type="button" aria-pressed={of === "roots"} onClick={() => set({ of: "roots" })} title="Spans without one around them">
          Whole requests
        </button>
        <button type="button" aria-pressed={of === "spans"} onClick={() => set({ of: "spans" })} title="Each step within the requests as well">
          All spans
        </button>
      </div>
      <label class="check">
        <input type="checkbox" checked={errors} onChange={() => set({ errors: errors ? undefined : "1" })} />
        Only with errors
      </label>
      {heat && (
        <span class="muted" role="status">
          {plural(heat.spans, of === "roots" ? "request" : "span")}
        </span>
      )}
    </div>
  );
}

function Sampled({ of }: { of: { spans: number; looked: number } }) {
  if (of.looked >= of.spans) return null;
  return (
    <span class="tag" title={`${count(of.looked)} of ${count(of.spans)} spans were looked at, the first of each sixtieth of the time.`}>
      estimated from {percent(of.looked / of.spans)}
    </span>
  );
}

function Nothing({ query, of, errors }: { query: string; of: string; errors: boolean }) {
  return (
    <Empty title={query || errors ? "Nothing was found in this time" : "No requests yet in this time"}>
      {query || errors ? (
        <>
          Take a longer range at the top
          {of === "roots" && ", or look at all spans"}
          {errors && ", or those without errors too"}. <a href={href("/traces")}>Start over</a>
        </>
      ) : (
        <>
          Send one through the gateway, and it is here a moment later: <code>atoll ps</code> tells its address. Or take a longer range at the top.
        </>
      )}
    </Empty>
  );
}

interface Asks {
  live: boolean;
  ends: { from: string; to: string };
}

function List({ filter, live, ends }: Asks & { filter: string }) {
  const n = Math.min(Number(param("n", "50")) || 50, 1000);
  const path = "/v1/traces" + q({ query: filter, from: ends.from, to: ends.to, limit: n });
  const found = useFresh<Found>(live, "3s " + path, path);
  const pick = param("pick").split(",").filter(Boolean);
  return (
    <>
      <Card flush title="Traces" actions={<span class="muted">{param("of", param("q") ? "spans" : "roots") === "spans" ? "those with the newest spans first" : "the newest first"}</span>}>
        <Answer of={found}>{(f) => <Results traces={f.traces ?? []} limit={n} pick={pick} />}</Answer>
      </Card>
      {pick.length > 0 && (
        <div class="tr-tools" role="status">
          {pick.length === 1 ? "Choose another trace to compare with." : "Two traces are chosen."}
          <button type="button" class="primary" disabled={pick.length !== 2} onClick={() => go(href(`/compare/${pick[0]}/${pick[1]}`))}>
            Compare
          </button>
          <button type="button" class="quiet" onClick={() => set({ pick: undefined })}>
            Clear
          </button>
        </div>
      )}
    </>
  );
}

function Stages({ query, narrow, live, ends }: Asks & { query: string; narrow: string }) {
  const path = "/v1/traces" + q({ query: narrowed(query, narrow), from: ends.from, to: ends.to });
  const found = useFresh<Found>(live, "5s " + path, path);
  const error: Problem | undefined = found.error;
  return (
    <Answer of={{ ...found, error }}>
      {(f) =>
        f.table ? (
          <Told table={f.table} />
        ) : (
          <Card flush title="Traces">
            <Results traces={f.traces ?? []} limit={1000} pick={[]} />
          </Card>
        )
      }
    </Answer>
  );
}
