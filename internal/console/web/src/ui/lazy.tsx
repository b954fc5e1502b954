// Parts that are loaded when they are first shown.
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Problem } from "../api";
import { Failed, Loading } from "./basic";

/** lazy is a component that is loaded when it is first drawn. */
export function lazy<P extends object>(load: () => Promise<{ default: ComponentType<P> }>): ComponentType<P> {
  let loaded: ComponentType<P> | undefined;
  return function Lazy(props: P) {
    const [View, setView] = useState<ComponentType<P> | undefined>(() => loaded);
    const [failed, setFailed] = useState(false);
    useEffect(() => {
      if (View) return;
      load().then(
        (m) => {
          loaded = m.default;
          setView(() => m.default);
        },
        () => setFailed(true),
      );
    }, []);
    if (failed) return <Failed error={new Problem("stale", "This part of the console could not be loaded.", "Atoll may have been replaced by another version meanwhile: load the page anew.", 0)} again={() => location.reload()} />;
    return View ? <View {...props} /> : <Loading rows={6} />;
  };
}
