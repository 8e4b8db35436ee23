// Searches UTF-8 for a regular expression, each code point looked at once: a deterministic automaton made while it runs
// (as RE2's), from sets of steps. Memory is bounded: when the states are too many they are dropped and made anew.

import { parseRegex } from './parse.ts'
import {
  ASSERT_BEGIN,
  ASSERT_END,
  ASSERT_LINE_BEGIN,
  ASSERT_LINE_END,
  ASSERT_NO_WORD,
  ASSERT_WORD,
  Program,
  STEP_ASSERT,
  STEP_CLASS,
  STEP_MATCH,
  STEP_SPLIT,
} from './program.ts'
import { contains, POINT_MAX } from './ranges.ts'

/** Bytes of the table of transitions above which the states are dropped. */
const TABLE_BYTES_MAX: i32 = 256 << 10
const STATES_MAX: i32 = 2000

const UNKNOWN: i32 = -1
/** A match was found: the search is over. */
const FOUND: i32 = -2

/** What stands before a position. */
const BEFORE_BEGIN: i32 = 1
const BEFORE_WORD: i32 = 2
const BEFORE_NEWLINE: i32 = 4

@final
class State {
  constructor(public steps: i32[], public before: i32) {}
}

@final
export class Regex {
  private program: Program
  /** Where the kinds of code points begin: all of one kind are alike to the pattern. */
  private bounds: u32[] = []
  private kindOfAscii: StaticArray<u16> = new StaticArray<u16>(128)
  /** Kinds of code points; one more is the end of the text. */
  private kinds: i32 = 0
  private states: State[] = []
  private known: Map<string, i32> = new Map()
  private table: i32[] = []
  private start: i32 = 0
  /** Steps met in the set that is being made: their mark is `mark`. */
  private marks: i32[] = []
  private mark: i32 = 0
  private stack: i32[] = []
  private matched: bool = false

  /** @throws Error that says what is wrong with the pattern */
  constructor(pattern: string) {
    this.program = parseRegex(pattern)
    for (let i = 0; i < this.program.steps.length; i++) this.marks.push(0)
    this.divide()
    this.restart()
  }

  /** All code points between two neighbouring bounds are in the same classes. */
  private divide(): void {
    const all: u32[] = [0, 0x0a, 0x0b, 0x30, 0x3a, 0x41, 0x5b, 0x5f, 0x60, 0x61, 0x7b]
    const steps = this.program.steps
    let last = all
    for (let i = 0; i < steps.length; i++) {
      const ranges = steps[i].ranges
      if (ranges === last) continue
      last = ranges
      for (let j = 0; j < ranges.length; j += 2) {
        all.push(ranges[j])
        if (ranges[j + 1] < POINT_MAX) all.push(ranges[j + 1] + 1)
      }
    }
    all.sort((a, b) => (a < b ? -1 : i32(a > b)))
    for (let i = 0; i < all.length; i++) {
      if (this.bounds.length == 0 || this.bounds[this.bounds.length - 1] != all[i]) this.bounds.push(all[i])
    }
    this.kinds = this.bounds.length
    for (let c = 0; c < 128; c++) this.kindOfAscii[c] = this.kindOf(c) as u16
  }

  private kindOf(point: u32): i32 {
    let low = 0
    let high = this.bounds.length
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (this.bounds[middle] <= point) low = middle
      else high = middle
    }
    return low
  }

  private restart(): void {
    this.states = []
    this.known = new Map()
    this.table = []
    const first: i32[] = []
    this.begin()
    this.spread(this.program.start, first, false, 0, 0)
    this.start = this.stateOf(first, BEFORE_BEGIN)
  }

  private stateOf(steps: i32[], before: i32): i32 {
    steps.sort((a, b) => a - b)
    const name = before.toString() + ':' + steps.join()
    if (this.known.has(name)) return this.known.get(name)
    const number = this.states.push(new State(steps, before)) - 1
    this.known.set(name, number)
    for (let i = 0; i <= this.kinds; i++) this.table.push(UNKNOWN)
    return number
  }

  private begin(): void {
    this.mark++
    this.matched = false
  }

  /** Adds to the set a step and all that are reached from it without a code point; asserts only where `known`. */
  private spread(step: i32, to: i32[], known: bool, before: i32, after: i32): void {
    const stack = this.stack
    stack.push(step)
    while (stack.length > 0) {
      const number = stack.pop()
      if (this.marks[number] == this.mark) continue
      this.marks[number] = this.mark
      const found = this.program.steps[number]
      if (found.kind == STEP_SPLIT) {
        stack.push(found.next)
        stack.push(found.other)
      } else if (found.kind == STEP_MATCH) {
        this.matched = true
        to.push(number)
      } else if (found.kind == STEP_ASSERT && known) {
        if (holds(found.assertion, before, after)) stack.push(found.next)
      } else to.push(number)
    }
  }

  /** The state that follows with a code point of this kind, or at the end (`kinds`). */
  private follow(number: i32, kind: i32): i32 {
    const state = this.states[number]
    const atEnd = kind == this.kinds
    const point: u32 = atEnd ? 0 : this.bounds[kind]
    const after = atEnd ? BEFORE_BEGIN : contextOf(point)
    // What an assert lets through is known only now, when the next code point is.
    const open: i32[] = []
    this.begin()
    for (let i = 0; i < state.steps.length; i++) this.spread(state.steps[i], open, true, state.before, after)
    let result = FOUND
    if (!this.matched) {
      const next: i32[] = []
      this.begin()
      if (!atEnd) {
        for (let i = 0; i < open.length; i++) {
          const step = this.program.steps[open[i]]
          if (step.kind == STEP_CLASS && contains(step.ranges, point)) this.spread(step.next, next, false, 0, 0)
        }
        // It is a search: a match may begin anywhere.
        this.spread(this.program.start, next, false, 0, 0)
      }
      if (this.states.length >= STATES_MAX || this.table.length * 4 > TABLE_BYTES_MAX) {
        this.restart()
        return this.stateOf(next, atEnd ? 0 : after)
      }
      result = this.stateOf(next, atEnd ? 0 : after)
    }
    this.table[number * (this.kinds + 1) + kind] = result
    return result
  }

  /** The text has a match somewhere. // hot */
  matches(at: usize, bytes: usize): bool {
    const end = at + bytes
    let state = this.start
    while (at < end) {
      const c: u32 = load<u8>(at)
      let kind: i32
      if (c < 0x80) {
        kind = unchecked(this.kindOfAscii[c])
        at++
      } else {
        kind = this.kindOf(decode(at))
        at += c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2
      }
      const next = unchecked(this.table[state * (this.kinds + 1) + kind])
      state = next == UNKNOWN ? this.follow(state, kind) : next
      if (state == FOUND) return true
    }
    const next = unchecked(this.table[state * (this.kinds + 1) + this.kinds])
    return (next == UNKNOWN ? this.follow(state, this.kinds) : next) == FOUND
  }
}

@inline
function decode(at: usize): u32 {
  const c: u32 = load<u8>(at)
  const second: u32 = load<u8>(at + 1) & 0x3f
  if (c < 0xe0) return ((c & 0x1f) << 6) | second
  const third: u32 = load<u8>(at + 2) & 0x3f
  if (c < 0xf0) return ((c & 0x0f) << 12) | (second << 6) | third
  return ((c & 0x07) << 18) | (second << 12) | (third << 6) | (load<u8>(at + 3) & 0x3f)
}

/** What a code point is to its neighbours. */
function contextOf(point: u32): i32 {
  if (point == 0x0a) return BEFORE_NEWLINE
  const word = point - 0x30 <= 9 || point - 0x41 <= 25 || point == 0x5f || point - 0x61 <= 25
  return word ? BEFORE_WORD : 0
}

/** `after` has BEFORE_BEGIN at the end of the text. */
function holds(assertion: i32, before: i32, after: i32): bool {
  switch (assertion) {
    case ASSERT_BEGIN: return (before & BEFORE_BEGIN) != 0
    case ASSERT_END: return (after & BEFORE_BEGIN) != 0
    case ASSERT_LINE_BEGIN: return (before & (BEFORE_BEGIN | BEFORE_NEWLINE)) != 0
    case ASSERT_LINE_END: return (after & (BEFORE_BEGIN | BEFORE_NEWLINE)) != 0
    case ASSERT_WORD: return ((before ^ after) & BEFORE_WORD) != 0
    case ASSERT_NO_WORD: return ((before ^ after) & BEFORE_WORD) == 0
    default: return false
  }
}
