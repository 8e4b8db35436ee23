// The memory of a guest in pieces of 4 KiB, so that a checkpoint stores only what changed. A page table says in which
// chunk each piece lies. Pieces of zeros lie nowhere.
// Runs on: log thread, bridge.

import { hash } from 'node:crypto'
import { asBuffer } from './pack.ts'

export const PIECE_BYTES = 4096
export const CHUNK_PIECES = 256
export const ZERO_PIECE = 0xffffffff
const HASH_BYTES = 16
const ZEROS = Buffer.alloc(PIECE_BYTES)
/** With more chunks than this, those that have but a few live pieces are written anew. */
const CHUNKS_WANTED = 256
const FEW_PIECES = 16
/** Pieces written anew, though unchanged, in one checkpoint. */
const REWRITE_PIECES_MAX = 256

export interface ChunkRef {
  id: number
  /** Pieces in it, live or not. */
  pieces: number
  /** SHA-256 of the chunk as stored, hex. */
  digest: string
}

export interface PageTable {
  /** By piece: index in `chunks` × 256 + place in the chunk, or ZERO_PIECE. */
  refs: Uint32Array
  chunks: ChunkRef[]
  /** Truncated SHA-256 of each piece, to find changes. */
  hashes: Buffer
}

/** Stores pieces, which stand in `bytes` behind the head, in memory that is given away. */
export type WriteChunk = (bytes: Buffer, pieces: number) => ChunkRef

/**
 * Stores what differs from the table before.
 * @param memory a multiple of PIECE_BYTES
 * @param headBytes room before the pieces of each chunk, with anything in it
 */
export function storePages(
  memory: Uint8Array,
  before: PageTable | undefined,
  headBytes: number,
  writeChunk: WriteChunk,
): PageTable {
  const bytes = asBuffer(memory)
  const pieces = bytes.length / PIECE_BYTES
  const table: PageTable = { refs: new Uint32Array(pieces), chunks: [], hashes: Buffer.alloc(pieces * HASH_BYTES) }
  const rewrite = before ? thinChunks(before) : undefined
  const kept = new Map<number, number>()
  const changed: number[] = []
  for (let piece = 0; piece < pieces; piece++) {
    const at = piece * PIECE_BYTES
    if (isZero(bytes, at)) {
      table.refs[piece] = ZERO_PIECE
      continue
    }
    const digest = hash('sha256', bytes.subarray(at, at + PIECE_BYTES), 'buffer')
    digest.copy(table.hashes, piece * HASH_BYTES, 0, HASH_BYTES)
    const ref = before && piece < before.refs.length ? before.refs[piece]! : ZERO_PIECE
    const same =
      ref !== ZERO_PIECE &&
      before!.hashes.compare(digest, 0, HASH_BYTES, piece * HASH_BYTES, (piece + 1) * HASH_BYTES) === 0
    const chunk = ref >>> 8
    if (!same || rewrite!.has(chunk)) {
      changed.push(piece)
      continue
    }
    let index = kept.get(chunk)
    if (index === undefined) {
      index = table.chunks.push(before!.chunks[chunk]!) - 1
      kept.set(chunk, index)
    }
    table.refs[piece] = index * CHUNK_PIECES + (ref & 0xff)
  }
  for (let i = 0; i < changed.length; i += CHUNK_PIECES) {
    const group = changed.slice(i, i + CHUNK_PIECES)
    const data = Buffer.allocUnsafeSlow(headBytes + group.length * PIECE_BYTES)
    const index = table.chunks.length
    group.forEach((piece, place) => {
      bytes.copy(data, headBytes + place * PIECE_BYTES, piece * PIECE_BYTES, (piece + 1) * PIECE_BYTES)
      table.refs[piece] = index * CHUNK_PIECES + place
    })
    table.chunks.push(writeChunk(data, group.length))
  }
  return table
}

/** Puts the memory together again. @param readChunk answers with the pieces of a chunk */
export function loadPages(
  table: Pick<PageTable, 'refs' | 'chunks'>,
  readChunk: (chunk: ChunkRef) => Uint8Array,
): Uint8Array {
  const { refs, chunks } = table
  const memory = new Uint8Array(refs.length * PIECE_BYTES)
  const byChunk: number[][] = chunks.map(() => [])
  refs.forEach((ref, piece) => {
    if (ref !== ZERO_PIECE) byChunk[ref >>> 8]!.push(piece)
  })
  byChunk.forEach((pieces, index) => {
    const data = readChunk(chunks[index]!)
    for (const piece of pieces) {
      const at = (refs[piece]! & 0xff) * PIECE_BYTES
      memory.set(data.subarray(at, at + PIECE_BYTES), piece * PIECE_BYTES)
    }
  })
  return memory
}

/** The hashes of a memory that was just loaded. */
export function hashPages(memory: Uint8Array): Buffer {
  const bytes = asBuffer(memory)
  const pieces = bytes.length / PIECE_BYTES
  const hashes = Buffer.alloc(pieces * HASH_BYTES)
  for (let piece = 0; piece < pieces; piece++) {
    const at = piece * PIECE_BYTES
    if (isZero(bytes, at)) continue
    hash('sha256', bytes.subarray(at, at + PIECE_BYTES), 'buffer').copy(hashes, piece * HASH_BYTES, 0, HASH_BYTES)
  }
  return hashes
}

function isZero(bytes: Buffer, at: number): boolean {
  return bytes[at] === 0 && bytes.compare(ZEROS, 0, PIECE_BYTES, at, at + PIECE_BYTES) === 0
}

/** Chunks whose live pieces are better written anew: less than half of them live, or few where there are too many chunks. */
function thinChunks(table: PageTable): Set<number> {
  const live = new Uint32Array(table.chunks.length)
  for (const ref of table.refs) if (ref !== ZERO_PIECE) live[ref >>> 8]!++
  const thin = new Set<number>()
  const many = table.chunks.length > CHUNKS_WANTED
  let budget = REWRITE_PIECES_MAX
  for (let chunk = 0; chunk < live.length; chunk++) {
    const pieces = live[chunk]!
    const isThin = pieces * 2 < table.chunks[chunk]!.pieces || (many && pieces < FEW_PIECES)
    if (!isThin || pieces > budget) continue
    budget -= pieces
    thin.add(chunk)
  }
  return thin
}
