// How the state of a checkpoint is laid out as it is stored. Little-endian:
//
//    u32 jsonBytes, JSON {meta, snapshots: [{component, instance, digest, globals, pieces, chunks: [[id, pieces, digest]]}]}
//    padding to 4, then the page table of each snapshot, u32 per piece
//
// Runs on: log thread, bridge.

import type { ChunkRef, PageTable } from './memory-pages.ts'
import type { Snapshot } from './transport.ts'

export interface KeptSnapshot extends Omit<Snapshot, 'memory'> {
  table: Pick<PageTable, 'refs' | 'chunks'>
}

export interface KeptState {
  /** JSON text. */
  meta: string
  snapshots: KeptSnapshot[]
}

interface Header {
  meta: string
  snapshots: (Omit<Snapshot, 'memory'> & { pieces: number; chunks: [id: number, pieces: number, digest: string][] })[]
}

export function encodeState(state: KeptState): Buffer {
  const header: Header = {
    meta: state.meta,
    snapshots: state.snapshots.map(({ component, instance, digest, globals, table }) => ({
      component,
      instance,
      digest,
      globals,
      pieces: table.refs.length,
      chunks: table.chunks.map((chunk) => [chunk.id, chunk.pieces, chunk.digest]),
    })),
  }
  const json = Buffer.from(JSON.stringify(header))
  const tablesAt = (4 + json.length + 3) & ~3
  const pieces = state.snapshots.reduce((sum, snapshot) => sum + snapshot.table.refs.length, 0)
  const out = Buffer.alloc(tablesAt + pieces * 4)
  out.writeUInt32LE(json.length, 0)
  json.copy(out, 4)
  let at = tablesAt
  for (const { table } of state.snapshots) {
    for (const ref of table.refs) at = out.writeUInt32LE(ref, at)
  }
  return out
}

/** @param bytes verified by their digest */
export function decodeState(bytes: Buffer): KeptState {
  const jsonBytes = bytes.readUInt32LE(0)
  const header = JSON.parse(bytes.toString('utf8', 4, 4 + jsonBytes)) as Header
  let at = (4 + jsonBytes + 3) & ~3
  const snapshots = header.snapshots.map(({ component, instance, digest, globals, pieces, chunks }) => {
    const refs = new Uint32Array(pieces)
    for (let piece = 0; piece < pieces; piece++, at += 4) refs[piece] = bytes.readUInt32LE(at)
    const table = { refs, chunks: chunks.map(([id, count, sum]): ChunkRef => ({ id, pieces: count, digest: sum })) }
    return { component, instance, digest, globals, table }
  })
  return { meta: header.meta, snapshots }
}

/** Ids of all chunks that a state names. */
export function chunkIds(state: Pick<KeptState, 'snapshots'>): number[] {
  return [...new Set(state.snapshots.flatMap((snapshot) => snapshot.table.chunks.map((chunk) => chunk.id)))]
}
