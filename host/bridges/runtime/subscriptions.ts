// Readers of `sse` and `websocket` emitters: batches what an emitter pushes into messages to the control thread.
// Runs on: bridge.

import { SpqrError } from '../../../schemas/errors.ts'
import type { FromBridge, OutEvent } from './messages.ts'
import type { Slot } from './slot.ts'

/** Sent at most before the reader has taken them. */
const PENDING_BYTES_MAX = 1 << 20

interface Subscription {
  stop: () => void
  ready: () => void
}

export class Subscriptions {
  private readonly active = new Map<number, Subscription>()
  private readonly send: (message: FromBridge) => void

  constructor(send: (message: FromBridge) => void) {
    this.send = send
  }

  /** @throws SpqrError NOT_FOUND where the component cannot be read */
  add(
    slot: Slot,
    { component, subscription, lastEventId }: { component: string; subscription: number; lastEventId?: string },
  ): void {
    const emitter = slot.emitters.get(component)?.emitter
    if (!emitter?.subscribe) {
      throw new SpqrError(
        'NOT_FOUND',
        `Pipeline "${slot.spec.id}" has no emitter "${component}" that can be read (sse, websocket)`,
      )
    }
    let events: OutEvent[] = []
    let pendingBytes = 0
    let scheduled = false
    let refused = false
    const flush = (): void => {
      scheduled = false
      if (events.length === 0) return
      this.send({ type: 'out', subscription, events })
      events = []
    }
    const reading = emitter.subscribe({
      lastEventId,
      push: (id, value, gap) => {
        if (pendingBytes > 0 && pendingBytes + value.length > PENDING_BYTES_MAX) {
          refused = true
          return false
        }
        pendingBytes += value.length
        events.push({ id, value, gap })
        if (!scheduled) {
          scheduled = true
          setImmediate(flush)
        }
        return true
      },
      end: () => {
        flush()
        this.active.delete(subscription)
        this.send({ type: 'out-end', subscription })
      },
    })
    this.active.set(subscription, {
      stop: () => reading.stop(),
      ready: () => {
        pendingBytes = 0
        if (!refused) return
        refused = false
        reading.ready()
      },
    })
  }

  ready(subscription: number): void {
    this.active.get(subscription)?.ready()
  }

  remove(subscription: number): void {
    this.active.get(subscription)?.stop()
    this.active.delete(subscription)
  }
}
