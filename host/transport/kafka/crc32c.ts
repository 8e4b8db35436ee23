// CRC-32C (Castagnoli), which guards Kafka's record batches: sixteen bytes a step by tables ("slicing by 16"), read as words.
// Runs on: every thread, on machines that are little-endian, as all are that Node runs on.

const POLYNOMIAL = 0x82f63b78
/** Sixteen tables of 256 words, one after the other; table n steps a byte over n bytes of zeros. */
const TABLES = makeTables()

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
  for (const end = words.length - 3; word < end; word += 4) {
    const a = words[word]! ^ crc
    const b = words[word + 1]!
    const c = words[word + 2]!
    const d = words[word + 3]!
    crc =
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
  }
  for (at += word * 4; at < to; at++) crc = (crc >>> 8) ^ t[(crc ^ bytes[at]!) & 0xff]!
  return ~crc >>> 0
}
