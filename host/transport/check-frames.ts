// Checks what is to be appended, before a transport takes any of it.
// Runs on: the thread that appends.

import { SpqrError } from '../../schemas/errors.ts'
import {
  KIND_DATA,
  RECORD_ALIGNMENT,
  RECORD_HEADER_BYTES,
  RECORD_HEADERS_BYTES,
  RECORD_KEY_BYTES,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_VALUE_BYTES,
} from '../record/record.ts'

/** The largest record that the log takes, header included. */
const LOG_RECORD_BYTES_MAX = 17 << 20

/**
 * Checks that `frames` are exactly `records` whole data records. // hot
 * @throws SpqrError RECORD_TOO_LARGE; RangeError where they are no records
 */
export function checkFrames(topic: string, frames: Uint8Array, records: number): void {
  const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength)
  const total = frames.length
  let at = 0
  let seen = 0
  while (at < total) {
    if (total - at < RECORD_HEADER_BYTES) break
    const bytes = view.getUint32(at + RECORD_LENGTH, true)
    const parts =
      RECORD_HEADER_BYTES +
      view.getUint32(at + RECORD_KEY_BYTES, true) +
      view.getUint32(at + RECORD_HEADERS_BYTES, true) +
      view.getUint32(at + RECORD_VALUE_BYTES, true)
    if (bytes % RECORD_ALIGNMENT !== 0 || parts > bytes || bytes > total - at) break
    if (frames[at + RECORD_KIND] !== KIND_DATA) break
    if (bytes > LOG_RECORD_BYTES_MAX) throw tooLarge(topic, bytes)
    at += bytes
    seen++
  }
  if (at === total && seen === records) return
  throw new RangeError(
    at === total
      ? `Cannot append to "${topic}": ${records} records were announced, ${seen} came`
      : `Cannot append to "${topic}": no data record at byte ${at} of ${total}`,
  )
}

function tooLarge(topic: string, bytes: number): SpqrError {
  const text = `Cannot append to "${topic}": a record has ${bytes} bytes, at most ${LOG_RECORD_BYTES_MAX} are taken.`
  return new SpqrError('RECORD_TOO_LARGE', text)
}
