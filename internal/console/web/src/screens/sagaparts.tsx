// What the list of sagas and one saga share.
import { useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { operator, setOperator } from "../operator";
import { Problem } from "../api";
import { Dialog, Failed, Mark, type Tone } from "../ui/basic";
import type { SagaInstance } from "../types";

export const states: SagaInstance["state"][] = ["parked", "running", "compensating", "completed", "compensated"];

export const sagaTone: Record<SagaInstance["state"], Tone> = { parked: "warn", running: "busy", compensating: "busy", completed: "ok", compensated: "off" };

const meaning: Record<SagaInstance["state"], string> = {
  parked: "It waits for a person",
  running: "It goes on by itself",
  compensating: "It undoes what it has done",
  completed: "It has done everything",
  compensated: "It has undone what it had done",
};

export const State = ({ of }: { of: SagaInstance["state"] }) => (
  <Mark tone={sagaTone[of] ?? "off"} title={meaning[of]}>
    {of}
  </Mark>
);

export const stepTone: Record<string, Tone> = { open: "off", running: "busy", done: "ok", skipped: "off", failed: "bad", parked: "warn", undoing: "busy", undone: "off" };

/** json reads what a person has typed; text is what is wrong with it. */
export function json(text: string): { value?: unknown; wrong?: string } {
  try {
    return { value: JSON.parse(text) };
  } catch (e) {
    return { wrong: text.trim() ? String((e as Error).message) : "It is empty: write JSON, or null." };
  }
}

/** Confirm says what will happen, asks for a reason, and does it. It stays open when that fails. */
export function Confirm({ title, verb, danger, reason, onClose, does, ready = true, stay, children }: {
  title: string;
  verb: string;
  danger?: boolean;
  reason?: "wanted" | "optional";
  onClose: () => void;
  does: (reason: string) => Promise<void>;
  ready?: boolean;
  stay?: boolean; // it stays open after this step: another follows
  children: ComponentChildren;
}) {
  const [why, setWhy] = useState("");
  const [busy, setBusy] = useState(false);
  const [failed, setFailed] = useState<Problem>();
  const run = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    setFailed(undefined);
    try {
      await does(why.trim());
      if (stay) setBusy(false);
      else onClose();
    } catch (e) {
      setFailed(e instanceof Problem ? e : new Problem("failed", String(e), "", 0));
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form class="confirm" onSubmit={run}>
        {children}
        {reason && (
          <>
            <label class="field">
              Reason, for the history{reason === "optional" ? " (may be empty)" : ""}
              <input value={why} required={reason === "wanted"} maxLength={1000} onInput={(e) => setWhy(e.currentTarget.value)} />
            </label>
            <label class="field">
              Your name
              <input value={operator.value === "console" ? "" : operator.value} placeholder="console" maxLength={100} onChange={(e) => setOperator(e.currentTarget.value)} />
            </label>
          </>
        )}
        {failed && <Failed error={failed} />}
        <div class="actions confirm-end">
          <button type="button" onClick={onClose}>
            Leave it
          </button>
          <button type="submit" class={danger ? "danger" : "primary"} disabled={busy || !ready || (reason === "wanted" && !why.trim())}>
            {busy ? "At it" : verb}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
