// Where in a PromQL query a cursor stands: enough to complete what is typed, not a parser.

interface PromPlace {
  kind: "name" | "label" | "value" | "none";
  word: string; // that has been typed
  from: number; // where it begins
  metric: string; // that the labels are of, "" where it is not known
  label: string; // whose value it is
  by: boolean; // within by (…), where labels have no values
}

/** promAt tells what may stand at the cursor. */
export function promAt(text: string, cursor: number): PromPlace {
  let brace = -1; // where the open brace is
  let quote = ""; // that is open
  let quoted = 0; // where it began
  const parens: boolean[] = []; // of each open parenthesis: whether it is one of by (…)
  let bracket = false;
  for (let i = 0; i < cursor; i++) {
    const c = text[i]!;
    if (quote) {
      if (c === "\\" && quote !== "`") i++;
      else if (c === quote) quote = "";
    } else if (c === '"' || c === "'" || c === "`") {
      quote = c;
      quoted = i + 1;
    } else if (c === "{") brace = i;
    else if (c === "}") brace = -1;
    else if (c === "[") bracket = true;
    else if (c === "]") bracket = false;
    else if (c === "(") parens.push(/\b(by|without|on|ignoring|group_left|group_right)\s*$/i.test(text.slice(0, i)));
    else if (c === ")") parens.pop();
  }
  const before = text.slice(0, cursor);
  const metric = brace >= 0 ? (/([A-Za-z_:][\w:]*)\s*$/.exec(text.slice(0, brace))?.[1] ?? "") : "";
  if (quote) {
    const label = brace >= 0 ? /([A-Za-z_]\w*)\s*(?:=~|!~|!=|=)\s*$/.exec(text.slice(0, quoted - 1))?.[1] : undefined;
    return { kind: label ? "value" : "none", word: before.slice(quoted), from: quoted, metric, label: label ?? "", by: false };
  }
  const word = /[A-Za-z_:][\w:]*$/.exec(before)?.[0] ?? "";
  const place = { word, from: cursor - word.length, metric, label: "", by: false };
  if (brace >= 0) return { ...place, kind: /[{,]\s*$/.test(before.slice(0, place.from)) ? "label" : "none" };
  if (bracket || /[\d.]$/.test(before.slice(0, place.from))) return { ...place, kind: "none" };
  if (parens.at(-1)) return { ...place, kind: "label", by: true };
  return { ...place, kind: "name" };
}
