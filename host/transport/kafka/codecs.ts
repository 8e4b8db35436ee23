// The compressions that a record batch may have: none, gzip, snappy, lz4, zstd, each both ways.
// Runs on: bridge. Answers are new memory, or the input itself where nothing is to be done.

import { gunzipSync, gzipSync, constants as zlib } from 'node:zlib'
import { compress as zstdCompress, decompress as zstdDecompress, init as zstdInit } from '@bokuweb/zstd-wasm'
import { compressFrameSync, decompressFrameSync } from 'lz4-napi'
import { compressSync as snappyCompress, uncompressSync as snappyUncompress } from 'snappy'
import { asBuffer } from '../pack.ts'

/** As in the lowest three bits of a batch's attributes. */
export const CODEC_NUMBERS = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const
export type CodecName = keyof typeof CODEC_NUMBERS
export const CODEC_NAMES = Object.keys(CODEC_NUMBERS) as CodecName[]

/** What a batch may have uncompressed: a smaller one that says more is no batch but a bomb. */
export const UNCOMPRESSED_BYTES_MAX = 128 << 20

const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])
const XERIAL_HEAD_BYTES = 16
const XERIAL_BLOCK_BYTES = 32 << 10
const ZSTD_FIRST_BYTES = 4 << 20

let zstdReady: Promise<void> | undefined

/** Makes zstd usable; wait for it once before the first `compress` or `decompress`. */
export function loadCodecs(): Promise<void> {
  zstdReady ??= zstdInit()
  return zstdReady
}

export function compress(codec: CodecName, bytes: Uint8Array): Uint8Array {
  switch (codec) {
    case 'none':
      return bytes
    case 'gzip':
      return gzipSync(bytes, { level: zlib.Z_BEST_SPEED })
    case 'snappy':
      return xerialCompress(bytes)
    case 'lz4':
      return compressFrameSync(asBuffer(bytes))
    case 'zstd':
      return zstdCompress(asBuffer(bytes), 1)
  }
}

/**
 * @param codec the number in a batch's attributes
 * @throws Error where there is no such codec, or the bytes are not of it, or become too many
 */
export function decompress(codec: number, bytes: Uint8Array): Uint8Array {
  const name = CODEC_NAMES[codec]
  const out = name === undefined ? undefined : decompressNamed(name, bytes)
  if (!out) throw new Error(`it is compressed by codec ${codec}, which is not one of ${CODEC_NAMES.join(', ')}`)
  if (out.length > UNCOMPRESSED_BYTES_MAX) throw tooMuch(out.length)
  return out
}

function decompressNamed(codec: CodecName, bytes: Uint8Array): Uint8Array {
  switch (codec) {
    case 'none':
      return bytes
    case 'gzip':
      return gunzipSync(bytes, { maxOutputLength: UNCOMPRESSED_BYTES_MAX })
    case 'snappy':
      return snappyDecompress(bytes)
    case 'lz4':
      return decompressFrameSync(asBuffer(bytes))
    case 'zstd':
      return zstdDecompressBounded(bytes)
  }
}

/** Blocks of raw snappy behind a head, as the Java client writes and everyone reads them. */
function xerialCompress(bytes: Uint8Array): Uint8Array {
  const head = Buffer.alloc(XERIAL_HEAD_BYTES)
  XERIAL_MAGIC.copy(head)
  head.writeInt32BE(1, 8)
  head.writeInt32BE(1, 12)
  const parts: Uint8Array[] = [head]
  for (let at = 0; at < bytes.length; at += XERIAL_BLOCK_BYTES) {
    const block = snappyCompress(bytes.subarray(at, at + XERIAL_BLOCK_BYTES))
    const length = Buffer.alloc(4)
    length.writeInt32BE(block.length)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}

function snappyDecompress(bytes: Uint8Array): Uint8Array {
  const buffer = asBuffer(bytes)
  const isXerial = buffer.length >= XERIAL_HEAD_BYTES && XERIAL_MAGIC.equals(buffer.subarray(0, XERIAL_MAGIC.length))
  if (!isXerial) return snappyBlock(buffer, UNCOMPRESSED_BYTES_MAX)
  const parts: Uint8Array[] = []
  let left = UNCOMPRESSED_BYTES_MAX
  for (let at = XERIAL_HEAD_BYTES; at < buffer.length; ) {
    const length = buffer.readInt32BE(at)
    if (length < 0 || at + 4 + length > buffer.length) throw new Error('its snappy blocks are cut short')
    const part = snappyBlock(buffer.subarray(at + 4, at + 4 + length), left)
    left -= part.length
    parts.push(part)
    at += 4 + length
  }
  return Buffer.concat(parts)
}

function snappyBlock(block: Buffer, bytesMax: number): Uint8Array {
  // The uncompressed length stands in front, as a varint.
  let announced = 0
  for (let at = 0, factor = 1; at < Math.min(5, block.length); at++, factor *= 128) {
    announced += (block[at]! & 0x7f) * factor
    if (block[at]! < 0x80) break
  }
  if (announced > bytesMax) throw tooMuch(announced)
  return snappyUncompress(block, { asBuffer: true }) as Buffer
}

function zstdDecompressBounded(bytes: Uint8Array): Uint8Array {
  const announced = zstdContentBytes(asBuffer(bytes))
  if (announced !== undefined && announced > UNCOMPRESSED_BYTES_MAX) throw tooMuch(announced)
  // A stream says no size: guessed, and doubled until it fits.
  for (let room = ZSTD_FIRST_BYTES; ; room *= 2) {
    try {
      return zstdDecompress(asBuffer(bytes), { defaultHeapSize: room })
    } catch (thrown) {
      if (announced !== undefined || room >= UNCOMPRESSED_BYTES_MAX) {
        throw new Error('its zstd frame is damaged', { cause: thrown })
      }
    }
  }
}

/** The size in a zstd frame's header (RFC 8878, 3.1.1.1), where it has one. */
function zstdContentBytes(frame: Buffer): number | undefined {
  if (frame.length < 18 || frame.readUInt32LE(0) !== 0xfd2fb528) return undefined
  const descriptor = frame[4]!
  const single = (descriptor & 0x20) !== 0
  const at = 5 + (single ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]!
  switch (descriptor >>> 6) {
    case 0:
      return single ? frame[at] : undefined
    case 1:
      return frame.readUInt16LE(at) + 256
    case 2:
      return frame.readUInt32LE(at)
    default:
      return Number(frame.readBigUInt64LE(at))
  }
}

function tooMuch(bytes: number): Error {
  return new Error(`it would have ${bytes} bytes uncompressed, at most ${UNCOMPRESSED_BYTES_MAX} are read`)
}
