// One checkpoint's record in the topic spqr.checkpoints, and its chunks in spqr.checkpoints.pages. Little-endian:
//
//    key    `tenant/pipeline/slot id`           value  u32 jsonBytes, JSON of `ManifestHead`, the packed state if it is small
//
// A chunk's key is `tenant/pipeline/slot id`, its value u8 codec and bytes. A chunk is found by its offset, which compaction
// keeps, so nobody has to read that topic through. A record without a value removes what has its key.
// Runs on: bridge.

import { hash } from 'node:crypto'
import { asBuffer } from '../pack.ts'
import type { SlotId } from '../transport.ts'

/** Where something lies in the topic of pages, in the slot's partition there. */
export interface PlaceRef {
  offset: number
  key: string
}

interface ManifestHead {
  /** Counts the checkpoints of the slot. */
  seq: number
  epoch: number
  createdAt: number
  revision: number
  /** Bytes of what it added, states and pages. */
  bytes: number
  savepoint?: string
  codec: number
  /** SHA-256 of epoch, time, revision and packed state, hex. */
  digest: string
  /** Absent: the state stands behind the head. */
  state?: PlaceRef
  /** Every chunk that the state names. */
  chunks: PlaceRef[]
}

export interface Manifest extends ManifestHead {
  slot: string
  /** Key of its record. */
  key: string
  /** The packed state, where it is small. */
  inline?: Uint8Array
}

export function slotKey({ tenant, pipeline, slot }: SlotId): string {
  return `${tenant}/${pipeline}/${slot}`
}

export function encodeManifest(manifest: Manifest): Uint8Array {
  const { slot: _slot, key: _key, inline, ...head } = manifest
  const json = Buffer.from(JSON.stringify(head))
  const out = Buffer.alloc(4 + json.length + (inline?.length ?? 0))
  out.writeUInt32LE(json.length)
  json.copy(out, 4)
  if (inline) out.set(inline, 4 + json.length)
  return out
}

/** @returns undefined: it is none that this version knows */
export function decodeManifest(key: string, value: Uint8Array): Manifest | undefined {
  const bytes = asBuffer(value)
  if (bytes.length < 4 || bytes.readUInt32LE() > bytes.length - 4) return undefined
  const jsonBytes = bytes.readUInt32LE()
  try {
    const head = JSON.parse(bytes.toString('utf8', 4, 4 + jsonBytes)) as ManifestHead
    const space = key.indexOf(' ')
    if (space < 0 || !Number.isSafeInteger(head.seq) || !Array.isArray(head.chunks)) return undefined
    const manifest: Manifest = { ...head, slot: key.slice(0, space), key }
    if (!head.state) manifest.inline = Uint8Array.prototype.slice.call(bytes, 4 + jsonBytes)
    return manifest
  } catch {
    return undefined
  }
}

export function digestOf(epoch: number, createdAt: number, revision: number, packed: Uint8Array): string {
  return hash('sha256', Buffer.concat([Buffer.from(`${epoch} ${createdAt} ${revision} `), packed]))
}
