// What is stored of the events: the newest, and those that come.
import { useEffect, useState } from "preact/hooks";
import { Problem, q, stream } from "../api";
import { useAsk } from "../live";
import { count, plural } from "../time";
import { param, set } from "../url";
import { Answer, Card, Dialog, Empty, Failed, Mark, Time } from "../ui/basic";
import { Table } from "../ui/table";
import type { StoredEvent } from "../types";
import { EventView } from "./eventparts";

const most = 500;

/** useStored follows the events; the newest come first. Held, what was there stays. */
function useStored(path: string, held: boolean) {
  const [rows, setRows] = useState<StoredEvent[]>();
  const [gone, setGone] = useState(false);
  const [failed, setFailed] = useState<Problem>();
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (held) return;
    const stop = new AbortController();
    let all: StoredEvent[] = [];
    let fresh: StoredEvent[] = [];
    let frame = 0;
    let retry = 0;
    setFailed(undefined);
    setGone(false);
    const draw = () => {
      frame = 0;
      const merged = [...fresh.reverse(), ...all];
      setGone((g) => g || merged.length > most);
      all = merged.slice(0, most);
      fresh = [];
      setRows(all);
    };
    // Where there is none, nothing comes: so it is drawn once anyway.
    const empty = setTimeout(draw, 400);
    stream<StoredEvent>(path, (e) => {
      fresh.push(e);
      if (fresh.length > 2 * most) fresh = fresh.slice(-most);
      if (!frame) frame = window.setTimeout(draw, 60);
    }, stop.signal)
      .then(() => Promise.reject(new Problem("ended", "The stream of events has ended.", "It begins again by itself.", 0)))
      .catch((e) => {
        if (stop.signal.aborted) return;
        setFailed(e as Problem);
        if (!(e instanceof Problem) || e.status === 0) retry = window.setTimeout(() => setRound((n) => n + 1), 2000);
      });
    return () => {
      stop.abort();
      clearTimeout(empty);
      clearTimeout(frame);
      clearTimeout(retry);
    };
  }, [path, round, held]);
  return { rows, gone, failed };
}

export function Stored({ topics }: { topics: string[] }) {
  const topic = param("topic");
  const [held, setHeld] = useState(false);
  const { rows, gone, failed } = useStored("/v1/bus/events" + q({ follow: true, last: 200, topic, type: param("type"), key: param("key") }), held);
  const open = param("offset");
  const field = (key: string, label: string) => <input key={key} type="search" aria-label={label} placeholder={label.toLowerCase()} value={param(key)} onChange={(e) => set({ [key]: e.currentTarget.value.trim() })} />;
  return (
    <Card
      flush
      title={
        <>
          Stored events {held ? <Mark tone="warn">held</Mark> : failed ? <Mark tone="warn">interrupted</Mark> : <Mark tone="ok">live</Mark>}
        </>
      }
      actions={
        <div class="events-filter">
          <input list="events-topics" type="search" aria-label="Topic, or a pattern" placeholder="topic, or order.*" value={topic} onChange={(e) => set({ topic: e.currentTarget.value.trim() })} />
          <datalist id="events-topics">
            {topics.map((t) => (
              <option key={t} value={t} />
            ))}
          </datalist>
          {field("type", "Type")}
          {field("key", "Key")}
          <button type="button" class={held ? "primary" : ""} onClick={() => setHeld(!held)}>
            {held ? "Go on" : "Hold"}
          </button>
        </div>
      }
    >
      {failed && failed.status >= 400 && <Failed error={failed} />}
      {!rows ? null : rows.length === 0 ? (
        <Empty title={topic || param("type") || param("key") ? "No event that is kept fits" : "No event has been published yet"}>
          {topic || param("type") || param("key") ? (
            <button type="button" onClick={() => set({ topic: undefined, type: undefined, key: undefined })}>
              Show all
            </button>
          ) : (
            <>
              A service publishes by a request to its <code>EVENTS_URL</code>; try one by <code>atoll events publish order.placed '{"{\"id\": 7}"}'</code>.
            </>
          )}
        </Empty>
      ) : (
        <>
          <Table
            name="stored"
            label="Stored events, the newest first"
            rows={rows}
            id={(e) => String(e.offset)}
            cols={[
              { key: "stored", head: "Stored", cell: (e) => <Time at={e.stored} millis /> },
              { key: "topic", head: "Topic", cell: (e) => <button type="button" class="events-open" onClick={() => set({ offset: String(e.offset) })}>{e.topic}</button> },
              { key: "data", head: "Data", min: "s", cell: (e) => <code class="events-data-line">{e.event.data !== undefined ? JSON.stringify(e.event.data).slice(0, 300) : e.event.data_base64 ? "binary" : "–"}</code> },
              { key: "key", head: "Key", min: "m", cell: (e) => <span class="mono events-id cut">{e.key ?? "–"}</span> },
              { key: "by", head: "Publisher", cell: (e) => e.publisher ?? "–" },
              { key: "offset", head: "Offset", num: true, min: "m", cell: (e) => e.offset },
            ]}
          />
          <p class="events-note muted">{gone ? `The newest ${count(most)} are shown: narrow by topic, type or key to see older ones.` : plural(rows.length, "event")}</p>
        </>
      )}
      {open && <One offset={open} onClose={() => set({ offset: undefined })} />}
    </Card>
  );
}

function One({ offset, onClose }: { offset: string; onClose: () => void }) {
  const got = useAsk<StoredEvent>("/v1/bus/events/" + encodeURIComponent(offset), true);
  return (
    <Dialog title={`Event ${offset}`} onClose={onClose} wide>
      <Answer of={got}>
        {(e) => (
          <>
            <dl class="facts">
              <dt>Topic</dt>
              <dd>{e.topic}</dd>
              <dt>Stored</dt>
              <dd>
                <Time at={e.stored} millis />
              </dd>
              {e.key && <dt>Key</dt>}
              {e.key && <dd class="mono">{e.key}</dd>}
              {e.only && <dt>Only for</dt>}
              {e.only && <dd>{e.only}</dd>}
            </dl>
            <EventView event={e.event} />
          </>
        )}
      </Answer>
    </Dialog>
  );
}
