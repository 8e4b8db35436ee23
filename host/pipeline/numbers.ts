// Hands out small numbers (channels, counter blocks, pipelines) and takes them back.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'

export class Numbers {
  private readonly free: number[] = []
  private next = 0
  private readonly limit: number
  private readonly what: string

  constructor(what: string, limit: number) {
    this.what = what
    this.limit = limit
  }

  /** @throws SpqrError QUOTA_EXCEEDED when all are taken */
  take(): number {
    const number = this.free.pop() ?? this.next++
    if (number >= this.limit)
      throw new SpqrError('QUOTA_EXCEEDED', `This host has no more than ${this.limit} ${this.what}`)
    return number
  }

  giveBack(number: number): void {
    this.free.push(number)
  }
}
