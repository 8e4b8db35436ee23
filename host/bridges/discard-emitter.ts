// The emitter `discard`: takes everything; the runtime counts it.
// Runs on: bridge.

import type { Emitter, EmitterType } from './bridge.ts'

export class DiscardEmitter implements Emitter {
  open(): Promise<void> {
    return Promise.resolve()
  }

  write(_bytes: Uint8Array, from: number, to: number): number {
    return to - from
  }

  flush(): Promise<unknown> {
    return Promise.resolve(undefined)
  }

  configure(): boolean {
    return true
  }

  stop(): Promise<void> {
    return Promise.resolve()
  }
}

export const discardEmitter: EmitterType = { create: () => new DiscardEmitter() }
