/**
 * Metrics of several daemons in one text: Prometheus wants each family once, whoever its samples are of.
 *
 * @module
 */

/** Puts texts of Prometheus' format 0.0.4 together. Samples of one family must differ in labels. */
export function mergeMetrics(texts: readonly string[]): string {
  const families = new Map<string, { readonly head: string[]; readonly samples: string[] }>();
  for (const text of texts) {
    let samples: string[] = [];
    for (const line of text.split("\n")) {
      if (line === "") continue;
      const [, kind, name] = /^# (HELP|TYPE) (\S+)/.exec(line) ?? [];
      if (name === undefined) {
        samples.push(line);
        continue;
      }
      const family = families.get(name) ?? { head: [], samples: [] };
      families.set(name, family);
      samples = family.samples;
      if (!family.head.some((known) => known.startsWith(`# ${kind} `))) family.head.push(line);
    }
  }
  return [...families.values()].flatMap(({ head, samples }) => [...head, ...samples])
    .map((line) => line + "\n").join("");
}
