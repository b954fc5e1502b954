// The tail: lines as they are written. They are gathered and drawn once a frame; what is kept is bounded.
import { useEffect, useRef, useState } from "preact/hooks";
import { Problem, q, stream } from "../api";
import { count, plural } from "../time";
import { Empty, Failed, Mark } from "../ui/basic";
import { Virtual } from "../ui/table";
import type { Line } from "../types";
import { keyOf, Row, useRowKeys, type Shown } from "./logrow";

const most = 20_000; // lines that are kept
const seldom = 80; // milliseconds from one drawing to the next, at least; a slow browser draws less often
const spare = 2_000; // more than these are gathered before the oldest are let go, so that it is seldom

interface Kept {
  lines: Line[];
  gone: number; // of the oldest, let go here
  missed: number; // that Atoll could not send in time
}

const none: Kept = { lines: [], gone: 0, missed: 0 };

/** useTail gathers lines. While held, what was there stays as it is, and what comes waits. */
function useTail(query: string, held: boolean) {
  const [shown, setShown] = useState<Kept>(none);
  const [waiting, setWaiting] = useState(0);
  const [failed, setFailed] = useState<Problem>();
  const [round, setRound] = useState(0);
  const now = useRef<Kept>(none);
  const holding = useRef(held);
  holding.current = held;
  useEffect(() => {
    const stop = new AbortController();
    let fresh: Line[] = [];
    let frame = 0;
    let drawn = 0;
    let cost = 0;
    let retry = 0;
    now.current = { ...none, lines: [] };
    setShown(none);
    setFailed(undefined);
    const wait = () => {
      if (performance.now() - drawn < Math.max(seldom, 4 * cost)) frame = requestAnimationFrame(wait);
      else draw();
    };
    const draw = () => {
      frame = 0;
      drawn = performance.now();
      setTimeout(() => (cost = performance.now() - drawn));
      const before = now.current;
      let { lines, gone, missed } = before;
      for (const line of fresh) missed += line.missed ?? 0;
      lines = lines.concat(fresh.filter((l) => !l.missed || l.text));
      fresh = [];
      if (lines.length > most + spare) {
        gone += lines.length - most;
        lines = lines.slice(-most);
      }
      now.current = { lines, gone, missed };
      if (holding.current) setWaiting((n) => n + lines.length - before.lines.length + gone - before.gone);
      else {
        setWaiting(0);
        setShown(now.current);
      }
    };
    const take = (line: Line) => {
      fresh.push(line);
      // A page that is not looked at is not drawn, yet must not gather without end.
      if (!frame) frame = document.hidden ? 0 : requestAnimationFrame(wait);
      if (fresh.length > spare) draw();
    };
    const run = (last: number) =>
      stream<Line>("/v1/logs" + q({ follow: true, last, query }), take, stop.signal)
        .then(() => Promise.reject(new Problem("ended", "The stream of lines has ended.", "It begins again by itself.", 0)))
        .catch((e) => {
          if (stop.signal.aborted) return;
          setFailed(e instanceof Problem ? e : new Problem("tail", String(e), "", 0));
          if (!(e instanceof Problem) || e.status === 0 || e.status >= 500) retry = window.setTimeout(() => setRound((n) => n + 1), 2000);
        });
    run(200);
    return () => {
      stop.abort();
      cancelAnimationFrame(frame);
      clearTimeout(retry);
    };
  }, [query, round]);
  useEffect(() => {
    if (held) return;
    setWaiting(0);
    setShown(now.current);
  }, [held]);
  return { shown, waiting, failed };
}

/** Tail is what is written now. It holds still while the reader looks at what was before. */
export function Tail({ query, open, onOpen }: { query: string; open: string; onOpen: (line: Shown) => void }) {
  const [held, setHeld] = useState(false);
  const [paused, setPaused] = useState(false);
  const { shown, waiting, failed } = useTail(query, held || paused);
  const rate = useRate(shown.lines.length + shown.gone + waiting);
  // Who goes through the lines by keys holds them.
  const keys = useRowKeys(shown.lines.length, shown.lines.length, () => setPaused(true));
  const goOn = () => {
    keys.forget();
    setPaused(false);
    setHeld(false);
  };
  const stopped = held || paused;
  return (
    <div class="logs-tail">
      <div class="logs-bar">
        {stopped ? <Mark tone="warn">held</Mark> : <Mark tone={failed ? "warn" : "ok"}>{failed ? "interrupted" : "live"}</Mark>}
        <span class="muted logs-rate">{rate > 0 ? `${count(rate)} lines/s` : "quiet"}</span>
        <span class="muted">{plural(shown.lines.length, "line")}</span>
        {shown.gone > 0 && <span class="muted">{plural(shown.gone, "older line")} let go: search finds them</span>}
        {shown.missed > 0 && (
          <Mark tone="warn" title="This browser did not take them in as fast as they came; search finds them">
            {plural(shown.missed, "line")} missed
          </Mark>
        )}
        <span class="grow" />
        {stopped ? (
          <button type="button" class="primary" onClick={goOn}>
            Go on{waiting > 0 ? ` (${count(waiting)} new)` : ""}
          </button>
        ) : (
          <button type="button" onClick={() => setPaused(true)}>
            Hold
          </button>
        )}
      </div>
      {failed && (failed.status >= 400 || shown.lines.length === 0) && <Failed error={failed} />}
      {shown.lines.length === 0 && !failed ? (
        <Empty title="Waiting for a line">Nothing that fits was written lately. Send a request through the gateway, or take something out of the query.</Empty>
      ) : (
        <div ref={keys.box} {...keys.on}>
          <Virtual rows={shown.lines} scrollTo={keys.at} height={24} stick={!stopped} onStick={(end) => (end ? !paused && setHeld(false) : setHeld(true))} label="Lines, the newest last" render={(l, i) => <Row key={shown.gone + i} index={i} line={l} open={open === keyOf(l)} onOpen={onOpen} />} />
        </div>
      )}
    </div>
  );
}

/** useRate is how much a number rises a second, over the last two. */
function useRate(n: number): number {
  const now = useRef(n);
  now.current = n;
  const [rate, setRate] = useState(0);
  useEffect(() => {
    let before = now.current;
    const timer = setInterval(() => {
      setRate(Math.max(0, Math.round((now.current - before) / 2)));
      before = now.current;
    }, 2000);
    return () => clearInterval(timer);
  }, []);
  return rate;
}
