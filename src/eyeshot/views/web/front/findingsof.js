// Which findings of `eyeshot check` concern which layer.

/** The severities, most serious first, as words for people. */
export const SEVERITIES = { error: "Error", warning: "Warning", note: "Note" };

const known = new WeakMap();

/** A Map from layer names to their findings, most serious first; empty where nothing was checked or found. */
export function findingsOf(page) {
  const findings = page?.findings;
  if (!findings) return new Map();
  if (!known.has(findings)) {
    const byName = new Map();
    for (const finding of findings) {
      for (const name of new Set(finding.layers)) {
        if (!byName.has(name)) byName.set(name, []);
        byName.get(name).push(finding);
      }
    }
    known.set(findings, byName);
  }
  return known.get(findings);
}

/** The most serious severity of some findings: "error", "warning", "note", or null. */
export function worst(findings) {
  return (
    Object.keys(SEVERITIES).find((severity) => findings?.some((finding) => finding.severity === severity)) ??
    null
  );
}
