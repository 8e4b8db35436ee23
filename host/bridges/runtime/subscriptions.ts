// Readers of `sse` and `websocket` emitters: a piece that an emitter gives to many is one message to the control thread.
// Runs on: bridge.

import { SpqrError } from '../../../schemas/errors.ts'
import type { ReaderForm } from '../../../schemas/reader-form.ts'
import type { FromBridge } from './messages.ts'
import type { Slot } from './slot.ts'

/** Sent at most before the reader has taken them. */
const PENDING_BYTES_MAX = 1 << 20

interface Asked {
  component: string
  subscription: number
  form: ReaderForm
  lastEventId?: string
}

interface Subscription {
  stop: () => void
  ready: () => void
}

export class Subscriptions {
  private readonly active = new Map<number, Subscription>()
  private readonly send: (message: FromBridge) => void
  /** Given last, and not sent yet. */
  private piece: Uint8Array | undefined
  private takers: number[] = []

  constructor(send: (message: FromBridge) => void) {
    this.send = send
  }

  /** @throws SpqrError NOT_FOUND where the component cannot be read */
  add(slot: Slot, { component, subscription, form, lastEventId }: Asked): void {
    const emitter = slot.emitters.get(component)?.emitter
    if (!emitter?.subscribe) {
      throw new SpqrError(
        'NOT_FOUND',
        `Pipeline "${slot.spec.id}" has no emitter "${component}" that can be read (sse, websocket)`,
      )
    }
    let pendingBytes = 0
    let refused = false
    const reading = emitter.subscribe({
      lastEventId,
      form,
      push: (piece) => {
        if (pendingBytes > 0 && pendingBytes + piece.length > PENDING_BYTES_MAX) {
          refused = true
          return false
        }
        pendingBytes += piece.length
        this.give(subscription, piece)
        return true
      },
      end: () => {
        this.flush()
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

  ready(subscriptions: number[]): void {
    for (const subscription of subscriptions) this.active.get(subscription)?.ready()
  }

  remove(subscription: number): void {
    this.active.get(subscription)?.stop()
    this.active.delete(subscription)
  }

  private give(subscription: number, piece: Uint8Array): void {
    if (piece !== this.piece) {
      this.flush()
      this.piece = piece
      setImmediate(this.flush)
    }
    this.takers.push(subscription)
  }

  private readonly flush = (): void => {
    if (this.piece === undefined) return
    this.send({ type: 'out', subscriptions: this.takers, piece: this.piece })
    this.piece = undefined
    this.takers = []
  }
}
