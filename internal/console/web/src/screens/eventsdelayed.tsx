// Events that wait for their time.
import { useState } from "preact/hooks";
import { post } from "../api";
import { useLive } from "../live";
import { spanText } from "../time";
import { Answer, Card, Dialog, Empty, Time } from "../ui/basic";
import { notify } from "../ui/notices";
import { Table } from "../ui/table";
import type { Settled, StoredEvent } from "../types";
import { EventView, settledText } from "./eventparts";
import { Confirm } from "../ui/confirm";

export function Delayed({ n }: { n: number }) {
  const [limit, setLimit] = useState(100);
  const list = useLive<{ events: StoredEvent[]; next?: number }>("2s /v1/bus/delayed?limit=" + limit);
  const [open, setOpen] = useState<StoredEvent>();
  const [drop, setDrop] = useState<StoredEvent | "all">();
  return (
    <Card
      flush
      title="Delayed events"
      actions={
        n > 0 ? (
          <button type="button" class="danger" onClick={() => setDrop("all")}>
            Drop all
          </button>
        ) : undefined
      }
    >
      <Answer of={list}>
        {({ events, next }) =>
          events.length === 0 ? (
            <Empty title="No event waits for its time">
              Publish one: <code>atoll events publish invoice.due @invoice.json --at 2h</code>. It waits here until then.
            </Empty>
          ) : (
            <>
              <Table
                name="delayed"
                label="Delayed events"
                rows={events}
                id={(e) => String(e.offset)}
                cols={[
                  { key: "topic", head: "Topic", sort: (e) => e.topic, cell: (e) => <button type="button" class="events-open" onClick={() => setOpen(e)}>{e.topic}</button> },
                  { key: "due", head: "Due", num: true, sort: (e) => e.due ?? "", cell: (e) => (e.due ? <Time at={e.due} /> : "–") },
                  { key: "in", head: "In", num: true, cell: (e) => (e.due ? (+new Date(e.due) > Date.now() ? spanText((+new Date(e.due) - Date.now()) * 1e6) : "now") : "–") },
                  { key: "key", head: "Key", min: "s", cell: (e) => <span class="mono">{e.key ?? "–"}</span> },
                  { key: "by", head: "Publisher", min: "s", cell: (e) => e.publisher ?? "–" },
                  { key: "drop", head: "Act", num: true, cell: (e) => <button type="button" class="quiet" aria-label={`Drop event ${e.event.id}`} onClick={() => setDrop(e)}>Drop</button> },
                ]}
              />
              {next ? (
                <div class="more-row">
                  <button type="button" onClick={() => setLimit(1000)} disabled={limit === 1000}>
                    More
                  </button>
                </div>
              ) : null}
            </>
          )
        }
      </Answer>
      {open && (
        <Dialog title={`Event of ${open.topic}`} onClose={() => setOpen(undefined)} wide>
          <EventView event={open.event} />
        </Dialog>
      )}
      {drop && (
        <Confirm
          title={drop === "all" ? "Drop all delayed events" : `Drop an event of ${drop.topic}`}
          verb="Drop"
          danger
          onClose={() => setDrop(undefined)}
          does={async () => {
            const s = await post<Settled>("/v1/bus/delayed/drop", drop === "all" ? { all: true } : { offsets: [drop.offset] });
            notify(settledText("dropped", s), s.failed?.[0]?.fault.text, !!s.failed?.length);
          }}
        >
          <p>Nobody will ever get {drop === "all" ? "them" : "it"}.</p>
        </Confirm>
      )}
    </Card>
  );
}
