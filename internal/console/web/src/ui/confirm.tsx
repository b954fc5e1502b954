// What a person confirms before it is done.
import { useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { operator, setOperator } from "../operator";
import { exact, Problem } from "../api";
import { Dialog, Failed } from "./basic";

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
            {busy ? "Working …" : verb}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** json reads what a person has typed; text is what is wrong with it. */
export function json(text: string): { value?: unknown; wrong?: string } {
  try {
    return { value: exact(text) };
  } catch (e) {
    return { wrong: text.trim() ? String((e as Error).message) : "It is empty: write JSON, or null." };
  }
}
