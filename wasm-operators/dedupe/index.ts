// dedupe: by a path, or by the record's key (`key`; a field of that name is `["key"]`). A value is remembered from the
// record that was passed on for it, for `withinMs` of the records' own time, or until `capacity` others came. A record
// without the value is no duplicate.

import { Change, Emitter, Operator, Record, register, Settings } from 'spqr'
import { Paths, Slot } from 'spqr/json/paths'
import { Writer } from 'spqr/json/writer'
import { ByteTable } from '../values/byte-table.ts'
import { appendIdentity } from '../values/identity.ts'

const OUT: u32 = 0
const DUPLICATES: u32 = 1
const NONE: i64 = -1

class Dedupe extends Operator {
  private paths: Paths = new Paths()
  private slot: Slot | null = null
  private by: string = ''
  private withinMs: i64 = NONE
  private capacity: i64 = NONE
  private identity: Writer = new Writer()
  /** Payload: i64 ms, when the value was passed on. */
  private seen: ByteTable = new ByteTable(8)
  private now: i64 = i64.MIN_VALUE

  configure(settings: Settings): Change {
    const by = settings.get('by')
    if (!by.isString) throw new Error('by is a path, or "key" for the record\'s key')
    const withinMs = settings.get('withinMs')
    const capacity = settings.get('capacity')
    if (!withinMs.exists && !capacity.exists) throw new Error('dedupe takes "withinMs", "capacity" or both')
    if (withinMs.exists && !(withinMs.number >= 1)) throw new Error('withinMs is a number of 1 or more')
    if (capacity.exists && !(capacity.number >= 1)) throw new Error('capacity is a number of 1 or more')
    const paths = new Paths()
    let slot: Slot | null = null
    if (by.string != 'key') slot = paths.add(by.string)
    this.paths.free()
    this.paths = paths
    this.slot = slot
    this.withinMs = withinMs.exists ? (withinMs.number as i64) : NONE
    this.capacity = capacity.exists ? (capacity.number as i64) : NONE
    const anew = this.by != '' && this.by != by.string
    this.by = by.string
    if (!anew) return Change.Keep
    this.seen.clear()
    return Change.Reset
  }

  // hot
  process(record: Record, out: Emitter): void {
    const slot = this.slot
    const identity = this.identity
    identity.clear()
    if (slot) {
      const at = record.valuePointer
      if (!this.paths.read(at, at + record.valueBytes)) {
        record.reject('the value is not JSON')
        return
      }
      if (!this.paths.has(slot)) {
        out.emitTo(OUT, record)
        return
      }
      appendIdentity(slot.kind, slot, identity)
    } else {
      if (!record.hasKey) {
        out.emitTo(OUT, record)
        return
      }
      identity.bytes(record.keyPointer, record.keyBytes)
    }
    identity.room(1)
    const time = record.timestamp
    this.now = max(this.now, time)
    this.forget()
    const known = this.seen.find(identity.start, identity.length)
    if (known && (this.withinMs == NONE || abs(time - load<i64>(known)) < this.withinMs)) {
      out.emitTo(DUPLICATES, record)
      return
    }
    if (known) store<i64>(known, time)
    else {
      store<i64>(this.seen.add(identity.start, identity.length), time)
      while (this.capacity != NONE && (this.seen.length as i64) > this.capacity) this.seen.removeFirst()
    }
    out.emitTo(OUT, record)
  }

  /** Values that can make no duplicate any more. */
  private forget(): void {
    if (this.withinMs == NONE) return
    while (this.seen.length > 0 && this.now - load<i64>(this.seen.at(0)) >= this.withinMs) this.seen.removeFirst()
  }
}

register(new Dedupe())
