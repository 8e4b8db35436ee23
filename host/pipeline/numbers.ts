// Hands out small numbers (channels, counter blocks, pipelines) and takes them back.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'

export interface NumberPool {
  /** @throws SpqrError QUOTA_EXCEEDED when all are taken */
  take(): number
  giveBack(number: number): void
}

export class Numbers implements NumberPool {
  private readonly free: number[] = []
  private next = 0
  private readonly limit: number
  private readonly what: string

  constructor(what: string, limit: number) {
    this.what = what
    this.limit = limit
  }

  /** Numbers that are taken. */
  get inUse(): number {
    return this.next - this.free.length
  }

  take(): number {
    const number = this.free.pop() ?? this.next
    if (number >= this.limit)
      throw new SpqrError('QUOTA_EXCEEDED', `This host has no more than ${this.limit} ${this.what}`)
    if (number === this.next) this.next++
    return number
  }

  giveBack(number: number): void {
    this.free.push(number)
  }
}
