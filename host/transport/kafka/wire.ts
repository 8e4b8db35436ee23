// Writes and reads the plain types of Kafka's protocol, big-endian. Offsets and ids are numbers: exact up to 2^53.
// Runs on: bridge.

import { asBuffer } from '../pack.ts'
import { readI64BE, writeI64BE } from './record-batch.ts'

export class WireWriter {
  #bytes: Buffer
  #view: DataView
  #at = 0

  constructor(capacityBytes = 256) {
    this.#bytes = Buffer.allocUnsafeSlow(capacityBytes)
    this.#view = new DataView(this.#bytes.buffer)
  }

  /** What was written so far; valid until more is. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#at)
  }

  i8(value: number): this {
    this.#reserve(1)
    this.#view.setInt8(this.#at, value)
    this.#at += 1
    return this
  }

  i16(value: number): this {
    this.#reserve(2)
    this.#view.setInt16(this.#at, value)
    this.#at += 2
    return this
  }

  i32(value: number): this {
    this.#reserve(4)
    this.#view.setInt32(this.#at, value)
    this.#at += 4
    return this
  }

  i64(value: number): this {
    this.#reserve(8)
    writeI64BE(this.#view, this.#at, value)
    this.#at += 8
    return this
  }

  bool(value: boolean): this {
    return this.i8(value ? 1 : 0)
  }

  string(value: string | null): this {
    if (value === null) return this.i16(-1)
    const bytes = Buffer.byteLength(value)
    this.i16(bytes)
    this.#reserve(bytes)
    this.#at += this.#bytes.write(value, this.#at)
    return this
  }

  bytes32(value: Uint8Array): this {
    this.i32(value.length)
    this.#reserve(value.length)
    this.#bytes.set(value, this.#at)
    this.#at += value.length
    return this
  }

  array<T>(items: readonly T[], write: (item: T) => void): this {
    this.i32(items.length)
    for (const item of items) write(item)
    return this
  }

  /** As the flexible versions write it: length + 1 as an unsigned varint. */
  compactString(value: string): this {
    const bytes = Buffer.byteLength(value)
    this.unsignedVarint(bytes + 1)
    this.#reserve(bytes)
    this.#at += this.#bytes.write(value, this.#at)
    return this
  }

  compactArray<T>(items: readonly T[], write: (item: T) => void): this {
    this.unsignedVarint(items.length + 1)
    for (const item of items) write(item)
    return this
  }

  /** No tagged fields, which end a structure in the flexible versions. */
  tags(): this {
    return this.i8(0)
  }

  unsignedVarint(value: number): this {
    let rest = value
    for (; rest >= 128; rest >>>= 7) this.i8((rest & 0x7f) | 0x80)
    return this.i8(rest)
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#at + bytes))
    larger.set(this.#bytes.subarray(0, this.#at))
    this.#bytes = larger
    this.#view = new DataView(larger.buffer)
  }
}

export class WireReader {
  /** How long the broker asks to be left alone, in ms; taken note of by `throttle()`. */
  throttleMs = 0
  readonly #bytes: Buffer
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = asBuffer(bytes)
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  throttle(): void {
    this.throttleMs = this.i32()
  }

  i8(): number {
    return this.#view.getInt8(this.#move(1))
  }

  i16(): number {
    return this.#view.getInt16(this.#move(2))
  }

  i32(): number {
    return this.#view.getInt32(this.#move(4))
  }

  i64(): number {
    return readI64BE(this.#view, this.#move(8))
  }

  bool(): boolean {
    return this.i8() !== 0
  }

  string(): string {
    return this.nullableString() ?? ''
  }

  nullableString(): string | null {
    const bytes = this.i16()
    if (bytes < 0) return null
    const at = this.#move(bytes)
    return this.#bytes.toString('utf8', at, at + bytes)
  }

  /** A view of the response's memory. */
  bytes32(): Uint8Array {
    const bytes = this.i32()
    if (bytes <= 0) return new Uint8Array(0)
    const at = this.#move(bytes)
    return this.#bytes.subarray(at, at + bytes)
  }

  array<T>(read: () => T): T[] {
    const count = this.i32()
    const items: T[] = []
    for (let i = 0; i < count; i++) items.push(read())
    return items
  }

  compactArray<T>(read: () => T): T[] {
    const count = this.unsignedVarint() - 1
    const items: T[] = []
    for (let i = 0; i < count; i++) items.push(read())
    return items
  }

  compactString(): string {
    const bytes = this.unsignedVarint() - 1
    if (bytes <= 0) return ''
    const at = this.#move(bytes)
    return this.#bytes.toString('utf8', at, at + bytes)
  }

  unsignedVarint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#view.getUint8(this.#move(1))
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    return value
  }

  /** Skips the tagged fields that end a structure in the flexible versions. */
  tags(): void {
    for (let left = this.unsignedVarint(); left > 0; left--) {
      this.unsignedVarint()
      this.#move(this.unsignedVarint())
    }
  }

  #move(bytes: number): number {
    const at = this.#at
    if (bytes < 0 || at + bytes > this.#bytes.length) {
      throw new RangeError(`A response of Kafka is cut short at byte ${at} of ${this.#bytes.length}`)
    }
    this.#at = at + bytes
    return at
  }
}
