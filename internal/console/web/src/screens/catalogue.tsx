import { useLive } from "../live";
import { href, param, set } from "../url";
import { Answer, Card, Empty, Page, Service } from "../ui/basic";
import { Table } from "../ui/table";
import type { Service as ServiceInfo } from "../types";
import { plural } from "../time";

export default function Catalogue() {
  const services = useLive<{ services: ServiceInfo[] }>("5s /v1/services");
  const find = param("find").toLowerCase();
  const owner = param("owner");
  return (
    <Page
      title="Catalogue"
      sub="What each service is for, whose it is, and what it depends on."
      actions={<input type="search" placeholder="Filter" aria-label="Filter the catalogue" value={param("find")} onInput={(e) => set({ find: e.currentTarget.value })} />}
    >
      <Answer of={services} rows={8}>
        {({ services }) => {
          const owners = [...new Set(services.map((s) => s.owner ?? ""))].sort();
          const shown = services.filter((s) => (!owner || (s.owner ?? "") === owner) && (!find || [s.service, s.owner, s.summary, ...s.publishes, ...s.calls.map((c) => c.service)].some((x) => x?.toLowerCase().includes(find))));
          return (
            <>
              {owners.length > 1 && (
                <div class="actions" role="group" aria-label="Owner">
                  <button type="button" aria-pressed={!owner} onClick={() => set({ owner: undefined })}>
                    All {services.length}
                  </button>
                  {owners.map((o) => (
                    <button key={o} type="button" aria-pressed={owner === o && o !== ""} onClick={() => set({ owner: o })}>
                      {o || "nobody's"} {services.filter((s) => (s.owner ?? "") === o).length}
                    </button>
                  ))}
                </div>
              )}
              <Card flush>
                {shown.length === 0 ? (
                  <Empty title="No service fits">
                    <button type="button" onClick={() => set({ find: undefined, owner: undefined })}>
                      Show all
                    </button>
                  </Empty>
                ) : (
                  <Table
                    label="Catalogue"
                    rows={shown}
                    id={(s) => s.service}
                    link={(s) => href("/service/" + encodeURIComponent(s.service))}
                    cols={[
                      { key: "service", head: "Service", sort: (s) => s.service, cell: (s) => <Service name={s.service} /> },
                      { key: "owner", head: "Owner", min: "s", sort: (s) => s.owner ?? "", cell: (s) => (s.owner ? <span class="nowrap">{s.owner}</span> : <span class="warn-text">▲ none</span>) },
                      { key: "summary", head: "What it is for", min: "s", cell: (s) => s.summary ?? <span class="muted">its manifest has no summary</span> },
                      { key: "contract", head: "Contract", cell: (s) => (s.api ? <a href={href("/service/" + encodeURIComponent(s.service), { tab: "contract" })}>{s.api}</a> : <span class="muted">none</span>) },
                      { key: "needs", head: "Depends on", min: "m", sort: (s) => s.calls.length, cell: (s) => <div class="wrap">{s.calls.length || s.database ? <>{s.calls.map((c) => <Service key={c.service} name={c.service} />)}{s.database && <span class="tag">{s.database}</span>}</> : <span class="muted">nothing</span>}</div> },
                      { key: "used", head: "Needed by", min: "m", sort: (s) => s.called_by.length, cell: (s) => <div class="wrap">{s.called_by.length ? s.called_by.map((c) => <Service key={c} name={c} />) : <span class="muted">nobody</span>}</div> },
                      { key: "events", head: "Events", num: true, min: "m", sort: (s) => s.publishes.length, cell: (s) => <span class="muted nowrap">{s.publishes.length} out, {Object.keys(s.subscribes).length} in</span> },
                    ]}
                  />
                )}
              </Card>
              <p class="muted">{plural(shown.length, "service")}. Owner, summary and contract stand in each service.yaml.</p>
            </>
          );
        }}
      </Answer>
    </Page>
  );
}
