// Webhooks: parties outside that take events.
import { useState } from "preact/hooks";
import { post } from "../api";
import { useLive } from "../live";
import { duration } from "../time";
import { param, set } from "../url";
import { Answer, Card, Copy, Dialog, Empty, Mark, Time } from "../ui/basic";
import { act, notify } from "../ui/notices";
import { Table } from "../ui/table";
import type { Webhook, WebhookDelivery } from "../types";
import { Confirm } from "../ui/confirm";

const reasons: Record<string, string> = { asked: "somebody disabled it", gone: "it answered 410: it is gone", failing: "it failed for too long" };

export function Webhooks() {
  const list = useLive<{ webhooks: Webhook[] | null }>("2s /v1/webhooks");
  const open = param("hook");
  return (
    <Card flush title="Webhooks">
      <Answer of={list}>
        {({ webhooks }) =>
          !webhooks?.length ? (
            <Empty title="Nobody outside takes events">
              <code>atoll events webhooks add https://partner.example/hooks --topics order.placed</code> makes one; its deliveries are signed.
            </Empty>
          ) : (
            <>
              <Table
                name="hooks"
                label="Webhooks"
                rows={webhooks}
                id={(w) => w.id}
                cols={[
                  {
                    key: "name",
                    head: "Webhook",
                    cell: (w) => (
                      <div class="events-topic">
                        <button type="button" class="events-open" onClick={() => set({ hook: w.id })}>
                          {w.name || w.id}
                        </button>
                        <small class="muted">{w.url}</small>
                      </div>
                    ),
                  },
                  { key: "state", head: "State", cell: (w) => <Mark tone={w.state === "disabled" ? (w.reason === "asked" ? "off" : "bad") : w.failing_since ? "warn" : "ok"} title={w.reason && reasons[w.reason]}>{w.state === "active" && w.failing_since ? "failing" : w.state}</Mark> },
                  { key: "topics", head: "Topics", min: "s", cell: (w) => w.topics.join(", ") },
                  { key: "since", head: "Since", num: true, min: "m", cell: (w) => <Time at={w.failing_since ?? w.since} relative /> },
                ]}
              />
              {open && webhooks.some((w) => w.id === open) && <Hook w={webhooks.find((w) => w.id === open)!} onClose={() => set({ hook: undefined })} />}
            </>
          )
        }
      </Answer>
    </Card>
  );
}

function Hook({ w, onClose }: { w: Webhook; onClose: () => void }) {
  const at = "/v1/webhooks/" + encodeURIComponent(w.id);
  const list = useLive<{ deliveries: WebhookDelivery[] | null }>("2s " + at + "/deliveries?limit=100");
  const [rotate, setRotate] = useState(false);
  const [secret, setSecret] = useState("");
  return (
    <Dialog title={w.name || w.id} onClose={onClose} wide>
      <dl class="facts">
        <dt>Address</dt>
        <dd class="mono">{w.url}</dd>
        <dt>Topics</dt>
        <dd>{w.topics.join(", ")}</dd>
        {w.filter && <dt>Filter</dt>}
        {w.filter && <dd>{Object.entries(w.filter).map(([k, v]) => `${k}=${v}`).join(", ")}</dd>}
        <dt>State</dt>
        <dd>
          {w.state}
          {w.reason && `: ${reasons[w.reason] ?? w.reason}`}, since <Time at={w.since} />
          {w.failing_since && (
            <span class="warn-text">
              , fails since <Time at={w.failing_since} />
            </span>
          )}
        </dd>
      </dl>
      <div class="actions">
        {w.state === "disabled" ? (
          <button type="button" class="primary" onClick={() => act(post(at + "/enable"), "It gets events again")}>
            Enable
          </button>
        ) : (
          <button type="button" onClick={() => act(post(at + "/disable"), "It gets no events any more; they are kept for it")}>
            Disable
          </button>
        )}
        <button type="button" onClick={() => setRotate(true)}>
          New secret
        </button>
        <button type="button" onClick={() => act(post(at + "/replay", {}), "What was given up is sent again")}>
          Send again what was given up
        </button>
      </div>
      {secret && (
        <div class="events-secret" role="status">
          The new secret, shown this once: <code>{secret}</code> <Copy text={secret} />
        </div>
      )}
      <h3>Deliveries</h3>
      <Answer of={list}>
        {({ deliveries }) =>
          !deliveries?.length ? (
            <p class="muted">Nothing has been sent yet.</p>
          ) : (
            <Table
              name="deliveries"
              label="Deliveries"
              rows={deliveries}
              id={(d) => String(d.delivery)}
              cols={[
                { key: "time", head: "Time", cell: (d) => <Time at={d.time} millis /> },
                { key: "topic", head: "Topic", cell: (d) => d.topic },
                { key: "answer", head: "Answer", cell: (d) => <span class="events-said" title={d.answer}>{d.class ? <Mark tone="bad">{d.status || d.class}</Mark> : <Mark tone="ok">{d.status ?? "ok"}</Mark>} {d.text}</span> },
                { key: "attempt", head: "Attempt", num: true, min: "s", cell: (d) => d.attempt },
                { key: "took", head: "Took", num: true, min: "s", cell: (d) => duration(d.took_ms * 1e6) },
                { key: "again", head: "Act", num: true, cell: (d) => <button type="button" class="quiet" aria-label={`Send delivery ${d.delivery} again`} onClick={() => act(post(at + "/replay", { delivery: d.delivery }), "It is sent again")}>Send again</button> },
              ]}
            />
          )
        }
      </Answer>
      {rotate && (
        <Confirm
          title="Give it a new secret"
          verb="New secret"
          danger
          onClose={() => setRotate(false)}
          does={async () => {
            const n = await post<Webhook>(at + "/rotate");
            setSecret(n.secret ?? "");
            notify("It has a new secret");
          }}
        >
          <p>Deliveries are signed by the new secret from now on, and for a day by the old one too. It is shown once.</p>
        </Confirm>
      )}
    </Dialog>
  );
}
