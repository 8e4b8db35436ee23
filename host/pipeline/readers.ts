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
  ): Reading {
    const tap = this.next++
    this.taps.set(tap, { pipeline, component, port, every, onFrames })
    // Asked each time: the pipeline may have moved.
    const compute = (): ComputeThread => this.workers.compute(pipeline.compute)
    compute().post({ type: 'tap', pipeline: pipeline.key, tap, component, port, every })
    return {
      ready: () => compute().post({ type: 'tap-ready', pipeline: pipeline.key, tap }),
      stop: () => {
        this.taps.delete(tap)
        compute().post({ type: 'untap', pipeline: pipeline.key, tap })
      },
    }
  }

  /** The pipeline runs on another worker: its taps are set there. */
  moved(moved: PipelineControl): void {
    for (const [tap, { pipeline, component, port, every }] of this.taps) {
      if (pipeline !== moved) continue
      this.workers.compute(moved.compute).post({ type: 'tap', pipeline: moved.key, tap, component, port, every })
    }
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
