// Expressions of `compute`: `price * quantity`, `if(country == 'de', 0.19, 0.2)`, `concat(upper(name), "!")`.
//
// Values are those of JSON, and "missing": what a path leads nowhere to, and what has no meaning, as `1 - "a"`; a missing
// result is written as null. Comparisons are those of conditions: with a missing value, or of different kinds, they are
// false (`!=` of different kinds is true). `&& || !` and `if` take null, false, 0, "" and missing for false.

import { parsePath } from 'spqr/json/path'
import { parseNumber } from 'spqr/json/parse-number'
import { printNumber } from 'spqr/json/print-number'
import {
  KIND_ARRAY,
  KIND_FALSE,
  KIND_MISSING,
  KIND_NULL,
  KIND_NUMBER,
  KIND_OBJECT,
  KIND_STRING,
  KIND_TRUE,
  skipNumber,
} from 'spqr/json/scan'
import { decodeString, encodeString } from 'spqr/json/text'
import { Writer } from 'spqr/json/writer'
import { compareBytes, Constant, indexOfBytes, sameBytes } from 'spqr/memory'
import { sameTree } from '../conditions/literal.ts'
import { Settings } from 'spqr'
import { keep } from './arena.ts'
import { find, Item, Place, print } from './tree.ts'

const scratch = new Writer()

/** An expression; evaluating it leaves its value in its own fields. */
export abstract class Expression {
  kind: u32 = KIND_MISSING
  number: f64 = 0
  /** Of a string its bytes; of an array or object, and of a number from the record, its JSON text. */
  at: usize = 0
  bytes: usize = 0

  abstract evaluate(root: Item): void

  get isTrue(): bool {
    if (this.kind == KIND_NUMBER) return this.number != 0 && this.number == this.number
    if (this.kind == KIND_STRING) return this.bytes > 0
    return this.kind == KIND_TRUE || this.kind == KIND_ARRAY || this.kind == KIND_OBJECT
  }

  setNumber(value: f64): void {
    this.kind = KIND_NUMBER
    this.number = value
    this.bytes = 0
  }

  setBool(value: bool): void {
    this.kind = value ? KIND_TRUE : KIND_FALSE
  }

  /** The writer's bytes as a string, which lives as long as the record. */
  setText(writer: Writer): void {
    this.kind = KIND_STRING
    this.at = keep(writer)
    this.bytes = writer.length
  }

  take(other: Expression): void {
    this.kind = other.kind
    this.number = other.number
    this.at = other.at
    this.bytes = other.bytes
  }

  /** Appends it as JSON; numbers from the record keep their digits. */
  printJson(to: Writer): void {
    if (this.kind == KIND_STRING) encodeString(this.at, this.bytes, to)
    else if (this.kind == KIND_NUMBER && this.bytes == 0) printNumber(this.number, to)
    else if (this.kind == KIND_TRUE) to.text('true')
    else if (this.kind == KIND_FALSE) to.text('false')
    else if (this.kind <= KIND_NULL) to.text('null')
    else to.bytes(this.at, this.bytes)
  }

  /** Appends it as text: strings without quotes, nothing for null and missing. */
  printText(to: Writer): void {
    if (this.kind == KIND_STRING) to.bytes(this.at, this.bytes)
    else if (this.kind > KIND_NULL) this.printJson(to)
  }
}

@final
export class Fixed extends Expression {
  private constant: Constant | null = null

  static number(value: f64): Fixed {
    const made = new Fixed()
    made.setNumber(value)
    return made
  }

  static text(value: string): Fixed {
    const made = new Fixed()
    const constant = Constant.ofText(value)
    made.constant = constant
    made.kind = KIND_STRING
    made.at = constant.pointer
    made.bytes = constant.bytes
    return made
  }

  static word(kind: u32): Fixed {
    const made = new Fixed()
    made.kind = kind
    return made
  }

  evaluate(root: Item): void {}
}

@final
export class Path extends Expression {
  private places: Place[]

  constructor(path: string) {
    super()
    this.places = placesOf(path)
  }

  evaluate(root: Item): void {
    const item = find(root, this.places)
    this.kind = item ? item.kind : KIND_MISSING
    if (!item) return
    if (this.kind == KIND_STRING) {
      scratch.clear()
      decodeString(item.start + 1, item.end - 1, scratch)
      this.setText(scratch)
    } else if (this.kind == KIND_NUMBER) {
      this.number = parseNumber(item.start, item.end)
      this.at = item.start
      this.bytes = item.end - item.start
    } else if (this.kind >= KIND_ARRAY) {
      scratch.clear()
      print(item, scratch)
      this.at = keep(scratch)
      this.bytes = scratch.length
    }
  }
}

/** @throws Error that says what is wrong with the path */
export function placesOf(path: string): Place[] {
  const steps = parsePath(path)
  const places: Place[] = []
  for (let i = 0; i < steps.length; i++) {
    const field = steps[i].field
    let name: Constant | null = null
    if (field !== null) name = Constant.ofText(field)
    places.push(new Place(name, steps[i].index))
  }
  return places
}

export const OPERATOR_OR: i32 = 0
export const OPERATOR_AND: i32 = 1
export const OPERATOR_EQUAL: i32 = 2
export const OPERATOR_NOT_EQUAL: i32 = 3
export const OPERATOR_LESS: i32 = 4
export const OPERATOR_LESS_EQUAL: i32 = 5
export const OPERATOR_GREATER: i32 = 6
export const OPERATOR_GREATER_EQUAL: i32 = 7
export const OPERATOR_ADD: i32 = 8
export const OPERATOR_SUBTRACT: i32 = 9
export const OPERATOR_MULTIPLY: i32 = 10
export const OPERATOR_DIVIDE: i32 = 11
export const OPERATOR_REMAINDER: i32 = 12

@final
export class Binary extends Expression {
  constructor(private operator: i32, private left: Expression, private right: Expression) { super() }

  evaluate(root: Item): void {
    const left = this.left
    const right = this.right
    left.evaluate(root)
    if (this.operator == OPERATOR_OR && left.isTrue) return this.setBool(true)
    if (this.operator == OPERATOR_AND && !left.isTrue) return this.setBool(false)
    right.evaluate(root)
    if (this.operator <= OPERATOR_AND) return this.setBool(right.isTrue)
    if (this.operator <= OPERATOR_GREATER_EQUAL) return this.setBool(this.compare())
    if (this.operator == OPERATOR_ADD && (left.kind == KIND_STRING || right.kind == KIND_STRING)) {
      this.kind = KIND_MISSING
      if (left.kind == KIND_MISSING || right.kind == KIND_MISSING) return
      scratch.clear()
      left.printText(scratch)
      right.printText(scratch)
      return this.setText(scratch)
    }
    this.kind = KIND_MISSING
    if (left.kind == KIND_NUMBER && right.kind == KIND_NUMBER) this.setNumber(this.calculate(left.number, right.number))
  }

  private calculate(a: f64, b: f64): f64 {
    switch (this.operator) {
      case OPERATOR_ADD: return a + b
      case OPERATOR_SUBTRACT: return a - b
      case OPERATOR_MULTIPLY: return a * b
      case OPERATOR_DIVIDE: return a / b
      default: return a % b
    }
  }

  private compare(): bool {
    const left = this.left
    const right = this.right
    if (left.kind == KIND_MISSING || right.kind == KIND_MISSING) return false
    if (this.operator == OPERATOR_EQUAL) return sameValue(left, right)
    if (this.operator == OPERATOR_NOT_EQUAL) return !sameValue(left, right)
    if (left.kind != right.kind) return false
    if (left.kind == KIND_STRING) return this.accepts(compareBytes(left.at, left.bytes, right.at, right.bytes))
    if (left.kind != KIND_NUMBER || left.number != left.number || right.number != right.number) return false
    return this.accepts(left.number < right.number ? -1 : i32(left.number > right.number))
  }

  private accepts(order: i32): bool {
    switch (this.operator) {
      case OPERATOR_LESS: return order < 0
      case OPERATOR_LESS_EQUAL: return order <= 0
      case OPERATOR_GREATER: return order > 0
      default: return order >= 0
    }
  }
}

function sameValue(a: Expression, b: Expression): bool {
  if (a.kind != b.kind) return false
  if (a.kind == KIND_NUMBER) return a.number == b.number
  if (a.kind == KIND_STRING) return a.bytes == b.bytes && sameBytes(a.at, b.at, a.bytes)
  if (a.kind < KIND_ARRAY) return true
  return sameTree(Settings.read(a.at, a.bytes)!, Settings.read(b.at, b.bytes)!)
}

@final
export class Not extends Expression {
  constructor(private inner: Expression) { super() }

  evaluate(root: Item): void {
    this.inner.evaluate(root)
    this.setBool(!this.inner.isTrue)
  }
}

@final
export class Negative extends Expression {
  constructor(private inner: Expression) { super() }

  evaluate(root: Item): void {
    this.inner.evaluate(root)
    this.kind = KIND_MISSING
    if (this.inner.kind == KIND_NUMBER) this.setNumber(-this.inner.number)
  }
}

/** Functions by name, with the fewest and the most arguments. */
const FUNCTIONS: string[] = [
  'if 3 3', 'coalesce 1 64', 'concat 0 64', 'lower 1 1', 'upper 1 1', 'length 1 1', 'substring 2 3', 'trim 1 1', 'replace 3 3',
  'contains 2 2', 'startsWith 2 2', 'endsWith 2 2', 'abs 1 1', 'round 1 2', 'floor 1 1', 'ceil 1 1', 'min 1 64', 'max 1 64',
  'number 1 1', 'string 1 1', 'exists 1 1',
]

@final
export class Call extends Expression {
  private name: i32 = -1

  constructor(name: string, private args: Expression[]) {
    super()
    let known = ''
    for (let i = 0; i < FUNCTIONS.length; i++) {
      const parts = FUNCTIONS[i].split(' ')
      known += (i > 0 ? ', ' : '') + parts[0]
      if (parts[0] != name) continue
      this.name = i
      if (args.length < I32.parseInt(parts[1]) || args.length > I32.parseInt(parts[2])) {
        throw new Error('compute: ' + name + ' takes ' + parts[1] + (parts[1] == parts[2] ? '' : ' to ' + parts[2]) + ' arguments')
      }
    }
    if (this.name < 0) throw new Error('compute: there is no function "' + name + '"; there are ' + known)
  }

  evaluate(root: Item): void {
    const args = this.args
    this.kind = KIND_MISSING
    if (this.name == 0) {
      args[0].evaluate(root)
      const chosen = args[0].isTrue ? args[1] : args[2]
      chosen.evaluate(root)
      this.take(chosen)
      return
    }
    if (this.name == 1) {
      for (let i = 0; i < args.length; i++) {
        args[i].evaluate(root)
        if (args[i].kind <= KIND_NULL) continue
        this.take(args[i])
        return
      }
      return
    }
    for (let i = 0; i < args.length; i++) args[i].evaluate(root)
    switch (this.name) {
      case 2: return this.concat()
      case 3: case 4: return this.changeCase(this.name == 4)
      case 5: return this.length()
      case 6: return this.substring()
      case 7: return this.trim()
      case 8: return this.replace()
      case 9: case 10: case 11: return this.search()
      case 18: return this.toNumber()
      case 19: {
        if (args[0].kind == KIND_MISSING) return
        scratch.clear()
        if (args[0].kind == KIND_NULL) scratch.text('null')
        else args[0].printText(scratch)
        return this.setText(scratch)
      }
      case 20: return this.setBool(args[0].kind != KIND_MISSING)
      default: return this.calculate()
    }
  }

  private concat(): void {
    const whole = new Writer()
    for (let i = 0; i < this.args.length; i++) this.args[i].printText(whole)
    whole.room(1)
    this.setText(whole)
    whole.free()
  }

  private changeCase(upper: bool): void {
    const given = this.args[0]
    if (given.kind != KIND_STRING) return
    const text = String.UTF8.decodeUnsafe(given.at, given.bytes)
    scratch.clear()
    scratch.text(upper ? text.toUpperCase() : text.toLowerCase())
    this.setText(scratch)
  }

  /** Code points of a string, elements of an array, fields of an object. */
  private length(): void {
    const given = this.args[0]
    if (given.kind == KIND_STRING) this.setNumber(pointsOf(given.at, given.bytes) as f64)
    else if (given.kind >= KIND_ARRAY) this.setNumber(Settings.read(given.at, given.bytes)!.length as f64)
  }

  /** Code points from … to (not included), as JavaScript's substring but never swapped. */
  private substring(): void {
    const given = this.args[0]
    const from = this.args[1]
    if (given.kind != KIND_STRING || from.kind != KIND_NUMBER) return
    const count = pointsOf(given.at, given.bytes)
    let to = count as f64
    if (this.args.length > 2) {
      if (this.args[2].kind != KIND_NUMBER) return
      to = clamped(this.args[2].number, count)
    }
    const begin = offsetOf(given.at, given.bytes, clamped(from.number, count) as i32)
    const end = offsetOf(given.at, given.bytes, to as i32)
    this.kind = KIND_STRING
    this.at = given.at + begin
    this.bytes = end > begin ? end - begin : 0
  }

  /** Space, tab, line ends. */
  private trim(): void {
    const given = this.args[0]
    if (given.kind != KIND_STRING) return
    let begin = given.at
    let end = given.at + given.bytes
    while (begin < end && isSpace(load<u8>(begin))) begin++
    while (end > begin && isSpace(load<u8>(end - 1))) end--
    this.kind = KIND_STRING
    this.at = begin
    this.bytes = end - begin
  }

  /** Every occurrence. */
  private replace(): void {
    const given = this.args[0]
    const what = this.args[1]
    const by = this.args[2]
    if (given.kind != KIND_STRING || what.kind != KIND_STRING || by.kind != KIND_STRING) return
    if (what.bytes == 0) return this.take(given)
    scratch.clear()
    let at = given.at
    let rest = given.bytes
    while (true) {
      const found = indexOfBytes(at, rest, what.at, what.bytes)
      if (found < 0) break
      scratch.bytes(at, found)
      scratch.bytes(by.at, by.bytes)
      at += (found as usize) + what.bytes
      rest -= (found as usize) + what.bytes
    }
    scratch.bytes(at, rest)
    this.setText(scratch)
  }

  private search(): void {
    const given = this.args[0]
    const part = this.args[1]
    if (given.kind != KIND_STRING || part.kind != KIND_STRING) return this.setBool(false)
    if (this.name == 9) return this.setBool(indexOfBytes(given.at, given.bytes, part.at, part.bytes) >= 0)
    if (part.bytes > given.bytes) return this.setBool(false)
    this.setBool(sameBytes(this.name == 10 ? given.at : given.at + given.bytes - part.bytes, part.at, part.bytes))
  }

  /** Of a string that is a number as JSON has it, blanks around it left out; true is 1, false 0. */
  private toNumber(): void {
    const given = this.args[0]
    if (given.kind == KIND_NUMBER) return this.take(given)
    if (given.kind == KIND_TRUE || given.kind == KIND_FALSE) return this.setNumber(given.kind == KIND_TRUE ? 1 : 0)
    if (given.kind != KIND_STRING) return
    this.trim()
    scratch.clear()
    scratch.bytes(this.at, this.bytes)
    store<u8>(scratch.room(1), 0)
    this.kind = KIND_MISSING
    if (scratch.length == 0 || skipNumber(scratch.start) != scratch.start + scratch.length) return
    this.setNumber(parseNumber(scratch.start, scratch.start + scratch.length))
  }

  private calculate(): void {
    const args = this.args
    let value = args[0].number
    for (let i = 0; i < args.length; i++) if (args[i].kind != KIND_NUMBER) return
    switch (this.name) {
      case 12: value = Math.abs(value); break
      case 13: {
        const scale = args.length > 1 ? Math.pow(10, Math.floor(args[1].number)) : 1
        value = scale == 1 ? Math.round(value) : Math.round(value * scale) / scale
        break
      }
      case 14: value = Math.floor(value); break
      case 15: value = Math.ceil(value); break
      case 16: for (let i = 1; i < args.length; i++) value = Math.min(value, args[i].number); break
      default: for (let i = 1; i < args.length; i++) value = Math.max(value, args[i].number)
    }
    this.setNumber(value)
  }
}

function isSpace(c: u32): bool {
  return c == 0x20 || c - 9 <= 4
}

function clamped(value: f64, most: i32): f64 {
  return value == value ? Math.floor(Math.max(0, Math.min(value, most as f64))) : 0
}

function pointsOf(at: usize, bytes: usize): i32 {
  let count = 0
  for (let i: usize = 0; i < bytes; i++) count += i32((load<u8>(at + i) & 0xc0) != 0x80)
  return count
}

/** Bytes before the n-th code point. */
function offsetOf(at: usize, bytes: usize, point: i32): usize {
  let count = -1
  for (let i: usize = 0; i < bytes; i++) {
    if ((load<u8>(at + i) & 0xc0) != 0x80 && ++count == point) return i
  }
  return bytes
}
