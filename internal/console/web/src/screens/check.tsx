import { useState } from "preact/hooks";
import { post } from "../api";
import { useLive } from "../live";
import { plural } from "../time";
import { Answer, Card, Empty, Mark, Page, sentence } from "../ui/basic";
import { act } from "../ui/notices";
import type { Fault } from "../types";
import "./check.css";

export default function Check() {
  const findings = useLive<{ findings: Fault[] }>("2s /v1/findings");
  const [busy, setBusy] = useState(false);
  const reload = async () => {
    setBusy(true);
    await act(post<{ findings: Fault[] }>("/v1/reload"), (a) =>
      a.findings.some((f) => f.severity === "error") ? "Nothing was changed: the manifests have errors" : "The manifests are in force",
    );
    setBusy(false);
  };
  return (
    <Page
      title="Check"
      sub="What the check of the manifests found when they were read last."
      actions={
        <button type="button" disabled={busy} onClick={reload}>
          {busy ? "Reading …" : "Read the manifests again"}
        </button>
      }
    >
      <Answer of={findings}>
        {({ findings }) => {
          if (!findings.length) {
            return (
              <Card>
                <Empty title="Nothing to find fault with">
                  The manifests are as they should be. <code>atoll check</code> says the same in a terminal or in CI.
                </Empty>
              </Card>
            );
          }
          const errors = findings.filter((f) => f.severity === "error").length;
          return (
            <>
              <p class="check-sum">
                {errors > 0 && <Mark tone="bad">{plural(errors, "error")}</Mark>} {findings.length > errors && <Mark tone="warn">{plural(findings.length - errors, "warning")}</Mark>}
              </p>
              {findings.map((f, i) => (
                <Card key={i} class="check-one">
                  <div class="check-head">
                    <Mark tone={f.severity === "error" ? "bad" : "warn"}>{f.severity}</Mark>
                    <h2>{sentence(f.text)}</h2>
                    <code class="muted" title={`atoll explain ${f.code}`}>
                      {f.code}
                    </code>
                  </div>
                  {f.file && (
                    <p class="mono muted">
                      {f.file}
                      {f.line ? `:${f.line}` : ""}
                      {f.column ? `:${f.column}` : ""}
                    </p>
                  )}
                  {f.source && (
                    <pre>
                      {f.source}
                      {f.column ? "\n" + " ".repeat(f.column - 1) + "^" : ""}
                    </pre>
                  )}
                  {f.remedy && <p>{sentence(f.remedy)}</p>}
                </Card>
              ))}
            </>
          );
        }}
      </Answer>
    </Page>
  );
}
