// Kafka's RecordBatch v2 (magic 2): the layout of its head, which reader and writer share. Big-endian.
//
//    0 i64 baseOffset            8 i32 length (bytes after this field)   12 i32 partitionLeaderEpoch
//   16 i8  magic                17 u32 crc (CRC-32C of all from 21 on)   21 i16 attributes
//   23 i32 lastOffsetDelta      27 i64 baseTimestamp                     35 i64 maxTimestamp
//   43 i64 producerId           51 i16 producerEpoch                     53 i32 baseSequence
//   57 i32 records              61     the records, compressed as a whole where the attributes say so
//
// A record: varint length, i8 attributes, varlong timestampDelta, varint offsetDelta, varint keyLength (-1: none), key,
// varint valueLength (-1: none), value, varint headers, {varint nameLength, name, varint valueLength (-1), value}.
// Varints are zigzag. Runs on: bridge.

export const BATCH_OFFSET = 0
export const BATCH_LENGTH = 8
export const BATCH_LEADER_EPOCH = 12
export const BATCH_MAGIC = 16
export const BATCH_CRC = 17
export const BATCH_ATTRIBUTES = 21
export const BATCH_LAST_DELTA = 23
export const BATCH_BASE_TIMESTAMP = 27
export const BATCH_MAX_TIMESTAMP = 35
export const BATCH_PRODUCER_ID = 43
export const BATCH_PRODUCER_EPOCH = 51
export const BATCH_SEQUENCE = 53
export const BATCH_RECORDS = 57
export const BATCH_HEAD_BYTES = 61
/** Offset and length, which the length does not count. */
export const BATCH_PREFIX_BYTES = 12

export const MAGIC = 2
export const ATTRIBUTE_CODEC = 7
export const ATTRIBUTE_LOG_APPEND_TIME = 8
export const ATTRIBUTE_TRANSACTIONAL = 16
export const ATTRIBUTE_CONTROL = 32

const TWO_32 = 4294967296

/** A signed 64-bit number within ±2^53; exact, and no BigInt is made. */
export function readI64BE(view: DataView, at: number): number {
  return view.getInt32(at) * TWO_32 + view.getUint32(at + 4)
}

export function writeI64BE(view: DataView, at: number, value: number): void {
  const high = Math.floor(value / TWO_32)
  view.setInt32(at, high)
  view.setUint32(at + 4, value - high * TWO_32)
}

/** Bytes that a number from 0 to 2^31 - 1 takes as a zigzag varint. // hot */
export function sizeOfLength(value: number): number {
  return value < 0x40 ? 1 : value < 0x2000 ? 2 : value < 0x100000 ? 3 : value < 0x8000000 ? 4 : 5
}

/** Bytes that a whole number within ±2^52 takes as a zigzag varlong. // hot */
export function sizeOfVarlong(value: number): number {
  let zigzag = value < 0 ? -2 * value - 1 : 2 * value
  let bytes = 1
  while (zigzag >= 128) {
    zigzag = Math.floor(zigzag / 128)
    bytes++
  }
  return bytes
}

/** Writes a whole number within ±2^52 as a zigzag varlong. @returns where it ends // hot */
export function writeVarlong(bytes: Uint8Array, at: number, value: number): number {
  let zigzag = value < 0 ? -2 * value - 1 : 2 * value
  let end = at
  while (zigzag >= 128) {
    const rest = Math.floor(zigzag / 128)
    bytes[end++] = zigzag - rest * 128 + 128
    zigzag = rest
  }
  bytes[end++] = zigzag
  return end
}
