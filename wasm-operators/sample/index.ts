// sample: the n-th, 2n-th, … record, or each with a probability. The choice depends on the seed and the number of the
// record alone, so that a replay chooses the same ones.

import { Change, Emitter, Operator, Record, register, Settings } from 'spqr'

const TWO_53: f64 = 9007199254740992

class Sample extends Operator {
  /** 0: by ratio. */
  private every: u64 = 1
  private ratio: f64 = 0
  private seed: u64 = 0
  private seen: u64 = 0
  private state: u64 = 0
  private configured: bool = false

  configure(settings: Settings): Change {
    const every = settings.get('every')
    const ratio = settings.get('ratio')
    if (every.exists == ratio.exists) throw new Error('sample takes either "every" or "ratio"')
    if (every.exists && !(every.number >= 1)) throw new Error('every is a number of 1 or more')
    if (ratio.exists && !(ratio.number >= 0 && ratio.number <= 1)) throw new Error('ratio is a number from 0 to 1')
    this.every = every.exists ? (every.number as u64) : 0
    this.ratio = ratio.exists ? ratio.number : 0
    const seed = settings.f64('seed', 1) as u64
    const anew = !this.configured || seed != this.seed
    if (anew) {
      this.seed = seed
      this.state = seed
      this.seen = 0
    }
    const change = anew && this.configured ? Change.Reset : Change.Keep
    this.configured = true
    return change
  }

  // hot
  process(record: Record, out: Emitter): void {
    if (this.every) {
      if (++this.seen < this.every) return
      this.seen = 0
      out.emit(record)
    } else if (this.random() < this.ratio) out.emit(record)
  }

  /** 0 ≤ x < 1, by SplitMix64 (Steele, Lea, Flood 2014). */
  private random(): f64 {
    this.state += 0x9e3779b97f4a7c15
    let z = this.state
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb
    return ((z ^ (z >> 31)) >> 11) as f64 / TWO_53
  }
}

register(new Sample())
