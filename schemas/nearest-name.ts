// "Did you mean": the known name that differs least from an unknown one, by insertions, deletions, replacements and
// swaps of neighbours (optimal string alignment).

/** Names longer than this are not compared. */
const LENGTH_MAX = 64

/** Steps from `a` to `b`; more than `max` is told as `max + 1`. */
export function distance(a: string, b: string, max: number): number {
  if (Math.abs(a.length - b.length) > max) return max + 1
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    let least = i
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let steps = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) steps = Math.min(steps, before[j - 2]! + 1)
      row[j] = steps
      if (steps < least) least = steps
    }
    if (least > max) return max + 1
    before = last
    last = row
  }
  return Math.min(last[b.length]!, max + 1)
}

/** The known name nearest to `name`, upper and lower case being alike; undefined where none is near. */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  if (name.length > LENGTH_MAX) return undefined
  const wanted = name.toLowerCase()
  let best: string | undefined
  let bestSteps = Math.max(1, Math.floor(wanted.length * 0.4)) + 1
  for (const candidate of known) {
    const steps = distance(wanted, candidate.toLowerCase(), bestSteps - 1)
    if (steps < bestSteps) {
      best = candidate
      bestSteps = steps
    }
  }
  return best
}

/** The end of a sentence about an unknown name: the nearest one, else the known ones (at most 12 of them). */
export function didYouMean(name: string, known: readonly string[]): string {
  const nearest = nearestName(name, known)
  if (nearest !== undefined) return `; did you mean "${nearest}"?`
  if (known.length === 0) return ''
  const shown = known.slice(0, 12).map((k) => `"${k}"`)
  return `; known: ${shown.join(', ')}${known.length > shown.length ? ', …' : ''}`
}
