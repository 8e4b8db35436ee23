// json-aggregate: groups records by paths and keeps counts, sums, extremes, means, distinct counts and tops of each group;
// `flush` emits an object per group, in the order in which the groups came.
//
// payload of a group:  0 u32 changed   4 u32 group text   8 u32 its bytes   12 u32 bytes of its key   16 fields, 16 each
// The group text is the record's key, then the beginning of the object: `{"country":"de","action":"view"`.

import { Change, Emitter, Operator, Record, register, Settings } from 'spqr'
import { Paths, Slot, slotRaw, slotText } from 'spqr/json/paths'
import { KIND_MISSING, KIND_STRING } from 'spqr/json/scan'
import { Writer } from 'spqr/json/writer'
import { allocateBytes } from 'spqr/memory'
import { sameTree } from '../conditions/literal.ts'
import { ByteTable } from '../values/byte-table.ts'
import { appendIdentity } from '../values/identity.ts'
import { appendName, Field, FIELD_BYTES, fieldOf } from './field.ts'

const GROUP_BYTES: usize = 16

class JsonAggregate extends Operator {
  private paths: Paths = new Paths()
  private groupSlots: Slot[] = []
  private groupLabels: Writer[] = []
  private fields: Field[] = []
  private groups: ByteTable = new ByteTable(0)
  private onlyChanged: bool = true
  private resetOnEmit: bool = false
  private identity: Writer = new Writer()
  private text: Writer = new Writer()
  private groupBy: Settings | null = null
  private fieldSettings: Settings | null = null

  configure(settings: Settings): Change {
    const emit = settings.str('emit', 'changed')
    const reset = settings.str('reset', 'never')
    if (emit != 'changed' && emit != 'all') throw new Error('emit is "changed" or "all", not "' + emit + '"')
    if (reset != 'never' && reset != 'onEmit') throw new Error('reset is "never" or "onEmit", not "' + reset + '"')
    this.onlyChanged = emit == 'changed'
    this.resetOnEmit = reset == 'onEmit'
    const groupBy = settings.get('groupBy')
    const fields = settings.get('fields')
    const known = this.groupBy
    if (known && sameTree(known, groupBy) && sameTree(this.fieldSettings!, fields)) return Change.Keep
    this.begin(groupBy, fields)
    return known ? Change.Reset : Change.Keep
  }

  private begin(groupBy: Settings, fields: Settings): void {
    this.forget()
    this.paths.free()
    this.paths = new Paths()
    this.groupSlots = []
    this.groupLabels = []
    this.fields = []
    if (groupBy.isArray) for (let i = 0; i < groupBy.length; i++) this.addGroup(groupBy.at(i))
    else if (groupBy.exists && !groupBy.isNull) this.addGroup(groupBy)
    if (!fields.isArray) throw new Error('fields is a list of {path, as, fn}')
    for (let i = 0; i < fields.length; i++) this.fields.push(fieldOf(fields.at(i), this.paths))
    this.groups = new ByteTable(GROUP_BYTES + FIELD_BYTES * this.fields.length)
    this.groupBy = groupBy
    this.fieldSettings = fields
  }

  private addGroup(from: Settings): void {
    const path = from.isString ? from.string : from.str('path')
    if (!from.isString && !from.get('path').isString) throw new Error('groupBy is a path, {path, as}, or a list of them')
    const label = new Writer()
    appendName(from.isObject ? from.str('as', path) : path, label)
    this.groupSlots.push(this.paths.add(path))
    this.groupLabels.push(label)
  }

  // hot
  process(record: Record, out: Emitter): void {
    const at = record.valuePointer
    const paths = this.paths
    if (!paths.read(at, at + record.valueBytes)) {
      record.reject('the value is not JSON')
      return
    }
    const identity = this.identity
    identity.clear()
    const slots = this.groupSlots
    const count = slots.length
    for (let i = 0; i < count; i++) {
      const slot = unchecked(slots[i])
      const begin = identity.length
      if (count > 1) {
        identity.room(4)
        identity.length += 4
      }
      appendIdentity(paths.kind(slot), slot, identity)
      // Lengths between the parts, or two groups could have the same bytes.
      if (count > 1) store<u32>(identity.start + begin, (identity.length - begin) as u32)
    }
    identity.room(32)
    let group = this.groups.find(identity.start, identity.length)
    if (!group) group = this.addEntry()
    store<u32>(group, 1)
    const fields = this.fields
    for (let i = 0, length = fields.length; i < length; i++) {
      unchecked(fields[i]).add(paths, group + GROUP_BYTES + i * FIELD_BYTES)
    }
  }

  private addEntry(): usize {
    const group = this.groups.add(this.identity.start, this.identity.length)
    const text = this.text
    text.clear()
    this.appendKey(text)
    store<u32>(group, text.length as u32, 12)
    text.byte(0x7b)
    for (let i = 0; i < this.groupSlots.length; i++) {
      if (i > 0) text.byte(0x2c)
      text.bytes(this.groupLabels[i].start, this.groupLabels[i].length)
      this.appendValue(this.groupSlots[i], text)
    }
    const copy = allocateBytes(text.length)
    memory.copy(copy, text.start, text.length)
    store<u32>(group, copy as u32, 4)
    store<u32>(group, text.length as u32, 8)
    return group
  }

  private appendValue(slot: Slot, to: Writer): void {
    if (this.paths.kind(slot) == KIND_MISSING) to.text('null')
    else slotRaw(slot, to)
  }

  /** The group's value as text, of several a JSON array. */
  private appendKey(to: Writer): void {
    const slots = this.groupSlots
    if (slots.length == 0) return
    if (slots.length == 1) {
      if (this.paths.kind(slots[0]) == KIND_STRING) slotText(slots[0], to)
      else this.appendValue(slots[0], to)
      return
    }
    to.byte(0x5b)
    for (let i = 0; i < slots.length; i++) {
      if (i > 0) to.byte(0x2c)
      this.appendValue(slots[i], to)
    }
    to.byte(0x5d)
  }

  flush(out: Emitter): void {
    const text = this.text
    const keyed = this.groupSlots.length > 0
    for (let i: u32 = 0; i < this.groups.length; i++) {
      const group = this.groups.at(i)
      if (this.onlyChanged && !load<u32>(group)) continue
      store<u32>(group, 0)
      const keyBytes = load<u32>(group, 12)
      text.clear()
      text.bytes(load<u32>(group, 4), load<u32>(group, 8))
      for (let f = 0; f < this.fields.length; f++) {
        const field = this.fields[f]
        if (f > 0 || keyed) text.byte(0x2c)
        text.bytes(field.label.start, field.label.length)
        field.print(group + GROUP_BYTES + f * FIELD_BYTES, text)
      }
      text.byte(0x7d)
      if (!out.isConnected(0)) continue
      const at = out.begin(0, keyed ? (keyBytes as i32) : -1, 0, (text.length - keyBytes) as i32)
      memory.copy(at, text.start, text.length)
      out.end()
    }
    if (this.resetOnEmit) this.forget()
  }

  private forget(): void {
    for (let i: u32 = 0; i < this.groups.length; i++) heap.free(load<u32>(this.groups.at(i), 4))
    this.groups.clear()
    for (let i = 0; i < this.fields.length; i++) this.fields[i].clear()
  }
}

register(new JsonAggregate())
