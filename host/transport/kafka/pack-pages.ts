// What a checkpoint adds of one memory: its pages are compared with those of the checkpoint before, and what differs is packed.
// Runs on: bridge for small states, else a thread of its own (page-packer.worker.ts).

import { hash } from 'node:crypto'
import { type PageTable, storePages } from '../memory-pages.ts'
import { packMemory } from '../pack.ts'

/** The codec stands before the bytes. */
const HEAD_BYTES = 1

export interface PackedPages {
  /** Chunks that are new have the id -1, in the order of `values`: their place is known when they are written. */
  table: PageTable
  /** u8 codec, bytes. */
  values: Uint8Array[]
}

/** @param memory whole pages */
export function packPages(memory: Uint8Array, before: PageTable | undefined): PackedPages {
  const values: Uint8Array[] = []
  const table = storePages(memory, before, HEAD_BYTES, (chunk, count) => {
    const value = packed(chunk)
    values.push(value)
    return { id: -1, pieces: count, digest: hash('sha256', value) }
  })
  return { table, values }
}

/** @param chunk with room for the head */
function packed(chunk: Buffer): Uint8Array {
  const pieces = chunk.subarray(HEAD_BYTES)
  const { codec, data } = packMemory(pieces)
  // Memory of a megabyte costs more than to fill it: what is not compressed stays where it is.
  const value = data === pieces ? chunk : new Uint8Array(HEAD_BYTES + data.length)
  value[0] = codec
  if (value !== chunk) value.set(data, HEAD_BYTES)
  return value
}
