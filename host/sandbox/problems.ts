// Collects every broken rule of a module, each with its section and byte offset, so that an author sees all at once.
// Runs on: admission.

import type { Issue } from '../../schemas/errors.ts'

/** More are not listed: a mutilated module breaks the same rule a thousand times. */
const ISSUES_MAX = 50

/** The bytes end early or are no encoding of anything. Thrown by `ModuleReader`, caught at each section and function. */
export class Malformed extends Error {
  override readonly name = 'Malformed'
  /** Byte in the module. */
  readonly offset: number
  readonly rule: string

  constructor(message: string, offset: number, rule = 'encoding') {
    super(message)
    this.offset = offset
    this.rule = rule
  }
}

export class Problems {
  readonly issues: Issue[] = []
  #left = 0

  /**
   * @param rule the rule in a word or two, e.g. `imports`
   * @param text what is wrong and what to do, without a full stop
   * @param place `start section` and the like
   * @param offset byte in the module
   */
  add(rule: string, text: string, place: string, offset: number): void {
    if (this.issues.length < ISSUES_MAX) {
      this.issues.push({ pointer: '', message: `${rule}: ${text} (${place}, byte ${offset})` })
    } else {
      this.#left++
    }
  }

  get found(): boolean {
    return this.issues.length > 0
  }

  /** Runs `parse`; what it throws as `Malformed` becomes an issue. @returns whether it came through */
  guard(place: string, parse: () => void): boolean {
    try {
      parse()
      return true
    } catch (error) {
      if (!(error instanceof Malformed)) throw error
      this.add(error.rule, error.message, place, error.offset)
      return false
    }
  }

  list(): Issue[] {
    if (this.#left === 0) return this.issues
    return [...this.issues, { pointer: '', message: `and ${this.#left} more problems of this kind` }]
  }
}
