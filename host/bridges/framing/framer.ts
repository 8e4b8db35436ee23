// Cuts bytes that come in pieces into records. One implementation per format: lines and CSV.
// Runs on: bridge. The bytes are the caller's, valid during a call.

import type { SpqrError } from '../../../schemas/errors.ts'
import type { RecordBuffer } from '../../record/record.ts'

/** Records are cut until a chunk has about this many bytes, unless options say otherwise. */
export const CHUNK_BYTES = 256 << 10
/** Of what could not become a record at most so much is shown. */
export const REFUSED_BYTES_MAX = 16 << 10

export interface FramerOptions {
  /** Header included. */
  recordBytesMax: number
  /** Low bits of each record's `source`: which of several files. */
  source: number
  /** Bytes of a chunk; CHUNK_BYTES unless given. */
  chunkBytes?: number
  /** Line number of the first line that is given, from 1. */
  line: number
  /** What could not become a record: its bytes (or the beginning of them) and its line. */
  refuse(error: SpqrError, bytes: Uint8Array, line: number): void
}

export interface Framer {
  /** The number of the next line, from 1. */
  line: number
  /**
   * Adds whole records to `out`, at most `recordsMax`, until `out` is a chunk or no whole record is left.
   * @param last no more bytes will come: what is left is a record too
   * @returns where the next record begins, which is `from` of the next call; the bytes from there are to be given again
   */
  take(bytes: Buffer, from: number, to: number, last: boolean, out: RecordBuffer, recordsMax: number): number
  /** Bytes taken of a record that is too large and has not ended yet; 0: the next byte begins a record. */
  readonly skippedBytes: number
}
