// What a check of a document finds on its way.

import type { Issue } from './errors.ts'

export class Findings {
  readonly issues: Issue[] = []
  readonly warnings: Issue[] = []

  issue(pointer: string, message: string): void {
    this.issues.push({ pointer, message })
  }

  warn(pointer: string, message: string): void {
    this.warnings.push({ pointer, message })
  }

  add({ issues, warnings }: Findings): void {
    this.issues.push(...issues)
    this.warnings.push(...warnings)
  }
}
