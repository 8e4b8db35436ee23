// CRC-32C (Castagnoli), which guards Kafka's record batches: sixteen bytes a step by tables ("slicing by 16"), read as words, of
// two blocks side by side, since each step waits for the one before it.
// Runs on: every thread, on machines that are little-endian, as all are that Node runs on.

const POLYNOMIAL = 0x82f63b78
/** Sixteen tables of 256 words, one after the other; table n steps a byte over n bytes of zeros. */
const TABLES = makeTables()
/** Words of a block. */
const BLOCK = 512
/** Four tables of 256 words: what a checksum becomes over a block of zeros, byte by byte. */
const OVER_BLOCK = makeBlockTables()

function makeTables(): Int32Array {
  const tables = new Int32Array(16 * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
    tables[byte] = crc
  }
  for (let at = 256; at < tables.length; at++) {
    const before = tables[at - 256]!
    tables[at] = (before >>> 8) ^ tables[before & 0xff]!
  }
  return tables
}

function makeBlockTables(): Int32Array {
  const tables = new Int32Array(4 * 256)
  for (let bit = 0; bit < 32; bit++) {
    let crc = 1 << bit
    for (let i = 0; i < BLOCK * 4; i++) crc = (crc >>> 8) ^ TABLES[crc & 0xff]!
    // Checksums add up: that of a byte is the sum of those of its bits.
    const from = (bit >> 3) * 256
    for (let byte = 0; byte < 256; byte++) if (byte & (1 << (bit & 7))) tables[from + byte]! ^= crc
  }
  return tables
}

/** @returns the checksum of `bytes[from … to)` as an unsigned 32-bit number // hot */
export function crc32c(bytes: Uint8Array, from: number, to: number): number {
  const t = TABLES
  let crc = -1
  let at = from
  // Words are read where words begin.
  for (; at < to && ((bytes.byteOffset + at) & 3) !== 0; at++) crc = (crc >>> 8) ^ t[(crc ^ bytes[at]!) & 0xff]!
  if (at === to) return ~crc >>> 0
  const words = new Int32Array(bytes.buffer, bytes.byteOffset + at, (to - at) >> 2)
  let word = 0
  for (const end = words.length - 2 * BLOCK; word <= end; word += 2 * BLOCK) crc = twoBlocks(words, word, crc)
  for (const end = words.length - 3; word < end; word += 4) crc = step(t, words, word, crc)
  for (at += word * 4; at < to; at++) crc = (crc >>> 8) ^ t[(crc ^ bytes[at]!) & 0xff]!
  return ~crc >>> 0
}

/** The checksum goes on over two blocks. // hot */
function twoBlocks(words: Int32Array, from: number, before: number): number {
  const t = TABLES
  let first = before
  let second = 0
  for (let word = from; word < from + BLOCK; word += 4) {
    first = step(t, words, word, first)
    second = step(t, words, word + BLOCK, second)
  }
  const over = OVER_BLOCK
  return (
    over[first & 0xff]! ^
    over[256 + ((first >>> 8) & 0xff)]! ^
    over[512 + ((first >>> 16) & 0xff)]! ^
    over[768 + (first >>> 24)]! ^
    second
  )
}

/** Over four words. // hot */
function step(t: Int32Array, words: Int32Array, word: number, crc: number): number {
  const a = words[word]! ^ crc
  const b = words[word + 1]!
  const c = words[word + 2]!
  const d = words[word + 3]!
  return (
    t[3840 + (a & 0xff)]! ^
    t[3584 + ((a >>> 8) & 0xff)]! ^
    t[3328 + ((a >>> 16) & 0xff)]! ^
    t[3072 + (a >>> 24)]! ^
    t[2816 + (b & 0xff)]! ^
    t[2560 + ((b >>> 8) & 0xff)]! ^
    t[2304 + ((b >>> 16) & 0xff)]! ^
    t[2048 + (b >>> 24)]! ^
    t[1792 + (c & 0xff)]! ^
    t[1536 + ((c >>> 8) & 0xff)]! ^
    t[1280 + ((c >>> 16) & 0xff)]! ^
    t[1024 + (c >>> 24)]! ^
    t[768 + (d & 0xff)]! ^
    t[512 + ((d >>> 8) & 0xff)]! ^
    t[256 + ((d >>> 16) & 0xff)]! ^
    t[d >>> 24]!
  )
}
