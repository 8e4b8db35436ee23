// Rings that were announced before the pipeline that reads them was made on this thread. The two sides of a pipeline are made
// and dropped in parallel, and its channels are used again at once: a ring belongs to a pipeline, never to a channel alone.
// Runs on: bridge, compute.

/** Announcements cross a drop by microseconds; so many drops are remembered. */
const DROPPED_MAX = 4096

interface Early {
  channel: number
  memory: SharedArrayBuffer
}

export class EarlyRings {
  private readonly waiting = new Map<number, Early[]>()
  private readonly dropped = new Set<number>()

  /** Pipelines that rings wait for. */
  get size(): number {
    return this.waiting.size
  }

  /** Keeps a ring for a pipeline that is not there yet; for one that is gone it is let go of. */
  keep(pipeline: number, channel: number, memory: SharedArrayBuffer): void {
    if (this.dropped.has(pipeline)) return
    const rings = this.waiting.get(pipeline)
    if (rings) rings.push({ channel, memory })
    else this.waiting.set(pipeline, [{ channel, memory }])
  }

  /** The rings of a channel of this pipeline, in the order of their announcement. */
  take(pipeline: number, channel: number): SharedArrayBuffer[] {
    const rings = this.waiting.get(pipeline)
    if (!rings) return []
    const others = rings.filter((ring) => ring.channel !== channel)
    if (others.length > 0) this.waiting.set(pipeline, others)
    else this.waiting.delete(pipeline)
    return rings.filter((ring) => ring.channel === channel).map((ring) => ring.memory)
  }

  /** The pipeline is gone, for good: its number is not given again. */
  drop(pipeline: number): void {
    this.waiting.delete(pipeline)
    this.dropped.add(pipeline)
    if (this.dropped.size <= DROPPED_MAX) return
    for (const oldest of this.dropped) {
      this.dropped.delete(oldest)
      break
    }
  }
}
