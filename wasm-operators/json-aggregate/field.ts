// The functions of json-aggregate. What a field keeps of a group is 16 bytes in the group's payload: two doubles, or a
// count, or the number of a table.

import { Settings } from 'spqr'
import { Paths, Slot, slotNumber, slotRaw } from 'spqr/json/paths'
import { printInteger, printNumber } from 'spqr/json/print-number'
import { KIND_NUMBER } from 'spqr/json/scan'
import { encodeString } from 'spqr/json/text'
import { Writer } from 'spqr/json/writer'
import { allocateBytes } from 'spqr/memory'
import { ByteTable } from '../values/byte-table.ts'
import { appendIdentity } from '../values/identity.ts'

/** Bytes that a field keeps in the payload of a group. */
export const FIELD_BYTES: usize = 16
const TOP_DEFAULT: i32 = 10

const identity = new Writer()

/** Appends `"name":` to an object. */
export function appendName(name: string, to: Writer): void {
  const utf8 = new Writer()
  utf8.text(name)
  utf8.room(1)
  encodeString(utf8.start, utf8.length, to)
  utf8.free()
  to.byte(0x3a)
}

export abstract class Field {
  /** `"as":`, ready to be copied. */
  label: Writer = new Writer()
  /** Null: no path. */
  slot: Slot | null = null

  /** Takes one record in; `state` are this field's bytes of the group. // hot */
  abstract add(paths: Paths, state: usize): void
  /** Appends the value. */
  abstract print(state: usize, to: Writer): void
  /** All groups are forgotten. */
  clear(): void {}
}

/** @throws Error that says what is wrong with it */
export function fieldOf(from: Settings, paths: Paths): Field {
  const as = from.get('as')
  if (!as.isString) throw new Error('a field is {path, as, fn}, and "as" is its name: ' + from.raw)
  const path = from.get('path')
  const fn = from.str('fn')
  const made = functionOf(fn, from)
  if (path.isString) made.slot = paths.add(path.string)
  else if (fn != 'count') throw new Error('"' + fn + '" needs a path: ' + from.raw)
  appendName(as.string, made.label)
  return made
}

function functionOf(fn: string, from: Settings): Field {
  if (fn == 'count') return new Count()
  if (fn == 'sum') return new Sum()
  if (fn == 'mean') return new Mean()
  if (fn == 'min') return new Extreme(-1)
  if (fn == 'max') return new Extreme(1)
  if (fn == 'distinct') return new Distinct()
  if (fn == 'top') return new Top(max(1, from.f64('k', TOP_DEFAULT) as i32))
  throw new Error('fn is count, sum, min, max, mean, distinct or top, not "' + fn + '"')
}

class Count extends Field {
  add(paths: Paths, state: usize): void {
    const slot = this.slot
    if (!slot || paths.has(slot)) store<u64>(state, load<u64>(state) + 1)
  }

  print(state: usize, to: Writer): void { printInteger(load<u64>(state), to) }
}

/** State: f64 sum, u64 numbers in it. */
class Sum extends Field {
  add(paths: Paths, state: usize): void {
    const slot = this.slot!
    if (paths.kind(slot) != KIND_NUMBER) return
    store<f64>(state, load<f64>(state) + slotNumber(slot))
    store<u64>(state, load<u64>(state, 8) + 1, 8)
  }

  print(state: usize, to: Writer): void {
    printNumber(load<u64>(state, 8) ? load<f64>(state) : NaN, to)
  }
}

@final
class Mean extends Sum {
  print(state: usize, to: Writer): void { printNumber(load<f64>(state) / (load<u64>(state, 8) as f64), to) }
}

/** State: f64 extreme, u64 numbers seen. */
@final
class Extreme extends Field {
  constructor(private sign: f64) { super() }

  add(paths: Paths, state: usize): void {
    const slot = this.slot!
    if (paths.kind(slot) != KIND_NUMBER) return
    const value = slotNumber(slot)
    const seen = load<u64>(state, 8)
    if (seen == 0 || (value - load<f64>(state)) * this.sign > 0) store<f64>(state, value)
    store<u64>(state, seen + 1, 8)
  }

  print(state: usize, to: Writer): void {
    printNumber(load<u64>(state, 8) ? load<f64>(state) : NaN, to)
  }
}

/** State: u32 number of its table, plus 1; 0: none yet. */
abstract class Tabled extends Field {
  protected tables: ByteTable[] = []

  protected abstract makeTable(): ByteTable

  protected tableOf(state: usize): ByteTable {
    const number = load<u32>(state)
    if (number) return unchecked(this.tables[number - 1])
    const table = this.makeTable()
    store<u32>(state, this.tables.push(table))
    return table
  }

  clear(): void {
    for (let i = 0; i < this.tables.length; i++) this.tables[i].clear()
    this.tables = []
  }
}

@final
class Distinct extends Tabled {
  protected makeTable(): ByteTable { return new ByteTable(0) }

  add(paths: Paths, state: usize): void {
    const slot = this.slot!
    if (!paths.has(slot)) return
    identity.clear()
    appendIdentity(slot.kind, slot, identity)
    identity.room(1)
    const table = this.tableOf(state)
    if (!table.find(identity.start, identity.length)) table.add(identity.start, identity.length)
  }

  print(state: usize, to: Writer): void {
    const number = load<u32>(state)
    printInteger(number ? this.tables[number - 1].length : 0, to)
  }
}

/** Payload of a value: u64 count, u32 its JSON text as first seen, u32 bytes of that. */
@final
class Top extends Tabled {
  private text: Writer = new Writer()

  constructor(private k: i32) { super() }

  protected makeTable(): ByteTable { return new ByteTable(16) }

  add(paths: Paths, state: usize): void {
    const slot = this.slot!
    if (!paths.has(slot)) return
    identity.clear()
    appendIdentity(slot.kind, slot, identity)
    identity.room(1)
    const table = this.tableOf(state)
    let entry = table.find(identity.start, identity.length)
    if (!entry) {
      entry = table.add(identity.start, identity.length)
      this.text.clear()
      slotRaw(slot, this.text)
      const copy = allocateBytes(this.text.length)
      memory.copy(copy, this.text.start, this.text.length)
      store<u32>(entry, copy as u32, 8)
      store<u32>(entry, this.text.length as u32, 12)
    }
    store<u64>(entry, load<u64>(entry) + 1)
  }

  print(state: usize, to: Writer): void {
    to.byte(0x5b)
    const number = load<u32>(state)
    if (number) {
      const best = this.best(this.tables[number - 1])
      for (let i = 0; i < best.length; i++) {
        if (i > 0) to.byte(0x2c)
        to.text('{"value":')
        to.bytes(load<u32>(best[i], 8), load<u32>(best[i], 12))
        to.text(',"count":')
        printInteger(load<u64>(best[i]), to)
        to.byte(0x7d)
      }
    }
    to.byte(0x5d)
  }

  /** The k most frequent, of equals the one seen first first. */
  private best(table: ByteTable): usize[] {
    const best: usize[] = []
    for (let i: u32 = 0; i < table.length; i++) {
      const entry = table.at(i)
      const count = load<u64>(entry)
      if (best.length == this.k && load<u64>(best[best.length - 1]) >= count) continue
      let low = 0
      let high = best.length
      while (low < high) {
        const middle = (low + high) >> 1
        if (load<u64>(best[middle]) >= count) low = middle + 1
        else high = middle
      }
      if (best.length == this.k) best.pop()
      best.push(0)
      for (let j = best.length - 1; j > low; j--) best[j] = best[j - 1]
      best[low] = entry
    }
    return best
  }

  clear(): void {
    for (let t = 0; t < this.tables.length; t++) {
      const table = this.tables[t]
      for (let i: u32 = 0; i < table.length; i++) heap.free(load<u32>(table.at(i), 8))
    }
    super.clear()
  }
}
