// Events: topics, subscriptions, dead letters, delayed events, webhooks, and what is stored.
import { useState } from "preact/hooks";
import { post } from "../api";
import { useLive } from "../live";
import { bytes, count, local, plural, rate } from "../time";
import { href, param, set } from "../url";
import { Answer, Card, Empty, Mark, Page, Service, Tabs, Time, toneOf } from "../ui/basic";
import { notify } from "../ui/notices";
import { Table } from "../ui/table";
import type { Bus, Replayed, Subscription, Topic } from "../types";
import { Dead } from "./eventsdead";
import { Delayed } from "./eventsdelayed";
import { Stored } from "./eventsstored";
import { Webhooks } from "./webhooks";
import { Confirm } from "../ui/confirm";
import "./events.css";

type Tab = "topics" | "subscriptions" | "dead" | "delayed" | "webhooks" | "events";

export default function Events() {
  const bus = useLive<Bus>("1s /v1/bus");
  const tab = (["topics", "subscriptions", "dead", "delayed", "webhooks", "events"] as Tab[]).find((t) => t === param("tab")) ?? "topics";
  const n = (x: number | undefined, bad = false) => (x ? <span class={`badge ${bad ? "bad" : ""}`}>{count(x)}</span> : null);
  const b = bus.data;
  const late = b?.subscriptions.filter((s) => s.state !== "delivering" || s.failing > 0).length;
  const tabs = [
    ["topics", "Topics"],
    ["subscriptions", <>Subscriptions {n(late)}</>],
    ["dead", <>Dead letters {n(b?.dead, true)}</>],
    ["delayed", <>Delayed {n(b?.delayed)}</>],
    ["webhooks", "Webhooks"],
    ["events", "Stored events"],
  ] as const;
  return (
    <Page title="Events" sub={b && `${plural(b.log.events, "event")} kept, ${bytes(b.log.bytes)}${b.topics.length ? `, ${rate(b.topics.reduce((x, t) => x + t.rate, 0))} a second now` : ""}`}>
      <Tabs label="What of the events" tabs={tabs} now={tab} onPick={(t) => set({ tab: t === "topics" ? undefined : t, offset: undefined, topic: undefined, subscription: undefined })} />
      <div role="tabpanel" aria-label={tab} class="events-panel">
        {tab === "topics" && <Answer of={bus} rows={6}>{(b) => <Topics topics={b.topics} />}</Answer>}
        {tab === "subscriptions" && <Answer of={bus} rows={6}>{(b) => <Subscriptions bus={b} />}</Answer>}
        {tab === "dead" && <Dead bus={b} />}
        {tab === "delayed" && <Delayed n={b?.delayed ?? 0} />}
        {tab === "webhooks" && <Webhooks />}
        {tab === "events" && <Stored topics={b?.topics.map((t) => t.topic) ?? []} />}
      </div>
    </Page>
  );
}

const names = (list: string[]) =>
  list.length === 0 ? <span class="muted">nobody</span> : <span class="events-names">{list.map((s) => (s === "gateway" || s === "operator" || s.includes("/") ? <span key={s}>{s}</span> : <Service key={s} name={s} />))}</span>;

function Topics({ topics }: { topics: Topic[] }) {
  if (topics.length === 0) {
    return (
      <Card>
        <Empty title="There is no topic yet">
          Add <code>publishes: [order.placed]</code> to a service.yaml, and <code>subscribes</code> to another. Topics appear here by themselves.
        </Empty>
      </Card>
    );
  }
  return (
    <Card flush>
      <Table
        name="topics"
        label="Topics"
        rows={topics}
        id={(t) => t.topic}
        link={(t) => href("/events", { tab: "events", topic: t.topic })}
        cols={[
          {
            key: "topic",
            head: "Topic",
            sort: (t) => t.topic,
            cell: (t) => (
              <div class="events-topic">
                <a href={href("/events", { tab: "events", topic: t.topic })}>{t.topic}</a>
                <small class="muted">{t.summary}</small>
              </div>
            ),
          },
          { key: "rate", head: "Rate", num: true, sort: (t) => t.rate, cell: (t) => (t.rate > 0 ? `${rate(t.rate)}/s` : <span class="muted">0</span>) },
          { key: "published", head: "Published", num: true, sort: (t) => t.published, cell: (t) => <span title="since Atoll started">{count(t.published)}</span> },
          { key: "from", head: "Publishers", min: "s", cell: (t) => names(t.publishers) },
          { key: "to", head: "Subscribers", min: "s", cell: (t) => names(t.subscribers) },
          { key: "schema", head: "Contract", min: "m", cell: (t) => (t.schema ? <Mark tone="ok">checked</Mark> : <Mark tone="off">none</Mark>) },
        ]}
      />
    </Card>
  );
}

function Subscriptions({ bus }: { bus: Bus }) {
  const [again, setAgain] = useState<Subscription>();
  if (bus.subscriptions.length === 0) {
    return (
      <Card>
        <Empty title="Nobody subscribes yet">
          Add <code>{"subscribes: {order.placed: /events/order-placed}"}</code> to a service.yaml: the events are posted to that path.
        </Empty>
      </Card>
    );
  }
  return (
    <Card flush>
      <Table
        name="subs"
        label="Subscriptions"
        rows={bus.subscriptions}
        id={(s) => s.subscription}
        cols={[
          {
            key: "name",
            head: "Subscription",
            sort: (s) => s.subscription,
            cell: (s) => {
              const [service = "", topic] = s.subscription.split(/\/(.*)/);
              return service === "webhook" ? (
                <a href={href("/events", { tab: "webhooks", hook: topic })}>{s.subscription}</a>
              ) : (
                <span class="events-sub">
                  <Service name={service} /> <span class="muted">{topic}</span>
                </span>
              );
            },
          },
          { key: "state", head: "State", sort: (s) => s.state, cell: (s) => <Mark tone={toneOf(s.state)}>{s.state}</Mark> },
          { key: "waiting", head: "Lag", num: true, sort: (s) => s.waiting, cell: (s) => <span class={s.waiting ? "" : "muted"}>{count(s.waiting)}</span> },
          { key: "oldest", head: "Oldest", num: true, min: "m", cell: (s) => (s.oldest && s.waiting > 0 ? <Time at={s.oldest} relative /> : <span class="muted">–</span>) },
          { key: "flight", head: "In flight", num: true, min: "m", sort: (s) => s.in_flight, cell: (s) => <span class={s.in_flight ? "" : "muted"}>{s.in_flight}</span> },
          { key: "failing", head: "Failing", num: true, sort: (s) => s.failing, cell: (s) => (s.failing ? <a class="bad-text" href={href("/logs", { service: s.subscription.split("/")[0], level: "error,warn" })}>{s.failing}</a> : <span class="muted">0</span>) },
          { key: "rate", head: "Rate", num: true, min: "m", sort: (s) => s.rate, cell: (s) => (s.rate > 0 ? `${rate(s.rate)}/s` : <span class="muted">0</span>) },
          { key: "accepted", head: "Accepted", num: true, min: "m", sort: (s) => s.accepted, cell: (s) => <span title={`${count(s.attempts)} attempts, ${count(s.failed)} of them failed, since Atoll started`}>{count(s.accepted)}</span> },
          { key: "dead", head: "Dead", num: true, sort: (s) => s.dead, cell: (s) => (s.dead ? <a class="bad-text" href={href("/events", { tab: "dead", subscription: s.subscription })}>{count(s.dead)}</a> : <span class="muted">0</span>) },
          {
            key: "act",
            head: "Act",
            num: true,
            cell: (s) => (
              <button type="button" class="quiet" aria-label={`Replay to ${s.subscription}`} onClick={() => setAgain(s)}>
                Replay
              </button>
            ),
          },
        ]}
      />
      {again && <Replay s={again} first={bus.log.first} next={bus.log.next} onClose={() => setAgain(undefined)} />}
    </Card>
  );
}

/** Replay delivers what is kept to one subscription again; it says first how much that is. */
function Replay({ s, first, next, onClose }: { s: Subscription; first: number; next: number; onClose: () => void }) {
  const [by, setBy] = useState<"time" | "offset">("time");
  const [time, setTime] = useState(() => local(new Date(Date.now() - 3600_000)));
  const [offset, setOffset] = useState(String(first));
  const [found, setFound] = useState<Replayed>();
  const at = new Date(time);
  const body = { subscription: s.subscription, ...(by === "time" ? { time: isNaN(+at) ? undefined : at.toISOString() } : { offset: Number(offset) }) };
  const change = (f: () => void) => {
    f();
    setFound(undefined);
  };
  return (
    <Confirm
      title={`Replay to ${s.subscription}`}
      verb={found ? `Replay ${plural(found.events, "event")}${found.more ? " or more" : ""}` : "Count them first"}
      ready={found ? found.events > 0 : by === "time" ? !isNaN(+at) : Number(offset) > 0}
      stay={!found}
      onClose={onClose}
      does={async () => {
        if (!found) return setFound(await post<Replayed>("/v1/bus/replay", { ...body, dry_run: true }));
        const r = await post<Replayed>("/v1/bus/replay", body);
        notify(`${plural(r.events, "event")}${r.more ? " or more" : ""} from offset ${r.from} on go to ${s.subscription} again`);
      }}
    >
      <p class="muted">The events of {s.topics.join(", ")} that are kept are delivered to this subscription again, in order. A service that keeps an inbox takes each once; another does its work a second time.</p>
      <div class="seg" role="group" aria-label="From where">
        <button type="button" aria-pressed={by === "time"} onClick={() => change(() => setBy("time"))}>
          From a time
        </button>
        <button type="button" aria-pressed={by === "offset"} onClick={() => change(() => setBy("offset"))}>
          From an offset
        </button>
      </div>
      {by === "time" ? (
        <label class="field">
          Stored at or after
          <input type="datetime-local" step="1" value={time} onInput={(e) => change(() => setTime(e.currentTarget.value))} />
        </label>
      ) : (
        <label class="field">
          Offset, from {first} to {next - 1}
          <input type="number" min={first} max={next - 1} value={offset} onInput={(e) => change(() => setOffset(e.currentTarget.value))} />
        </label>
      )}
      {found && (
        <p role="status">
          <b>
            {plural(found.events, "event")}
            {found.more ? " or more" : ""}
          </b>{" "}
          {found.events ? `from offset ${found.from} on would be delivered.` : "would be delivered: begin earlier."}
        </p>
      )}
    </Confirm>
  );
}
