// Dead letters: what a subscription has given up, why, and what a person does with it.
import { useEffect, useState } from "preact/hooks";
import { get, post, Problem, q } from "../api";
import { useAsk, useLive } from "../live";
import { duration, plural } from "../time";
import { param, set } from "../url";
import { Answer, Card, Dialog, Empty, Failed, Time } from "../ui/basic";
import { notify } from "../ui/notices";
import { picking, Table } from "../ui/table";
import type { Bus, DeadLetter, Settled } from "../types";
import { base64, EventView, settledText } from "./eventparts";
import { Confirm, json } from "../ui/confirm";

const page = 100;

interface Letters {
  dead_letters: DeadLetter[];
  next?: number;
}

type What = { do: "replay" | "drop"; offsets?: number[]; n: number };

export function Dead({ bus }: { bus?: Bus }) {
  const sub = param("subscription");
  const topic = param("topic");
  const first = useLive<Letters>("2s /v1/bus/dead" + q({ subscription: sub, topic, limit: page }));
  const [more, setMore] = useState<Letters & { error?: Problem }>();
  const [picked, setPicked] = useState<Set<number>>(new Set());
  const [doing, setDoing] = useState<What>();
  const open = param("offset");
  useEffect(() => {
    setMore(undefined);
    setPicked(new Set());
  }, [sub, topic]);
  const have = new Set(first.data?.dead_letters.map((d) => d.offset));
  const rows = [...(first.data?.dead_letters ?? []), ...(more?.dead_letters ?? []).filter((d) => !have.has(d.offset))];
  const next = more ? more.next : first.data?.next;
  const ask = async () => {
    try {
      const got = await get<Letters>("/v1/bus/dead" + q({ subscription: sub, topic, from: next, limit: 500 }));
      setMore({ dead_letters: [...(more?.dead_letters ?? []), ...got.dead_letters], next: got.next });
    } catch (e) {
      setMore({ dead_letters: more?.dead_letters ?? [], next, error: e as Problem });
    }
  };
  const toggle = (list: number[], on: boolean) => setPicked((was) => picking(was, list, on));
  const subs = bus?.subscriptions.map((s) => s.subscription) ?? [];
  const fits = sub || topic ? "that fit" : "of them";
  return (
    <Card
      flush
      title="Dead letters"
      actions={
        <div class="events-filter">
          <select aria-label="Subscription" value={sub} onChange={(e) => set({ subscription: e.currentTarget.value })}>
            <option value="">all subscriptions</option>
            {[...new Set([...subs, ...(sub ? [sub] : [])])].map((s) => (
              <option key={s}>{s}</option>
            ))}
          </select>
          <select aria-label="Topic" value={topic} onChange={(e) => set({ topic: e.currentTarget.value })}>
            <option value="">all topics</option>
            {[...new Set([...(bus?.topics.map((t) => t.topic) ?? []), ...(topic ? [topic] : [])])].map((t) => (
              <option key={t}>{t}</option>
            ))}
          </select>
          {rows.length > 0 && (
            <>
              <button type="button" onClick={() => setDoing({ do: "replay", n: next ? -1 : rows.length })}>
                Replay all {fits}
              </button>
              <button type="button" class="danger" onClick={() => setDoing({ do: "drop", n: next ? -1 : rows.length })}>
                Drop all {fits}
              </button>
            </>
          )}
        </div>
      }
    >
      {picked.size > 0 && (
        <div class="picked" role="group" aria-label="What is selected">
          <b>{picked.size} selected</b>
          <button type="button" onClick={() => setDoing({ do: "replay", offsets: [...picked], n: picked.size })}>
            Replay
          </button>
          <button type="button" class="danger" onClick={() => setDoing({ do: "drop", offsets: [...picked], n: picked.size })}>
            Drop
          </button>
          <button type="button" class="quiet" onClick={() => setPicked(new Set())}>
            Select none
          </button>
        </div>
      )}
      <Answer of={first} rows={5}>
        {() =>
          rows.length === 0 ? (
            <Empty title={sub || topic ? "No dead letter fits" : "There is no dead letter"}>
              {sub || topic ? (
                <button type="button" onClick={() => set({ subscription: undefined, topic: undefined })}>
                  Show all
                </button>
              ) : (
                "An event that a subscriber refuses, or does not take after all attempts, is kept here until you replay or drop it."
              )}
            </Empty>
          ) : (
            <Table
              name="dead"
              label="Dead letters"
              rows={rows}
              id={(d) => String(d.offset)}
              cols={[
                {
                  key: "pick",
                  head: <input type="checkbox" aria-label="Select all that are shown" checked={rows.every((r) => picked.has(r.offset))} onChange={(e) => toggle(rows.map((r) => r.offset), e.currentTarget.checked)} />,
                  cell: (d) => <input type="checkbox" aria-label={`Select dead letter ${d.offset}`} checked={picked.has(d.offset)} onChange={(e) => toggle([d.offset], e.currentTarget.checked)} />,
                },
                { key: "sub", head: "Subscription", cell: (d) => <button type="button" class="events-open" onClick={() => set({ offset: String(d.offset) })}>{d.subscription}</button> },
                { key: "cause", head: "Cause", cell: (d) => <div class="two-lines"><b>{d.cause}</b> {last(d)}</div> },
                { key: "failed", head: "Attempts", num: true, min: "s", cell: (d) => d.failed },
                { key: "key", head: "Event", min: "m", cell: (d) => <span class="mono events-id cut">{d.event.id}</span> },
                { key: "stored", head: "Stored", num: true, min: "m", cell: (d) => <Time at={d.stored} relative /> },
                { key: "died", head: "Given up", num: true, cell: (d) => <Time at={d.died} relative /> },
              ]}
            />
          )
        }
      </Answer>
      {next ? (
        <div class="more-row">
          <button type="button" onClick={ask}>
            More
          </button>
        </div>
      ) : null}
      {more?.error && <Failed error={more.error} again={ask} />}
      {open && <Letter offset={open} onClose={() => set({ offset: undefined })} onDo={(w) => { set({ offset: undefined }); setDoing(w); }} />}
      {doing && (
        <Confirm
          title={`${doing.do === "replay" ? "Replay" : "Drop"} ${doing.n < 0 ? "all dead letters" : plural(doing.n, "dead letter")}`}
          verb={doing.do === "replay" ? "Replay" : "Drop"}
          danger={doing.do === "drop"}
          onClose={() => setDoing(undefined)}
          does={async () => {
            const body = doing.offsets ? { offsets: doing.offsets } : { all: true, subscription: sub || undefined, topic: topic || undefined };
            const s = await post<Settled>("/v1/bus/dead/" + doing.do, body);
            notify(settledText(doing.do === "replay" ? "delivered again" : "dropped", s), s.failed?.[0]?.fault.text, !!s.failed?.length);
            setPicked(new Set());
            setMore(undefined);
          }}
        >
          <p>{doing.do === "replay" ? "Each is delivered to its own subscription again. What fails again comes back here." : "They are gone for good: nobody gets these events any more."}</p>
          {!doing.offsets && (
            <p class="muted">
              {doing.n < 0 ? "More than are shown here" : plural(doing.n, "dead letter")}
              {sub && `, of ${sub}`}
              {topic && `, of the topic ${topic}`}
            </p>
          )}
        </Confirm>
      )}
    </Card>
  );
}

const last = (d: DeadLetter) => {
  const a = d.attempts?.at(-1);
  return a ? [a.status, said(a.text)].filter(Boolean).join(" ") : "";
};

/** said is what an answer says to a person: of a problem document its detail. */
function said(text = ""): string {
  if (!text.startsWith("{")) return text;
  try {
    const p = JSON.parse(text) as Record<string, unknown>;
    return String(p.detail ?? p.error ?? p.message ?? p.title ?? text);
  } catch {
    return text;
  }
}

/** Letter is one dead letter: why it died, its event, and its data to be mended. */
function Letter({ offset, onClose, onDo }: { offset: string; onClose: () => void; onDo: (w: What) => void }) {
  const got = useAsk<DeadLetter>("/v1/bus/dead/" + encodeURIComponent(offset), true);
  const [text, setText] = useState<string>();
  const [busy, setBusy] = useState(false);
  const [failed, setFailed] = useState<Problem>();
  const d = got.data;
  const isJSON = d ? d.event.data !== undefined : true;
  const read = text !== undefined && isJSON ? json(text) : {};
  const replay = async () => {
    setBusy(true);
    setFailed(undefined);
    try {
      const s = await post<Settled>("/v1/bus/dead/replay", { offsets: [Number(offset)], data: base64(text!) });
      const fault = s.failed?.[0]?.fault;
      if (fault) return setFailed(new Problem(fault.code, fault.text, fault.remedy ?? "", 0));
      notify("It is delivered again, with your data");
      onClose();
    } catch (e) {
      setFailed(e as Problem);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title={`Dead letter ${offset}`} onClose={onClose} wide>
      <Answer of={got}>
        {(d) => (
          <>
            <dl class="facts">
              <dt>Subscription</dt>
              <dd>{d.subscription}</dd>
              <dt>Topic</dt>
              <dd>
                {d.topic}, offset {d.origin}
              </dd>
              <dt>Cause</dt>
              <dd class="bad-text">{d.cause}</dd>
              <dt>Stored</dt>
              <dd>
                <Time at={d.stored} millis />, given up <Time at={d.died} millis />
              </dd>
            </dl>
            <h3>{plural(d.failed, "attempt")}</h3>
            {(d.attempts ?? []).length > 0 && (
              <Table
                name="attempts"
                label="Attempts"
                rows={(d.attempts ?? []).map((a, i) => ({ ...a, i }))}
                id={(a) => String(a.i)}
                cols={[
                  { key: "time", head: "Time", cell: (a) => <Time at={a.time} millis /> },
                  { key: "status", head: "Answer", cell: (a) => <span class="events-said" title={a.text}>{a.status ? <b class="bad-text">{a.status} </b> : null}{said(a.text)}</span> },
                  { key: "replica", head: "Replica", min: "s", cell: (a) => <span class="nowrap">{a.replica ?? "–"}</span> },
                  { key: "took", head: "Took", num: true, cell: (a) => duration(a.took_ms * 1e6) },
                ]}
              />
            )}
            {text === undefined ? (
              <EventView event={d.event} />
            ) : (
              <label class="field">
                Data to deliver in the place of the event's
                <textarea rows={14} spellcheck={false} value={text} aria-invalid={!!read.wrong} onInput={(e) => setText(e.currentTarget.value)} />
              </label>
            )}
            {read.wrong && <p class="bad-text">This is no JSON: {read.wrong}</p>}
            {failed && <Failed error={failed} />}
            <div class="actions confirm-end">
              {text === undefined ? (
                <>
                  <button type="button" onClick={() => setText(isJSON ? JSON.stringify(d.event.data, null, 2) : "")}>
                    Edit the data
                  </button>
                  <button type="button" class="danger" onClick={() => onDo({ do: "drop", offsets: [d.offset], n: 1 })}>
                    Drop
                  </button>
                  <button type="button" class="primary" onClick={() => onDo({ do: "replay", offsets: [d.offset], n: 1 })}>
                    Replay
                  </button>
                </>
              ) : (
                <>
                  <button type="button" onClick={() => setText(undefined)}>
                    As it was
                  </button>
                  <button type="button" class="primary" disabled={busy || !!read.wrong} onClick={replay}>
                    Replay with this data
                  </button>
                </>
              )}
            </div>
          </>
        )}
      </Answer>
    </Dialog>
  );
}
