// What a checkpoint adds of one memory: its pages are compared with those of the checkpoint before, and what differs is packed.
// Runs on: bridge for small states, else a thread of its own (page-packer.worker.ts).

import { hash } from 'node:crypto'
import { type PageTable, storePages } from '../memory-pages.ts'
import { pack } from '../pack.ts'

export interface PackedPages {
  /** Chunks that are new have the id -1, in the order of `values`: their place is known when they are written. */
  table: PageTable
  /** u8 codec, bytes. */
  values: Uint8Array[]
}

/** @param memory whole pages */
export function packPages(memory: Uint8Array, before: PageTable | undefined): PackedPages {
  const values: Uint8Array[] = []
  const table = storePages(memory, before, (pieces, count) => {
    const value = packed(pieces)
    values.push(value)
    return { id: -1, pieces: count, digest: hash('sha256', value) }
  })
  return { table, values }
}

function packed(bytes: Uint8Array): Uint8Array {
  const { codec, data } = pack(bytes)
  const value = new Uint8Array(data.length + 1)
  value[0] = codec
  value.set(data, 1)
  return value
}
