// Conditions over paths, as `where` has them: made once from the settings, asked for every record. Nothing is allocated
// for a record, except where an array or object is compared with a constant one.

import { Settings } from 'spqr'
import { Paths, Slot } from 'spqr/json/paths'
import { KIND_ARRAY, KIND_MISSING, KIND_STRING, kindAt, skipSpace, skipValue } from 'spqr/json/scan'
import { Constant, indexOfBytes, sameBytes } from 'spqr/memory'
import { Regex } from '../regex/regex.ts'
import { Literal, textAt, textBytes, useText } from './literal.ts'
import { ValueSet } from './value-set.ts'

/** Values of a list that are gone through one by one: of so few that is as quick. */
const LISTED_MAX: i32 = 8

/** Conditions inside of conditions. */
const NESTING_MAX: i32 = 64

export abstract class Condition {
  /** It holds for the text that `paths` has read. // hot */
  abstract holds(paths: Paths): bool
  free(): void {}
}

/**
 * A list of conditions, which all must hold, or a single one. Its paths are added to `paths`.
 *
 * @throws Error that says what is wrong with it
 */
export function conditionOf(from: Settings, paths: Paths, nesting: i32 = 0): Condition {
  if (nesting > NESTING_MAX) throw new Error('conditions are nested more than ' + NESTING_MAX.toString() + ' deep')
  if (!from.exists || from.isNull) return new Several([], true)
  if (from.isArray) return new Several(listOf(from, paths, nesting), true)
  if (!from.isObject) throw new Error('a condition is an object such as {path, equals}, not ' + from.raw)
  const parts: Condition[] = []
  if (from.has('all')) parts.push(new Several(listOf(from.get('all'), paths, nesting), true))
  if (from.has('any')) parts.push(new Several(listOf(from.get('any'), paths, nesting), false))
  if (from.has('not')) parts.push(new Not(conditionOf(from.get('not'), paths, nesting + 1)))
  if (from.has('path')) comparisons(from, paths, parts)
  if (parts.length == 0) throw new Error('a condition has a path and a comparison, or all, any, not: ' + from.raw)
  return parts.length == 1 ? parts[0] : new Several(parts, true)
}

function listOf(from: Settings, paths: Paths, nesting: i32): Condition[] {
  const made: Condition[] = []
  if (!from.isArray) {
    made.push(conditionOf(from, paths, nesting + 1))
    return made
  }
  for (let i = 0; i < from.length; i++) made.push(conditionOf(from.at(i), paths, nesting + 1))
  return made
}

function comparisons(from: Settings, paths: Paths, to: Condition[]): void {
  if (!from.get('path').isString) throw new Error('the path of a condition is a string: ' + from.raw)
  const slot = paths.add(from.str('path'))
  const before = to.length
  for (let i = 0; i < from.length; i++) {
    const operation = from.keys[i]
    if (operation != 'path' && operation != 'all' && operation != 'any' && operation != 'not') {
      to.push(comparison(slot, operation, from.at(i)))
    }
  }
  if (to.length == before) throw new Error('a path is to be compared with something: ' + from.raw)
}

function comparison(slot: Slot, operation: string, value: Settings): Condition {
  if (operation == 'equals') return new Equals(slot, [new Literal(value)], true)
  if (operation == 'notEquals') return new Equals(slot, [new Literal(value)], false)
  if (operation == 'in') return among(slot, value, true)
  if (operation == 'notIn') return among(slot, value, false)
  if (operation == 'gt') return new Ordered(slot, value, ABOVE)
  if (operation == 'gte') return new Ordered(slot, value, SAME | ABOVE)
  if (operation == 'lt') return new Ordered(slot, value, BELOW)
  if (operation == 'lte') return new Ordered(slot, value, BELOW | SAME)
  if (operation == 'between') {
    if (!value.isArray || value.length != 2) throw new Error('between takes a list of two bounds, not ' + value.raw)
    const both: Condition[] = [
      new Ordered(slot, value.at(0), SAME | ABOVE),
      new Ordered(slot, value.at(1), BELOW | SAME),
    ]
    return new Several(both, true)
  }
  if (operation == 'contains') return new Contains(slot, value)
  if (operation == 'startsWith') return new Affix(slot, value, operation, true)
  if (operation == 'endsWith') return new Affix(slot, value, operation, false)
  if (operation == 'matches') return new Matches(slot, value)
  if (operation == 'exists') {
    if (!value.isBool) throw new Error('exists takes true or false, not ' + value.raw)
    return new Exists(slot, value.isTrue)
  }
  throw new Error('"' + operation + '" is no comparison')
}

function among(slot: Slot, list: Settings, wanted: bool): Condition {
  if (!list.isArray) throw new Error('in and notIn take a list, not ' + list.raw)
  if (list.length > LISTED_MAX) return new Among(slot, new ValueSet(list), wanted)
  const values: Literal[] = []
  for (let i = 0; i < list.length; i++) values.push(new Literal(list.at(i)))
  return new Equals(slot, values, wanted)
}

/** `all` and `any`. */
class Several extends Condition {
  /** @param wanted true: each must hold; false: one is enough */
  constructor(
    private parts: Condition[],
    private wanted: bool,
  ) {
    super()
  }

  holds(paths: Paths): bool {
    const wanted = this.wanted
    for (let i = 0, count = this.parts.length; i < count; i++) {
      if (unchecked(this.parts[i]).holds(paths) != wanted) return !wanted
    }
    return wanted
  }

  free(): void {
    for (let i = 0; i < this.parts.length; i++) this.parts[i].free()
  }
}

class Not extends Condition {
  constructor(private inner: Condition) {
    super()
  }
  holds(paths: Paths): bool {
    return !this.inner.holds(paths)
  }
  free(): void {
    this.inner.free()
  }
}

class Exists extends Condition {
  constructor(
    private slot: Slot,
    private wanted: bool,
  ) {
    super()
  }
  holds(paths: Paths): bool {
    return paths.has(this.slot) == this.wanted
  }
}

/** `equals`, `in` with a short list, and their negatives. */
class Equals extends Condition {
  constructor(
    private slot: Slot,
    private values: Literal[],
    private wanted: bool,
  ) {
    super()
  }

  holds(paths: Paths): bool {
    const slot = this.slot
    const kind = paths.kind(slot)
    if (kind == KIND_MISSING) return false
    for (let i = 0, count = this.values.length; i < count; i++) {
      if (unchecked(this.values[i]).equals(kind, slot.start, slot.end, slot.escapes != 0)) return this.wanted
    }
    return !this.wanted
  }

  free(): void {
    for (let i = 0; i < this.values.length; i++) this.values[i].free()
  }
}

// Orders that hold, each the bit of what `compare` answers plus 1; where there is none, no bit is set.
const BELOW: i32 = 1
const SAME: i32 = 2
const ABOVE: i32 = 4

/** `gt`, `gte`, `lt`, `lte`. */
class Ordered extends Condition {
  private bound: Literal

  constructor(
    private slot: Slot,
    bound: Settings,
    private orders: i32,
  ) {
    super()
    if (!bound.isNumber && !bound.isString) throw new Error('a bound is a number or a string, not ' + bound.raw)
    this.bound = new Literal(bound)
  }

  holds(paths: Paths): bool {
    const slot = this.slot
    const order = this.bound.compare(paths.kind(slot), slot.start, slot.end, slot.escapes != 0)
    return ((this.orders >> (order + 1)) & 1) != 0
  }

  free(): void {
    this.bound.free()
  }
}

/** A part of a string, or an element of an array. */
class Contains extends Condition {
  private element: Literal
  private part: Constant | null = null

  constructor(
    private slot: Slot,
    value: Settings,
  ) {
    super()
    this.element = new Literal(value)
    if (value.isString) this.part = Constant.ofText(value.string)
  }

  holds(paths: Paths): bool {
    const slot = this.slot
    const kind = paths.kind(slot)
    if (kind == KIND_STRING) {
      const part = this.part
      if (!part) return false
      useText(slot.start, slot.end, slot.escapes != 0)
      return indexOfBytes(textAt, textBytes, part.pointer, part.bytes) >= 0
    }
    return kind == KIND_ARRAY && this.inArray(slot.start)
  }

  /** The array's text was checked, so that its end needs no looking for. */
  private inArray(at: usize): bool {
    at = skipSpace(at + 1)
    while (load<u8>(at) != 0x5d) {
      const end = skipValue(at, 0)
      const kind = kindAt(at)
      const quote: usize = kind == KIND_STRING ? 1 : 0
      if (this.element.equals(kind, at + quote, end - quote, true)) return true
      at = skipSpace(end)
      if (load<u8>(at) == 0x2c) at = skipSpace(at + 1)
    }
    return false
  }

  free(): void {
    this.element.free()
    if (this.part) this.part!.free()
  }
}

/** `startsWith`, `endsWith`. */
class Affix extends Condition {
  private part: Constant

  constructor(
    private slot: Slot,
    value: Settings,
    operation: string,
    private first: bool,
  ) {
    super()
    if (!value.isString) throw new Error(operation + ' takes a string, not ' + value.raw)
    this.part = Constant.ofText(value.string)
  }

  holds(paths: Paths): bool {
    const slot = this.slot
    if (paths.kind(slot) != KIND_STRING) return false
    useText(slot.start, slot.end, slot.escapes != 0)
    const bytes = this.part.bytes
    if (bytes > textBytes) return false
    return sameBytes(this.first ? textAt : textAt + textBytes - bytes, this.part.pointer, bytes)
  }

  free(): void {
    this.part.free()
  }
}

/** A match somewhere in a string. */
class Matches extends Condition {
  private regex: Regex

  constructor(
    private slot: Slot,
    value: Settings,
  ) {
    super()
    if (!value.isString) throw new Error('matches takes a pattern, not ' + value.raw)
    this.regex = new Regex(value.string)
  }

  holds(paths: Paths): bool {
    const slot = this.slot
    if (paths.kind(slot) != KIND_STRING) return false
    useText(slot.start, slot.end, slot.escapes != 0)
    return this.regex.matches(textAt, textBytes)
  }
}

/** `in` with a long list, and its negative. */
class Among extends Condition {
  constructor(
    private slot: Slot,
    private values: ValueSet,
    private wanted: bool,
  ) {
    super()
  }

  holds(paths: Paths): bool {
    const slot = this.slot
    const kind = paths.kind(slot)
    if (kind == KIND_MISSING) return false
    return this.values.has(kind, slot.start, slot.end, slot.escapes != 0) == this.wanted
  }

  free(): void {
    this.values.free()
  }
}
