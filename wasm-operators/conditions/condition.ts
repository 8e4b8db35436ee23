// Conditions over paths, as `where` has them: made once from the settings, asked for every record. Nothing is allocated
// for a record, except where an array or object is compared with a constant one.

import { Settings } from 'spqr'
import { Paths, Slot } from 'spqr/json/paths'
import { KIND_ARRAY, KIND_MISSING, KIND_STRING, kindAt, skipSpace, skipValue } from 'spqr/json/scan'
import { Constant, indexOfBytes, sameBytes } from 'spqr/memory'
import { Regex } from '../regex/regex.ts'
import { Literal, textAt, textBytes, useText } from './literal.ts'

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
  if (!from.exists || from.isNull) return new All([])
  if (from.isArray) return new All(listOf(from, paths, nesting))
  if (!from.isObject) throw new Error('a condition is an object such as {path, equals}, not ' + from.raw)
  const parts: Condition[] = []
  if (from.has('all')) parts.push(new All(listOf(from.get('all'), paths, nesting)))
  if (from.has('any')) parts.push(new Any(listOf(from.get('any'), paths, nesting)))
  if (from.has('not')) parts.push(new Not(conditionOf(from.get('not'), paths, nesting + 1)))
  if (from.has('path')) comparisons(from, paths, parts)
  if (parts.length == 0) throw new Error('a condition has a path and a comparison, or all, any, not: ' + from.raw)
  return parts.length == 1 ? parts[0] : new All(parts)
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
  if (operation == 'equals') return new Equals(slot, literals(value, false), true)
  if (operation == 'notEquals') return new Equals(slot, literals(value, false), false)
  if (operation == 'in') return new Equals(slot, literals(value, true), true)
  if (operation == 'notIn') return new Equals(slot, literals(value, true), false)
  if (operation == 'gt') return new Ordered(slot, value, false, false, true)
  if (operation == 'gte') return new Ordered(slot, value, false, true, true)
  if (operation == 'lt') return new Ordered(slot, value, true, false, false)
  if (operation == 'lte') return new Ordered(slot, value, true, true, false)
  if (operation == 'between') {
    if (!value.isArray || value.length != 2) throw new Error('between takes a list of two bounds, not ' + value.raw)
    const both: Condition[] = [
      new Ordered(slot, value.at(0), false, true, true),
      new Ordered(slot, value.at(1), true, true, false),
    ]
    return new All(both)
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

function literals(value: Settings, list: bool): Literal[] {
  const made: Literal[] = []
  if (list) {
    if (!value.isArray) throw new Error('in and notIn take a list, not ' + value.raw)
    for (let i = 0; i < value.length; i++) made.push(new Literal(value.at(i)))
  } else made.push(new Literal(value))
  return made
}

class All extends Condition {
  constructor(private parts: Condition[]) {
    super()
  }

  holds(paths: Paths): bool {
    for (let i = 0, count = this.parts.length; i < count; i++) if (!unchecked(this.parts[i]).holds(paths)) return false
    return true
  }

  free(): void {
    for (let i = 0; i < this.parts.length; i++) this.parts[i].free()
  }
}

class Any extends Condition {
  constructor(private parts: Condition[]) {
    super()
  }

  holds(paths: Paths): bool {
    for (let i = 0, count = this.parts.length; i < count; i++) if (unchecked(this.parts[i]).holds(paths)) return true
    return false
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

/** `equals`, `in`, and their negatives. */
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

/** `gt`, `gte`, `lt`, `lte`. */
class Ordered extends Condition {
  private bound: Literal

  constructor(
    private slot: Slot,
    bound: Settings,
    private below: bool,
    private same: bool,
    private above: bool,
  ) {
    super()
    if (!bound.isNumber && !bound.isString) throw new Error('a bound is a number or a string, not ' + bound.raw)
    this.bound = new Literal(bound)
  }

  holds(paths: Paths): bool {
    const slot = this.slot
    const order = this.bound.compare(paths.kind(slot), slot.start, slot.end, slot.escapes != 0)
    if (order == 0) return this.same
    return order == 2 ? false : order < 0 ? this.below : this.above
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
