// A regular expression as steps of a nondeterministic automaton (Thompson 1968).

import { POINT_MAX } from './ranges.ts'

export const STEP_CLASS: i32 = 0
export const STEP_SPLIT: i32 = 1
export const STEP_ASSERT: i32 = 2
export const STEP_MATCH: i32 = 3

export const ASSERT_BEGIN: i32 = 0
export const ASSERT_END: i32 = 1
export const ASSERT_LINE_BEGIN: i32 = 2
export const ASSERT_LINE_END: i32 = 3
export const ASSERT_WORD: i32 = 4
export const ASSERT_NO_WORD: i32 = 5

/** A pattern may have this many steps, repetitions counted out. */
export const STEPS_MAX: i32 = 20_000

@final
export class Step {
  /** Where it goes on; -1: not linked yet. */
  next: i32 = -1
  /** The other way of a split. */
  other: i32 = -1
  constructor(
    public kind: i32,
    /** Of STEP_CLASS: sorted ranges. */
    public ranges: u32[],
    /** Of STEP_ASSERT. */
    public assertion: i32,
  ) {}
}

const NOTHING: u32[] = []

/** A part of an expression. */
export abstract class Part {
  /** Adds its steps, which go on at `next` → where it begins. */
  abstract build(program: Program, next: i32): i32
}

export class Program {
  steps: Step[] = []
  start: i32 = 0

  add(kind: i32, ranges: u32[], assertion: i32, next: i32, other: i32): i32 {
    if (this.steps.length >= STEPS_MAX) throw new Error('the pattern is too large once its repetitions are counted out')
    const step = new Step(kind, ranges, assertion)
    step.next = next
    step.other = other
    return this.steps.push(step) - 1
  }

  static of(part: Part): Program {
    const program = new Program()
    const match = program.add(STEP_MATCH, NOTHING, 0, -1, -1)
    program.start = part.build(program, match)
    return program
  }
}

export class Empty extends Part {
  build(program: Program, next: i32): i32 { return next }
}

export class Class extends Part {
  constructor(private ranges: u32[]) { super() }
  build(program: Program, next: i32): i32 { return program.add(STEP_CLASS, this.ranges, 0, next, -1) }
  static one(point: u32): Class { return new Class([point, point]) }
  static any(): Class { return new Class([0, POINT_MAX]) }
}

export class Assert extends Part {
  constructor(private assertion: i32) { super() }
  build(program: Program, next: i32): i32 { return program.add(STEP_ASSERT, NOTHING, this.assertion, next, -1) }
}

export class Sequence extends Part {
  constructor(private parts: Part[]) { super() }

  build(program: Program, next: i32): i32 {
    for (let i = this.parts.length - 1; i >= 0; i--) next = this.parts[i].build(program, next)
    return next
  }
}

export class Choice extends Part {
  constructor(private parts: Part[]) { super() }

  build(program: Program, next: i32): i32 {
    let start = this.parts[this.parts.length - 1].build(program, next)
    for (let i = this.parts.length - 2; i >= 0; i--) {
      start = program.add(STEP_SPLIT, NOTHING, 0, this.parts[i].build(program, next), start)
    }
    return start
  }
}

/** `most` -1: without end. Whether it is greedy does not matter to whether there is a match. */
export class Repeat extends Part {
  constructor(private part: Part, private least: i32, private most: i32) { super() }

  build(program: Program, next: i32): i32 {
    if (this.most < 0) {
      const loop = program.add(STEP_SPLIT, NOTHING, 0, -1, next)
      program.steps[loop].next = this.part.build(program, loop)
      next = loop
    } else {
      const end = next
      for (let i = this.least; i < this.most; i++) {
        next = program.add(STEP_SPLIT, NOTHING, 0, this.part.build(program, next), end)
      }
    }
    for (let i = 0; i < this.least; i++) next = this.part.build(program, next)
    return next
  }
}
