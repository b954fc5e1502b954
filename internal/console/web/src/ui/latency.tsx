// The heat map of what a query chooses, kept fresh: for screens that show it among other things.
import { q } from "../api";
import { useLive } from "../live";
import { moving } from "../time";
import type { Heat } from "../types";
import { Answer, Empty } from "./basic";
import { HeatMap } from "./heat";

/** heatPath is the question for a heat map; from and to may be moving. */
export const heatPath = (query: string, from: string, to: string, columns = 60) => "/v1/heatmap" + q({ query, from, to, columns });

/** LatencyHeat shows the spans that a query chooses over the range of time in the address. */
export function LatencyHeat({ query, height }: { query: string; height?: number }) {
  const { from, to } = moving();
  const heat = useLive<Heat>("5s " + heatPath(query, from, to));
  return (
    <Answer of={heat} rows={3}>
      {(h) => (h.cells.length ? <HeatMap heat={h} height={height} /> : <Empty title="No requests in this time">Take a longer range at the top.</Empty>)}
    </Answer>
  );
}
