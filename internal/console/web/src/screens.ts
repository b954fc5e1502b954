// The screens, each loaded when it is first shown.
import type { ComponentType } from "preact";

type Screen = () => Promise<{ default: ComponentType<{ arg: string; arg2: string }> }>;

/** routes: the first that matches is shown; what is in parentheses is handed to the screen. */
export const routes: [RegExp, Screen][] = [
  [/^\/$/, () => import("./screens/home")],
  [/^\/service\/([^/]+)$/, () => import("./screens/service")],
  [/^\/traces$/, () => import("./screens/traces")],
  [/^\/trace\/([^/]+)$/, () => import("./screens/trace")],
  [/^\/compare\/([^/]+)\/([^/]+)$/, () => import("./screens/compare")],
  [/^\/logs$/, () => import("./screens/logs")],
  [/^\/metrics$/, () => import("./screens/metrics")],
  [/^\/alerts$/, () => import("./screens/alerts")],
  [/^\/events$/, () => import("./screens/events")],
  [/^\/sagas$/, () => import("./screens/sagas")],
  [/^\/saga\/([^/]+)$/, () => import("./screens/saga")],
  [/^\/gateway$/, () => import("./screens/gateway")],
  [/^\/check$/, () => import("./screens/check")],
  [/^\/catalogue$/, () => import("./screens/catalogue")],
];

/** nav is the navigation: groups of address, name and the key after g. */
export const nav: [string, [string, string, string][]][] = [
  ["", [["/", "Home", "h"]]],
  [
    "Observe",
    [
      ["/traces", "Traces", "t"],
      ["/logs", "Logs", "l"],
      ["/metrics", "Metrics", "m"],
      ["/alerts", "Alerts", "a"],
    ],
  ],
  [
    "Flows",
    [
      ["/events", "Events", "e"],
      ["/sagas", "Sagas", "s"],
    ],
  ],
  [
    "Application",
    [
      ["/gateway", "Gateway", "w"],
      ["/catalogue", "Catalogue", "c"],
      ["/check", "Check", "k"],
    ],
  ],
];
