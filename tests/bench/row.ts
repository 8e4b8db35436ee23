// What a bench answers: rows of a table, and the statistics they are made with.

export interface Row {
  /** What was measured, with its set-up. */
  name: string
  value: number
  unit: string
  /** What it is measured against in the same run. */
  baseline?: { name: string; value: number }
  /** value / baseline, or baseline / value where less is better: above 1 is good. */
  ratio?: number
  /** What the project asks of itself. */
  bar?: string
  met?: boolean
  /** Set-up, samples, spread. */
  note?: string
}

/** Few samples: shows that the benches work, not how fast the product is. */
export const isShort = process.env.BENCH_SHORT === '1'

/** @param share 0 … 1 */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export const median = (values: readonly number[]): number => percentile(values, 0.5)

/** `min … max of n` */
export function spread(values: readonly number[], digits = 2): string {
  return `${Math.min(...values).toFixed(digits)} … ${Math.max(...values).toFixed(digits)} of ${values.length}`
}
