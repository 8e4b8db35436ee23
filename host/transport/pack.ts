// Compresses what is stored, where that saves something: rows of the embedded log, pages and states of checkpoints.
// Runs on: log thread, bridge.

import { compressSync, uncompressSync } from 'lz4-napi'

/** Below this compression saves nothing that counts. */
const COMPRESS_FROM_BYTES = 1024

/** Of memory so much is tried first, from so many places. */
const SAMPLE_BYTES = 64 << 10
const SAMPLE_PLACES = 4
/** Above, a sample is worth its time. */
const SAMPLE_FROM_BYTES = 4 * SAMPLE_BYTES
/** What shrinks less in a sample stays as it is: nothing takes longer than to find that out of all of it. */
const SAMPLE_SHARE_MAX = 0.8

const CODEC_NONE = 0
const CODEC_LZ4 = 1

/** Bytes as they are stored. */
export interface Packed {
  codec: number
  data: Uint8Array
}

/** Compresses where that saves something. The answer may be `bytes` itself. */
export function pack(bytes: Uint8Array): Packed {
  if (bytes.length >= COMPRESS_FROM_BYTES) {
    const data = compressSync(asBuffer(bytes))
    if (data.length < bytes.length * 0.9) return { codec: CODEC_LZ4, data }
  }
  return { codec: CODEC_NONE, data: bytes }
}

/** The same for memory of guests, which may hold anything. */
export function packMemory(bytes: Uint8Array): Packed {
  const isWorth =
    bytes.length < SAMPLE_FROM_BYTES || compressSync(sampleOf(bytes)).length < SAMPLE_BYTES * SAMPLE_SHARE_MAX
  return isWorth ? pack(bytes) : { codec: CODEC_NONE, data: bytes }
}

function sampleOf(bytes: Uint8Array): Buffer {
  const sample = Buffer.allocUnsafe(SAMPLE_BYTES)
  const part = SAMPLE_BYTES / SAMPLE_PLACES
  for (let i = 0; i < SAMPLE_PLACES; i++) {
    const from = Math.floor((bytes.length / SAMPLE_PLACES) * i)
    sample.set(bytes.subarray(from, from + part), i * part)
  }
  return sample
}

/** @throws Error where the bytes were not made by `pack` or `packMemory` */
export function unpack(codec: number, data: Uint8Array): Uint8Array {
  if (codec === CODEC_NONE) return data
  if (codec === CODEC_LZ4) return uncompressSync(data)
  throw new Error(`unknown codec ${codec}`)
}

/** The same memory as a Buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
