// The record in work: a view of the input region, moved from record to record.

import {
  FAULT_INVALID_RECORD,
  FLAG_KEY,
  FLAG_TOMBSTONE,
  RECORD_FLAGS,
  RECORD_HEADER_BYTES,
  RECORD_HEADERS_BYTES,
  RECORD_KEY_BYTES,
  RECORD_LENGTH,
  RECORD_SOURCE,
  RECORD_SOURCE_OFFSET,
  RECORD_TIMESTAMP,
  RECORD_VALUE_BYTES,
} from '../abi.ts'
import { Bytes } from './bytes.ts'
import { rejectRecord } from './host.ts'
import { Paths } from './json/paths.ts'
import { JsonValue } from './json-value.ts'
import { input } from './mailbox.ts'

/** So many paths are remembered; more are looked up anew. */
const PATHS_MAX: i32 = 256
const NULL_LENGTH: u32 = 0xffffffff

/** A record; it and everything it gives is valid during the call. */
@final
export class Record {
  /** Address of its frame (layout in abi.ts). */
  pointer: usize = 0
  /** FAULT_* that ends the call behind this record; 0: none. */
  fault: i32 = 0
  /** `reject` was called. */
  rejected: bool = false

  private keyView: Bytes = new Bytes()
  private valueView: Bytes = new Bytes()
  private paths: Paths | null = null
  private names: string[] = []
  private values: JsonValue[] = []
  private walked: bool = false

  /** For the runtime alone: makes it the record at this address. */
  @inline
  move(pointer: usize): void {
    this.pointer = pointer
    this.walked = false
    this.rejected = false
  }

  /** ms since 1970 */
  get timestamp(): i64 {
    return load<i64>(this.pointer, RECORD_TIMESTAMP)
  }
  /** Its offset in the source partition it came from. */
  get sourceOffset(): i64 {
    return load<i64>(this.pointer, RECORD_SOURCE_OFFSET)
  }
  /** Which source partition: (index of the source << 16) + partition. */
  get source(): u32 {
    return load<u32>(this.pointer, RECORD_SOURCE)
  }
  get hasKey(): bool {
    return (load<u8>(this.pointer, RECORD_FLAGS) & FLAG_KEY) != 0
  }
  /** It has no value: it says that its key is gone. */
  get isTombstone(): bool {
    return (load<u8>(this.pointer, RECORD_FLAGS) & FLAG_TOMBSTONE) != 0
  }

  /** Bytes of the whole frame. */
  @inline
  get frameBytes(): usize {
    return load<u32>(this.pointer, RECORD_LENGTH)
  }
  @inline
  get keyBytes(): usize {
    return load<u32>(this.pointer, RECORD_KEY_BYTES)
  }
  @inline
  get headersBytes(): usize {
    return load<u32>(this.pointer, RECORD_HEADERS_BYTES)
  }
  @inline
  get valueBytes(): usize {
    return load<u32>(this.pointer, RECORD_VALUE_BYTES)
  }
  @inline
  get keyPointer(): usize {
    return this.pointer + RECORD_HEADER_BYTES
  }
  @inline
  get headersPointer(): usize {
    return this.keyPointer + this.keyBytes
  }
  @inline
  get valuePointer(): usize {
    return this.headersPointer + this.headersBytes
  }

  /** Empty where it has none: `hasKey` tells. */
  get key(): Bytes {
    this.keyView.pointer = this.keyPointer
    this.keyView.length = this.keyBytes as i32
    return this.keyView
  }

  get value(): Bytes {
    this.valueView.pointer = this.valuePointer
    this.valueView.length = this.valueBytes as i32
    return this.valueView
  }

  /** The headers, in their order: a name may be there more than once. */
  get headers(): Headers {
    return new Headers(this.headersPointer, this.valuePointer)
  }

  /**
   * What the JSON value holds at a path such as `product.price` or `items[0].id`. All paths asked for are found in one
   * walk over the value, which also checks it: if it is not JSON, everything is missing, and after `process` returned
   * the call is undone and the record goes to the dead letters as INVALID_RECORD.
   */
  json(path: string): JsonValue {
    let index = this.names.indexOf(path)
    if (index < 0) index = this.addPath(path)
    if (!this.walked) this.walk()
    return this.values[index]
  }

  private addPath(path: string): i32 {
    if (this.names.length == PATHS_MAX) {
      this.paths!.free()
      this.paths = null
      this.names = []
      this.values = []
    }
    if (!this.paths) this.paths = new Paths()
    const paths = this.paths!
    this.values.push(new JsonValue(paths, paths.add(path)))
    this.walked = false
    return this.names.push(path) - 1
  }

  private walk(): void {
    this.walked = true
    const at = this.valuePointer
    if (!this.paths!.read(at, at + this.valueBytes)) this.fault = FAULT_INVALID_RECORD
  }

  /**
   * Sends the record to the dead letters as INVALID_RECORD with this message. Only before it left a trace in the
   * operator: nothing is undone. `process` should return next.
   */
  reject(message: string): void {
    const text = String.UTF8.encode(message)
    this.rejectBytes(changetype<usize>(text), text.byteLength)
  }

  /** The same with a message that is UTF-8 already. */
  rejectBytes(at: usize, bytes: usize): void {
    this.rejected = true
    rejectRecord((this.pointer - input) as u32, at, bytes as u32)
  }
}

/** A record's headers. */
@final
export class Headers {
  constructor(
    private begin: usize,
    private end: usize,
  ) {}

  /** How many there are. */
  get length(): i32 {
    let count = 0
    for (let at = this.begin; at < this.end; at = next(at)) count++
    return count
  }

  /** Name of the n-th one. */
  name(index: i32): string {
    const at = this.find(index)
    return at ? String.UTF8.decodeUnsafe(at + 4, load<u32>(at)) : ''
  }

  /** Value of the n-th one as text; null where it has none. */
  value(index: i32): string | null {
    const at = this.find(index)
    return at ? valueText(at) : null
  }

  /** Value of the first one of this name as text; null where there is none. */
  get(name: string): string | null {
    const wanted = String.UTF8.encode(name)
    for (let at = this.begin; at < this.end; at = next(at)) {
      if (
        load<u32>(at) == wanted.byteLength &&
        memory.compare(at + 4, changetype<usize>(wanted), wanted.byteLength) == 0
      ) {
        return valueText(at)
      }
    }
    return null
  }

  private find(index: i32): usize {
    for (let at = this.begin; at < this.end; at = next(at)) if (index-- == 0) return at
    return 0
  }
}

function next(at: usize): usize {
  at += 4 + load<u32>(at)
  const bytes = load<u32>(at)
  return at + 4 + (bytes == NULL_LENGTH ? 0 : bytes)
}

function valueText(at: usize): string | null {
  at += 4 + load<u32>(at)
  const bytes = load<u32>(at)
  return bytes == NULL_LENGTH ? null : String.UTF8.decodeUnsafe(at + 4, bytes)
}
