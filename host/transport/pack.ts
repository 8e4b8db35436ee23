// Compresses what is stored, where that saves something: rows of the embedded log, pages and states of checkpoints.
// Runs on: log thread, bridge.

import { compressSync, uncompressSync } from 'lz4-napi'

/** Below this compression saves nothing that counts. */
const COMPRESS_FROM_BYTES = 1024

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

/** @throws Error where the bytes were not made by `pack` */
export function unpack(codec: number, data: Uint8Array): Uint8Array {
  if (codec === CODEC_NONE) return data
  if (codec === CODEC_LZ4) return uncompressSync(data)
  throw new Error(`unknown codec ${codec}`)
}

/** The same memory as a Buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
