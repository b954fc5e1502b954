// What surrounds every screen: navigation, the range of time, what is ill, keys, and the login.
import type { ComponentType } from "preact";
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { loggedIn, login, logout, Problem } from "./api";
import { connected, useLive } from "./live";
import { known, setSingle, single, useKeys } from "./keys";
import { nav, routes } from "./screens";
import { bounds, local, range, ranges, rangeText, setRange, spanText } from "./time";
import { theme, toggleTheme } from "./theme";
import { decode, go, href, path } from "./url";
import { colorServices, Dialog, Failed, Loading, Mark, Empty } from "./ui/basic";
import { Notices } from "./ui/notices";
import type { Alerts, App, Service } from "./types";

const helpOpen = signal(false);
const jumpOpen = signal(false);
const menuOpen = signal(false);

export function Shell() {
  const [error, setError] = useState<Problem>();
  useEffect(() => {
    const enter = () => {
      const code = /^#login=([A-Za-z0-9_-]+)$/.exec(location.hash)?.[1];
      if (!code) return;
      history.replaceState(null, "", location.pathname + location.search); // a code in the history is of no use to anybody, and still
      login(code).then(
        () => setError(undefined),
        (e) => setError(e),
      );
    };
    enter();
    addEventListener("hashchange", enter);
    return () => removeEventListener("hashchange", enter);
  }, []);
  if (!loggedIn.value) return <Login error={error} />;
  return (
    <>
      <Frame />
      <Notices />
    </>
  );
}

function Login({ error }: { error?: Problem }) {
  return (
    <main class="login">
      <div class="card">
        <Brand />
        <h1>Log in to the console</h1>
        {error && <Failed error={error} />}
        <p>Run this in the folder of the application, and open the link that it prints:</p>
        <pre>atoll console</pre>
        <p class="muted">
          The link works once, for ten minutes. This browser stays logged in for 14 days after it was used last. <code>atoll up</code> prints such a link too.
        </p>
      </div>
    </main>
  );
}

const Brand = () => (
  <span class="brand">
    <svg viewBox="0 0 32 32" width="22" aria-hidden="true">
      <path d="M27 16a11 11 0 1 1-6.2-9.9" fill="none" stroke="var(--accent)" stroke-width="5" stroke-linecap="round" />
      <circle cx="16" cy="16" r="3.2" fill="var(--accent)" />
    </svg>
    Atoll
  </span>
);

function Frame() {
  const app = useLive<App>("5s /v1/app");
  const alerts = useLive<Alerts>("5s /v1/alerts");
  const services = useLive<{ services: Service[] }>("5s /v1/services");
  useEffect(() => colorServices(services.data?.services.map((s) => s.service) ?? []), [services.data]);
  const firing = alerts.data?.alerts.filter((a) => a.state === "firing" && !a.silenced?.length).length ?? 0;
  useKeys([
    ["?", "Help", () => (helpOpen.value = true)],
    ["ctrl+k", "Jump to a service, a screen or a trace", () => (jumpOpen.value = true)],
    ["d", "Dark or light", toggleTheme],
    ...nav.flatMap(([, items]) => items.map(([to, name, key]): [string, string, () => void] => [`g ${key}`, name, () => go(href(to))])),
  ]);
  const here = path.value;
  useEffect(() => {
    menuOpen.value = false;
    const name = nav.flatMap(([, items]) => items).find(([to]) => to === here)?.[1] ?? decode(here.split("/").pop() ?? "");
    document.title = `${name} · ${app.data?.app ?? "Atoll"}`;
  }, [here, app.data?.app]);
  return (
    <div class="frame">
      <a class="skip" href="#main">
        To the content
      </a>
      <nav class={menuOpen.value ? "side open" : "side"} aria-label="Screens">
        <a href={href("/")} class="home-link">
          <Brand />
        </a>
        {nav.map(([group, items]) => (
          <div key={group}>
            {group && <h2>{group}</h2>}
            {items.map(([to, name]) => (
              <a key={to} href={href(to)} aria-current={isHere(to, here) ? "page" : undefined}>
                {name}
                {to === "/alerts" && firing > 0 && <b class="badge bad">{firing}</b>}
              </a>
            ))}
          </div>
        ))}
        <div class="side-foot">
          <button type="button" class="quiet" onClick={toggleTheme}>
            {theme.value === "dark" ? "Light" : "Dark"}
          </button>
          <button type="button" class="quiet" onClick={() => (helpOpen.value = true)}>
            Help <kbd>?</kbd>
          </button>
          <button type="button" class="quiet" onClick={logout}>
            Log out
          </button>
        </div>
      </nav>
      {menuOpen.value && <div class="shade" onClick={() => (menuOpen.value = false)} />}
      <div class="body">
        <header class="top">
          <button type="button" class="menu quiet" aria-label="Screens" aria-expanded={menuOpen.value} onClick={() => (menuOpen.value = !menuOpen.value)}>
            ☰
          </button>
          <strong class="app-name">{app.data?.app ?? ""}</strong>
          {app.data?.environment && <span class="tag">{app.data.environment}</span>}
          {app.data?.copy && <span class="tag">copy {app.data.copy}</span>}
          {app.data && app.data.state !== "running" && <Mark tone="busy">{app.data.state}</Mark>}
          <span class="grow" />
          <button type="button" class="jump" onClick={() => (jumpOpen.value = true)}>
            <span>Jump to …</span> <kbd>Ctrl K</kbd>
          </button>
          <RangePicker />
        </header>
        {connected.value === false && (
          <div class="lost" role="status">
            <Mark tone="warn">No connection to Atoll.</Mark> What you see is the last that was known. See whether it runs: <code>atoll ps</code>
          </div>
        )}
        <main id="main" tabIndex={-1}>
          <Screen here={here} />
        </main>
      </div>
      {helpOpen.value && <Help />}
      {jumpOpen.value && <Jump />}
    </div>
  );
}

const owners: Record<string, string> = { "/service/": "/", "/trace/": "/traces", "/compare/": "/traces", "/saga/": "/sagas" };

function isHere(to: string, here: string): boolean {
  const owner = Object.entries(owners).find(([prefix]) => here.startsWith(prefix))?.[1];
  return (owner ?? here) === to;
}

function Screen({ here }: { here: string }) {
  const [shown, setShown] = useState<{ View: ComponentType<{ arg: string; arg2: string }>; args: string[]; of: string }>();
  const [failed, setFailed] = useState<Error>();
  const hit = routes.map(([pattern, load]) => ({ match: pattern.exec(here), load })).find((r) => r.match);
  useEffect(() => {
    if (!hit) return;
    let gone = false;
    setFailed(undefined);
    hit
      .load()
      .then((m) => !gone && setShown({ View: m.default, args: hit.match!.slice(1).map(decode), of: here }))
      .catch(() => !gone && setFailed(new Problem("stale", "This part of the console could not be loaded.", "Atoll may have been replaced by another version meanwhile: load the page anew.", 0)));
    return () => {
      gone = true;
    };
  }, [here]);
  if (!hit) {
    return (
      <Empty title="There is no such screen">
        The address may be cut off. Go <a href={href("/")}>home</a>, or press <kbd>Ctrl K</kbd>.
      </Empty>
    );
  }
  if (failed) return <Failed error={failed} again={() => location.reload()} />;
  if (!shown || shown.of !== here) return <Loading />;
  return <shown.View key={shown.of} arg={shown.args[0] ?? ""} arg2={shown.args[1] ?? ""} />;
}

function RangePicker() {
  const [open, setOpen] = useState(false);
  const r = range.value;
  const { from, to } = bounds(r);
  const [a, setA] = useState("");
  const [b, setB] = useState("");
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) return;
    const outside = (e: PointerEvent) => !box.current?.contains(e.target as Node) && setOpen(false);
    addEventListener("pointerdown", outside);
    return () => removeEventListener("pointerdown", outside);
  }, [open]);
  const pick = (minutes: number) => {
    setRange({ minutes });
    setOpen(false);
  };
  return (
    <div ref={box} class="range" onKeyDown={(e) => e.key === "Escape" && setOpen(false)}>
      <button
        type="button"
        aria-expanded={open}
        aria-label={`Range of time: ${rangeText(r)}`}
        onClick={() => {
          setA(local(from));
          setB(local(to));
          setOpen(!open);
        }}
      >
        {rangeText(r)} <i aria-hidden="true">▾</i>
      </button>
      {open && (
        <div class="range-menu">
          <div class="range-list">
            {ranges.map((m) => (
              <button key={m} type="button" class="quiet" aria-pressed={r.minutes === m} onClick={() => pick(m)}>
                last {spanText(m * 60e9)}
              </button>
            ))}
          </div>
          <form
            onSubmit={(e) => {
              e.preventDefault();
              const [x, y] = [new Date(a), new Date(b)];
              if (+y > +x) {
                setRange({ from: x, to: y });
                setOpen(false);
              }
            }}
          >
            <label>
              from <input type="datetime-local" step="1" value={a} onInput={(e) => setA(e.currentTarget.value)} />
            </label>
            <label>
              to <input type="datetime-local" step="1" value={b} onInput={(e) => setB(e.currentTarget.value)} />
            </label>
            <p class="muted">in your zone, {Intl.DateTimeFormat().resolvedOptions().timeZone || "the browser's"}</p>
            <button type="submit" class="primary" disabled={!(+new Date(b) > +new Date(a))}>
              Show
            </button>
          </form>
        </div>
      )}
    </div>
  );
}

function Help() {
  return (
    <Dialog title="Keys" onClose={() => (helpOpen.value = false)}>
      <label class="check">
        <input type="checkbox" checked={single.value} onChange={(e) => setSingle(e.currentTarget.checked)} /> Single keys act
      </label>
      <dl class="keys">
        {known().map((k) => (
          <div key={k.keys}>
            <dt>
              {k.keys.split(" ").map((key) => (
                <kbd key={key}>{key === "ctrl+k" ? "Ctrl K" : key}</kbd>
              ))}
            </dt>
            <dd>{k.what}</dd>
          </div>
        ))}
        <div>
          <dt>
            <kbd>j</kbd>
            <kbd>k</kbd>
          </dt>
          <dd>Down and up in a table, Enter opens</dd>
        </div>
        <div>
          <dt>
            <kbd>Esc</kbd>
          </dt>
          <dd>Close, or leave a field</dd>
        </div>
      </dl>
    </Dialog>
  );
}

interface Target {
  to: string;
  name: string;
  kind: string;
}

function Jump() {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const known = useLive<{ services: Service[] }>("5s /v1/services"); // as the frame has it already
  const services = known.data?.services.map((s): Target => ({ to: "/service/" + encodeURIComponent(s.service), name: s.service, kind: s.summary || "service" })) ?? [];
  const close = () => (jumpOpen.value = false);
  const wanted = text.trim().toLowerCase();
  const all: Target[] = [...services, ...nav.flatMap(([, items]) => items.map(([to, name]) => ({ to, name, kind: "screen" })))];
  const hits = all.filter((t) => t.name.toLowerCase().includes(wanted)).sort((a, b) => a.name.toLowerCase().indexOf(wanted) - b.name.toLowerCase().indexOf(wanted));
  if (/^[0-9a-f]{4,32}$/.test(wanted)) hits.push({ to: "/trace/" + wanted, name: wanted, kind: "trace" });
  if (wanted.length > 7 && !wanted.includes(" ")) hits.push({ to: "/saga/" + encodeURIComponent(text.trim()), name: text.trim(), kind: "instance of a saga" });
  const list = hits.slice(0, 12);
  const open = (t: Target | undefined) => {
    if (!t) return;
    close();
    go(href(t.to));
  };
  return (
    <Dialog title="Jump to" onClose={close}>
      <input
        autofocus
        class="wide-input"
        placeholder="a service, a screen, the id of a trace or a saga"
        role="combobox"
        aria-label="Jump to"
        aria-expanded={list.length > 0}
        aria-controls="jump-list"
        aria-activedescendant={list[at] && `jump-${at}`}
        value={text}
        onInput={(e) => {
          setText(e.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={(e) => {
          if (e.key === "ArrowDown" || e.key === "ArrowUp") {
            e.preventDefault();
            setAt((at + (e.key === "ArrowDown" ? 1 : -1) + list.length) % Math.max(1, list.length));
          } else if (e.key === "Enter") open(list[at]);
        }}
      />
      <ul id="jump-list" class="jump-list" role="listbox" aria-label="Targets">
        {list.map((t, i) => (
          <li key={t.to} id={`jump-${i}`} role="option" aria-selected={i === at} onClick={() => open(t)}>
            <span>{t.name}</span>
            <span class="muted">{t.kind}</span>
          </li>
        ))}
      </ul>
      {list.length === 0 && <p class="muted">Nothing is named so. The id of a trace has at least four of the digits 0 to 9 and a to f.</p>}
    </Dialog>
  );
}
