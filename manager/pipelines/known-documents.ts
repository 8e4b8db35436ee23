// What was found out about the documents that were changed last, so that the next change of one of their components need not
// read and check all the others again. The store holds the truth; this is only ever the revision that holds.
// Runs on: control.

import type { Known } from '../../schemas/check-document.ts'
import type { Plan } from '../../schemas/plan.ts'
import type { PipelineEntry } from './pipeline-index.ts'

/** A document as its author gave it, in a form that is known to be right. */
export interface GivenDocument {
  components: Record<string, unknown>[]
  [field: string]: unknown
}

/** Nothing of it is ever changed. */
export interface KnownDocument {
  given: GivenDocument
  plan: Plan
  /** Absent: to be checked as a whole. */
  known?: Known
}

const DOCUMENTS_MAX = 32
/** Longer ones are seldom, and take up to ten times as much here. */
const CHARACTERS_MAX = 64 * 1024

export class KnownDocuments {
  /** Who was changed last stands last. By the entry itself, so that one that is made again is another. */
  readonly #known = new Map<PipelineEntry, KnownDocument>()

  of(entry: PipelineEntry): KnownDocument | undefined {
    const found = this.#known.get(entry)
    return found?.plan.revision === entry.revision ? found : undefined
  }

  /** @param characters of the document and of its plan as texts */
  keep(entry: PipelineEntry, document: KnownDocument, characters: number): void {
    this.#known.delete(entry)
    if (characters > CHARACTERS_MAX) return
    this.#known.set(entry, document)
    if (this.#known.size <= DOCUMENTS_MAX) return
    const [eldest] = this.#known.keys()
    this.#known.delete(eldest!)
  }
}
