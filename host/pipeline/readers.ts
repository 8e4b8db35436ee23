// Readers of taps and of `sse` / `websocket` emitters: from worker messages to whoever streams them out.
// Runs on: control.

import { DEFAULT_TENANT } from '../../schemas/names.ts'
import type { ReaderForm } from '../../schemas/reader-form.ts'
import type { PipelineControl } from './pipeline-control.ts'
import type { ReaderPlaces } from './reader-places.ts'
import type { ComputeThread, Workers } from './workers.ts'

interface TapReader {
  pipeline: PipelineControl
  component: string
  port: number
  every: number
  onFrames: (frames: Uint8Array, skipped: number) => void
  onEnd: () => void
}

interface OutReader {
  form: ReaderForm
  lastEventId?: string
  /** Others get the same memory. @returns false: it is behind, and says when it is `ready` */
  onPiece: (piece: Uint8Array) => boolean
  onEnd: () => void
}

/** What the streaming side holds. */
export interface Reading {
  /** The reader took what it was given. */
  ready(): void
  stop(): void
}

export class Readers {
  private readonly workers: Workers
  private readonly places: ReaderPlaces
  private readonly taps = new Map<number, TapReader>()
  private readonly outs = new Map<number, OutReader>()
  private next = 1

  constructor(workers: Workers, places: ReaderPlaces) {
    this.workers = workers
    this.places = places
  }

  /** @throws SpqrError QUOTA_EXCEEDED where too many read the pipeline */
  tap(
    pipeline: PipelineControl,
    component: string,
    port: number,
    every: number,
    onFrames: TapReader['onFrames'],
    onEnd: TapReader['onEnd'] = () => undefined,
  ): Reading {
    const leave = this.places.take(placeOf(pipeline))
    const tap = this.next++
    const reader: TapReader = { pipeline, component, port, every, onFrames, onEnd }
    this.taps.set(tap, reader)
    this.post(reader, tap)
    // The pipeline may be started again meanwhile: the reader knows where it runs.
    const compute = (): ComputeThread => this.workers.compute(reader.pipeline.compute)
    return {
      ready: () => compute().post({ type: 'tap-ready', pipeline: reader.pipeline.key, tap }),
      stop: () => {
        leave()
        this.taps.delete(tap)
        compute().post({ type: 'untap', pipeline: reader.pipeline.key, tap })
      },
    }
  }

  /** Readers that are connected. */
  get size(): number {
    return this.taps.size + this.outs.size
  }

  /** The pipeline runs on another worker: its taps are set there. */
  moved(moved: PipelineControl): void {
    for (const [tap, reader] of this.taps) if (reader.pipeline === moved) this.post(reader, tap)
  }

  /** A pipeline runs again: who taps it goes on, however many attempts that took. */
  restarted(now: PipelineControl): void {
    for (const [tap, reader] of this.taps) {
      if (!isSame(reader.pipeline, now)) continue
      reader.pipeline = now
      this.post(reader, tap)
    }
  }

  /** A pipeline is gone: so are those who tap it. */
  gone(pipeline: PipelineControl): void {
    for (const [tap, reader] of this.taps) {
      if (!isSame(reader.pipeline, pipeline)) continue
      this.taps.delete(tap)
      reader.onEnd()
    }
  }

  /** The bridge worker died, and with it every subscription. */
  outsLost(): void {
    for (const subscription of [...this.outs.keys()]) this.outEnd(subscription)
  }

  private post({ pipeline, component, port, every }: TapReader, tap: number): void {
    const compute = this.workers.compute(pipeline.compute)
    compute.post({ type: 'tap', pipeline: pipeline.key, tap, component, port, every })
  }

  tapped(tap: number, frames: Uint8Array, skipped: number): void {
    this.taps.get(tap)?.onFrames(frames, skipped)
  }

  /** @throws SpqrError NOT_FOUND where the component cannot be read; QUOTA_EXCEEDED where too many read the pipeline */
  async read(pipeline: PipelineControl, component: string, reader: OutReader): Promise<Reading> {
    const leave = this.places.take(placeOf(pipeline))
    const subscription = this.next++
    const { form, lastEventId } = reader
    this.outs.set(subscription, reader)
    const { bridge } = this.workers
    try {
      await bridge.ask({ type: 'subscribe', pipeline: pipeline.key, component, subscription, form, lastEventId })
    } catch (thrown) {
      leave()
      this.outs.delete(subscription)
      throw thrown
    }
    return {
      ready: () => bridge.post({ type: 'subscribers-ready', subscriptions: [subscription] }),
      stop: () => {
        leave()
        this.outs.delete(subscription)
        bridge.post({ type: 'unsubscribe', subscription })
      },
    }
  }

  /** Passes a piece on to all who get it, and says at once which of them keep up. */
  out(subscriptions: number[], piece: Uint8Array): void {
    const ready = subscriptions.filter((subscription) => this.outs.get(subscription)?.onPiece(piece))
    if (ready.length > 0) this.workers.bridge.post({ type: 'subscribers-ready', subscriptions: ready })
  }

  outEnd(subscription: number): void {
    const reader = this.outs.get(subscription)
    this.outs.delete(subscription)
    reader?.onEnd()
  }
}

/** Whatever starts of it these stand for. */
function isSame({ plan: a }: PipelineControl, { plan: b }: PipelineControl): boolean {
  return a.id === b.id && a.tenant === b.tenant
}

function placeOf({ plan: { tenant, id } }: PipelineControl): string {
  return tenant === DEFAULT_TENANT ? `pipeline "${id}"` : `pipeline "${id}" of "${tenant}"`
}
