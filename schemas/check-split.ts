// Checks how a document wants its work divided: operators in several instances, by key, and the pipeline on several hosts.

import type { Draft } from './check-component.ts'
import { DOCUMENT_LIMITS, type DocumentComponent, type PipelineDocument } from './document.ts'
import type { Findings } from './findings.ts'

/** @param document in its normal form; its drafts in the same order */
export function checkSplit(document: PipelineDocument, drafts: readonly Draft[], found: Findings): void {
  let instances = 0
  document.components.forEach((component, i) => {
    if (component.operator === undefined) return
    const { parallelism = 1 } = component
    instances += parallelism
    if (parallelism > 1) checkKeys(component, drafts[i]!, found)
  })
  if (instances > DOCUMENT_LIMITS.instances) {
    found.issue(
      '/components',
      `the operators have ${instances} instances together, at most ${DOCUMENT_LIMITS.instances} are possible: lower "parallelism"`,
    )
  }
  if (document.replicas > 1) {
    found.warn('/replicas', 'the pipeline runs once: running it on several hosts is not there yet')
  }
  if (document.placement?.labels !== undefined) {
    found.warn('/placement', 'the pipeline runs on the one host there is: choosing among hosts is not there yet')
  }
}

/** What an operator keeps together has to be in one instance, or each of them has a part of it. */
function checkKeys({ id, partitionBy }: DocumentComponent, { pointer, resolved }: Draft, found: Findings): void {
  if (resolved?.kind !== 'operator' || partitionBy === undefined) return
  if (resolved.name === 'json-aggregate') {
    const groups = (resolved.settings.groupBy ?? []) as { path: string }[]
    if (partitionBy !== 'key' && groups.some(({ path }) => path === partitionBy)) return
    const message = `"${id}" groups by something else: each instance has an object of its own for a group; name a path of "groupBy"`
    found.warn(`${pointer}/partitionBy`, message)
  } else if (resolved.name === 'dedupe' && resolved.settings.by !== partitionBy) {
    const message = `"${id}" compares by something else: duplicates in different instances are not seen; name what "by" names`
    found.warn(`${pointer}/partitionBy`, message)
  }
}
