// The share of faults among a component's last 10,000 records, counted in steps of a tenth of it.
// Runs on: compute.

const STEP = 1000
const STEPS = 10

export class FaultShare {
  /** Made with the first fault. */
  private steps: Float64Array | null = null
  private step = 0
  private inStep = 0
  private total = 0

  /** Records that were processed well. // hot, once per batch */
  passed(records: number): void {
    this.total += records
    this.inStep += records
    while (this.inStep >= STEP) {
      this.inStep -= STEP
      this.step = (this.step + 1) % STEPS
      if (this.steps !== null) this.steps[this.step] = 0
    }
  }

  /** One record faulted. @returns true: more than this share of the last 10,000 did */
  failed(share: number): boolean {
    this.steps ??= new Float64Array(STEPS)
    this.steps[this.step]! += 1
    this.passed(1)
    if (this.total < STEP * STEPS) return false
    let faults = 0
    for (const count of this.steps) faults += count
    return faults > share * STEP * STEPS
  }
}
