// The values of a long list, looked up instead of gone through: numbers and strings by hash, the few others one by one.
// Linear memory outside of the collector, made once from the settings.

import { Settings } from 'spqr'
import { parseNumber } from 'spqr/json/parse-number'
import { KIND_NUMBER, KIND_STRING } from 'spqr/json/scan'
import { allocateBytes, Constant } from 'spqr/memory'
import { ByteTable } from '../values/byte-table.ts'
import { Literal, textAt, textBytes, useText } from './literal.ts'

@final
export class ValueSet {
  /** Slots of doubles, NaN where there is none, which no number of JSON is; linear probing. 0: no number is in it. */
  private numbers: usize = 0
  /** 64 less the bits of a slot's number. */
  private shift: u32 = 0
  private mask: u32 = 0
  private texts: ByteTable = new ByteTable(0)
  private others: Literal[] = []

  constructor(list: Settings) {
    let numbers = 0
    for (let i = 0; i < list.length; i++) numbers += i32(list.at(i).isNumber)
    if (numbers > 0) this.makeSlots(numbers)
    for (let i = 0; i < list.length; i++) {
      const item = list.at(i)
      if (item.isNumber) store<f64>(this.slotOf(item.number), item.number)
      else if (item.isString) this.addText(item.string)
      else this.others.push(new Literal(item))
    }
  }

  /** The value of this kind at `start … end` (of a string between its quotes) is in it. // hot */
  has(kind: u32, start: usize, end: usize, escaped: bool): bool {
    if (kind == KIND_NUMBER) {
      if (this.numbers == 0) return false
      const value = parseNumber(start, end)
      return load<f64>(this.slotOf(value)) == value
    }
    if (kind == KIND_STRING) {
      useText(start, end, escaped)
      return this.texts.find(textAt, textBytes) != 0
    }
    for (let i = 0, count = this.others.length; i < count; i++) {
      if (unchecked(this.others[i]).equals(kind, start, end, escaped)) return true
    }
    return false
  }

  free(): void {
    if (this.numbers) heap.free(this.numbers)
    this.texts.clear()
    for (let i = 0; i < this.others.length; i++) this.others[i].free()
  }

  /** At most half of them are taken. */
  private makeSlots(numbers: i32): void {
    const bits = 33 - clz(numbers as u32)
    this.shift = 64 - bits
    this.mask = (1 << bits) - 1
    const bytes: usize = 8 << (bits as usize)
    this.numbers = allocateBytes(bytes)
    // Of this byte alone every double is NaN.
    memory.fill(this.numbers, 0xff, bytes)
  }

  /** Where the number stands, or would. */
  private slotOf(value: f64): usize {
    // The two zeros are one number. What differs in a few bits above differs in the topmost bits of the product.
    const bits = reinterpret<u64>(value == 0 ? 0 : value)
    let slot = ((bits * 0x9e3779b97f4a7c15) >> this.shift) as u32
    while (true) {
      const at = this.numbers + ((slot as usize) << 3)
      const present = load<f64>(at)
      if (present == value || present != present) return at
      slot = (slot + 1) & this.mask
    }
  }

  private addText(text: string): void {
    const bytes = Constant.ofText(text)
    if (!this.texts.find(bytes.pointer, bytes.bytes)) this.texts.add(bytes.pointer, bytes.bytes)
    bytes.free()
  }
}
