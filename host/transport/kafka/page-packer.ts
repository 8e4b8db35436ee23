// Packs pages of checkpoints where nobody waits for it: 16 MiB take tens of milliseconds of a processor, in which a bridge would
// move no record. The thread is started for the first large state.
// Runs on: bridge.

import { Worker } from 'node:worker_threads'
import { SpqrError } from '../../../schemas/errors.ts'
import { movableBuffers, movableImage } from '../../ring/image-memory.ts'
import type { PageTable } from '../memory-pages.ts'
import { asBuffer } from '../pack.ts'
import { type PackedPages, packPages } from './pack-pages.ts'

/** Up to here it is quicker done than handed over. */
const HERE_BYTES_MAX = 256 << 10

export interface PackRequest {
  id: number
  memory: Uint8Array
  before: PageTable | undefined
}

/** Each request gets one. */
export type PackReply = { id: number; packed: PackedPages } | { id: number; problem: string }

interface Waiting {
  done(packed: PackedPages): void
  failed(error: SpqrError): void
}

export class PagePacker {
  #worker: Worker | undefined
  readonly #waiting = new Map<number, Waiting>()
  #lastId = 0

  /**
   * @param memory whole pages; given away, unless it is shared
   * @throws SpqrError INTERNAL, retriable: the thread ended
   */
  pack(memory: Uint8Array, before: PageTable | undefined): Promise<PackedPages> {
    if (memory.length <= HERE_BYTES_MAX) return Promise.resolve(packPages(memory, before))
    const worker = this.#started()
    const request: PackRequest = { id: ++this.#lastId, memory: movableImage(memory), before }
    return new Promise((done, failed) => {
      this.#waiting.set(request.id, { done, failed })
      worker.ref()
      worker.postMessage(request, movableBuffers([request.memory]))
    })
  }

  async stop(): Promise<void> {
    await this.#worker?.terminate()
  }

  #started(): Worker {
    if (this.#worker) return this.#worker
    const worker = new Worker(new URL('./page-packer.worker.js', import.meta.url), { name: 'page-packer' })
    worker.on('message', (reply: PackReply) => this.#answered(worker, reply))
    worker.on('error', (error) => this.#ended(worker, error.message))
    worker.on('exit', () => this.#ended(worker, 'it was stopped'))
    this.#worker = worker
    return worker
  }

  #answered(worker: Worker, reply: PackReply): void {
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if (this.#waiting.size === 0) worker.unref()
    if ('problem' in reply) {
      waiting?.failed(lost(reply.problem))
      return
    }
    const { table, values } = reply.packed
    // A Buffer arrives as the Uint8Array that it is.
    waiting?.done({ table: { ...table, hashes: asBuffer(table.hashes) }, values })
  }

  #ended(worker: Worker, problem: string): void {
    if (this.#worker === worker) this.#worker = undefined
    for (const { failed } of this.#waiting.values()) failed(lost(problem))
    this.#waiting.clear()
  }
}

function lost(problem: string): SpqrError {
  const text = `Cannot store the checkpoint: the thread that packs its pages failed (${problem}); the next one is tried anew.`
  return new SpqrError('INTERNAL', text, { retriable: true })
}
