// Readers of taps and of `sse` / `websocket` emitters: from worker messages to whoever streams them out.
// Runs on: control.

import type { OutEvent } from '../bridges/runtime/messages.ts'
import type { PipelineControl } from './pipeline-control.ts'
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
  onEvents: (events: OutEvent[]) => void
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
  private readonly taps = new Map<number, TapReader>()
  private readonly outs = new Map<number, OutReader>()
  private next = 1

  constructor(workers: Workers) {
    this.workers = workers
  }

  tap(
    pipeline: PipelineControl,
    component: string,
    port: number,
    every: number,
    onFrames: TapReader['onFrames'],
    onEnd: TapReader['onEnd'] = () => undefined,
  ): Reading {
    const tap = this.next++
    const reader: TapReader = { pipeline, component, port, every, onFrames, onEnd }
    this.taps.set(tap, reader)
    this.post(reader, tap)
    // The pipeline may be started again meanwhile: the reader knows where it runs.
    const compute = (): ComputeThread => this.workers.compute(reader.pipeline.compute)
    return {
      ready: () => compute().post({ type: 'tap-ready', pipeline: reader.pipeline.key, tap }),
      stop: () => {
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

  /** A pipeline runs again: who taps it goes on. */
  restarted(before: PipelineControl, now: PipelineControl): void {
    for (const [tap, reader] of this.taps) {
      if (reader.pipeline !== before) continue
      reader.pipeline = now
      this.post(reader, tap)
    }
  }

  /** A pipeline is gone: so are those who tap it. */
  gone(pipeline: PipelineControl): void {
    for (const [tap, reader] of this.taps) {
      if (reader.pipeline !== pipeline) continue
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

  /** @throws SpqrError NOT_FOUND where the component cannot be read */
  async read(
    pipeline: PipelineControl,
    component: string,
    lastEventId: string | undefined,
    reader: OutReader,
  ): Promise<Reading> {
    const subscription = this.next++
    this.outs.set(subscription, reader)
    const { bridge } = this.workers
    try {
      await bridge.ask({ type: 'subscribe', pipeline: pipeline.key, component, subscription, lastEventId })
    } catch (thrown) {
      this.outs.delete(subscription)
      throw thrown
    }
    return {
      ready: () => bridge.post({ type: 'subscriber-ready', subscription }),
      stop: () => {
        this.outs.delete(subscription)
        bridge.post({ type: 'unsubscribe', subscription })
      },
    }
  }

  out(subscription: number, events: OutEvent[]): void {
    this.outs.get(subscription)?.onEvents(events)
  }

  outEnd(subscription: number): void {
    const reader = this.outs.get(subscription)
    this.outs.delete(subscription)
    reader?.onEnd()
  }
}
