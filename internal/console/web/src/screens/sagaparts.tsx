// What the list of sagas and one saga share.
import { Mark, type Tone } from "../ui/basic";
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
