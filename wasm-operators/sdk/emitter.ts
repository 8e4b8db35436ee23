// What an operator emits with: writes frames into the output region.

import {
  FLAG_KEY,
  FLAG_TOMBSTONE,
  KIND_DATA,
  RECORD_ALIGNMENT,
  RECORD_FLAGS,
  RECORD_HEADER_BYTES,
  RECORD_HEADERS_BYTES,
  RECORD_KEY_BYTES,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_PORT,
  RECORD_SEQUENCE,
  RECORD_SOURCE,
  RECORD_SOURCE_OFFSET,
  RECORD_TIMESTAMP,
  RECORD_VALUE_BYTES,
} from '../abi.ts'
import { Bytes } from './bytes.ts'
import { requestFlush } from './host.ts'
import { isConnected, recordWritten, roomForRecord } from './mailbox.ts'
import { copyBytes } from './memory.ts'
import { Record } from './record.ts'

/** Port 0 is the first one of the manifest, `out` unless it says otherwise. */
@final
export class Emitter {
  /** ms since 1970 that new records get: the present record's; in `flush` the highest seen. */
  timestamp: i64 = 0
  /** For the runtime alone: the call ends behind the present record. */
  flushRequested: bool = false
  private sourceOffset: i64 = 0
  private source: u32 = 0
  private highest: i64 = 0
  private frame: usize = 0

  /** For the runtime alone: new records come from this one. */
  @inline
  follow(record: Record): void {
    this.timestamp = record.timestamp
    this.sourceOffset = record.sourceOffset
    this.source = record.source
    if (this.timestamp > this.highest) this.highest = this.timestamp
  }

  /** For the runtime alone: the call is about no record. */
  followNone(): void {
    this.timestamp = this.highest
  }

  /** Something listens at this port; what is emitted to another costs nothing. */
  @inline
  isConnected(port: u32): bool {
    return isConnected(port)
  }

  /** Passes the record on as it is. // hot */
  @inline
  emit(record: Record): void {
    this.emitTo(0, record)
  }

  /** Passes the record on by a port: its index in the manifest. // hot */
  emitTo(port: u32, record: Record): void {
    if (!isConnected(port)) return
    const bytes = record.frameBytes
    const at = roomForRecord(bytes)
    copyBytes(at, record.pointer, bytes)
    store<u16>(at, port as u16, RECORD_PORT)
    recordWritten(bytes)
  }

  /** A new record from a string or bytes (Uint8Array, ArrayBuffer, StaticArray<u8>, Bytes), without a key. */
  write<T>(value: T): void {
    this.writeTo(0, value)
  }

  /** The same by a port. */
  writeTo<T>(port: u32, value: T): void {
    if (!isConnected(port)) return
    const bytes = measure(value)
    const at = this.begin(port, -1, 0, bytes as i32)
    put(at, value)
    this.end()
  }

  /** A new record with a key. */
  writeKeyed<K, T>(key: K, value: T): void {
    this.writeKeyedTo(0, key, value)
  }

  writeKeyedTo<K, T>(port: u32, key: K, value: T): void {
    if (!isConnected(port)) return
    const keyBytes = measure(key)
    const at = this.begin(port, keyBytes as i32, 0, measure(value) as i32)
    put(at, key)
    put(at + keyBytes, value)
    this.end()
  }

  /** A record that says that its key is gone. */
  writeTombstone<K>(key: K): void {
    if (!isConnected(0)) return
    put(this.begin(0, measure(key) as i32, 0, -1), key)
    this.end()
  }

  /** Asks for `flush` after the present record (`emitWhen: {operator: true}`). */
  flushNow(): void {
    this.flushRequested = true
    requestFlush()
  }

  /**
   * Begins a frame of known size; key, headers and value are to be written at the returned address, in this order, then
   * `end()` is to be called. Nothing may be emitted between. Up to SLACK bytes behind it may be touched. // hot
   *
   * @param keyBytes -1: no key
   * @param valueBytes -1: a tombstone
   */
  begin(port: u32, keyBytes: i32, headersBytes: i32, valueBytes: i32): usize {
    const payload = max(keyBytes, 0) + headersBytes + max(valueBytes, 0)
    const length = (RECORD_HEADER_BYTES + payload + (RECORD_ALIGNMENT - 1)) & ~(RECORD_ALIGNMENT - 1)
    const at = roomForRecord(length)
    store<u64>(at, length as u64, RECORD_LENGTH)
    store<u8>(at, KIND_DATA as u8, RECORD_KIND)
    store<u8>(at, ((keyBytes < 0 ? 0 : FLAG_KEY) | (valueBytes < 0 ? FLAG_TOMBSTONE : 0)) as u8, RECORD_FLAGS)
    store<u16>(at, port as u16, RECORD_PORT)
    store<i64>(at, this.timestamp, RECORD_TIMESTAMP)
    store<u64>(at, 0, RECORD_SEQUENCE)
    store<i64>(at, this.sourceOffset, RECORD_SOURCE_OFFSET)
    store<u32>(at, this.source, RECORD_SOURCE)
    store<u32>(at, max(keyBytes, 0), RECORD_KEY_BYTES)
    store<u32>(at, headersBytes, RECORD_HEADERS_BYTES)
    store<u32>(at, max(valueBytes, 0), RECORD_VALUE_BYTES)
    this.frame = at
    return at + RECORD_HEADER_BYTES
  }

  /** The frame begun before is whole. // hot */
  end(): void {
    const at = this.frame
    const length = load<u32>(at)
    const used =
      (RECORD_HEADER_BYTES as u32) +
      load<u32>(at, RECORD_KEY_BYTES) +
      load<u32>(at, RECORD_HEADERS_BYTES) +
      load<u32>(at, RECORD_VALUE_BYTES)
    for (let i = used; i < length; i++) store<u8>(at + i, 0)
    recordWritten(length)
  }
}

function measure<T>(value: T): usize {
  if (isString<T>()) return String.UTF8.byteLength(value as string)
  if (value instanceof Bytes) return value.length
  if (value instanceof Uint8Array) return value.length
  if (value instanceof ArrayBuffer) return value.byteLength
  if (value instanceof StaticArray<u8>) return value.length
  return ERROR('write takes a string, Uint8Array, ArrayBuffer, StaticArray<u8> or Bytes')
}

function put<T>(at: usize, value: T): void {
  if (isString<T>()) String.UTF8.encodeUnsafe(changetype<usize>(value), (value as string).length, at)
  else if (value instanceof Bytes) memory.copy(at, value.pointer, value.length)
  else if (value instanceof Uint8Array) memory.copy(at, value.dataStart, value.length)
  else if (value instanceof ArrayBuffer) memory.copy(at, changetype<usize>(value), value.byteLength)
  else if (value instanceof StaticArray<u8>) memory.copy(at, changetype<usize>(value), value.length)
}
