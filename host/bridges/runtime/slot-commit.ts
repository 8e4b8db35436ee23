// What is stored of one epoch of a slot: where each source and emitter stands, the images of its operators, and the offsets
// that people see under the groups' names.
// Runs on: bridge.

import type { Image } from '../../compute/messages.ts'
import { componentOf, instanceOf } from '../../compute/units.ts'
import type { SlotCommit, Snapshot } from '../../transport/transport.ts'
import type { Epoch } from './epoch.ts'
import type { CheckpointMeta } from './messages.ts'
import type { SlotParts } from './slot-parts.ts'
import { committedOffsets } from './slot-topics.ts'

/** What an epoch's barrier brought. */
export type Answers = Pick<Epoch, 'positions' | 'images' | 'emitterPositions' | 'revision' | 'savepoint' | 'patient'>

/** What holds for every epoch until it changes. */
export interface Standing {
  /** Images of operators that have ended. */
  readonly endedImages: Map<string, Image>
  /** What each emitter answered last. */
  readonly emitterPositions: Map<string, unknown>
}

/** @param answers those missing are as things stand now */
export function slotCommit(
  parts: SlotParts,
  standing: Standing,
  epoch: number,
  answers: Partial<Answers>,
  completed: boolean,
): SlotCommit {
  const { tenant, id, delivery } = parts.spec
  const meta: CheckpointMeta = { sources: {}, emitters: {}, operators: {}, completed }
  for (const [component, pump] of parts.sources) {
    meta.sources[component] = answers.positions?.[component] ?? {
      type: pump.spec.type,
      position: delivery === 'at-most-once' ? pump.counted : pump.position,
      sequence: pump.sequence,
      ended: pump.ended,
    }
  }
  for (const [component, position] of [...standing.emitterPositions, ...(answers.emitterPositions ?? [])]) {
    meta.emitters[component] = { type: parts.emitters.get(component)?.spec.type, position }
  }
  const snapshots: Snapshot[] = []
  for (const [unit, image] of new Map([...standing.endedImages, ...(answers.images ?? [])])) {
    const { sequence, sinceFlush, ended, digest, globals, memory, split } = image
    meta.operators[unit] = split ? { sequence, sinceFlush, ended, split } : { sequence, sinceFlush, ended }
    // A completed pipeline runs again only from its start: no state is worth keeping. That of a split operator is its units'.
    if (completed || split) continue
    // The memory is given away; that of an operator that has ended is needed for every later checkpoint.
    const given = standing.endedImages.has(unit) ? memory.slice() : memory
    snapshots.push({ component: componentOf(unit), instance: instanceOf(unit), digest, globals, memory: given })
  }
  return {
    slot: { tenant, pipeline: id, slot: 0 },
    epoch,
    revision: answers.revision ?? parts.spec.revision,
    meta,
    snapshots,
    savepoint: answers.savepoint,
    patient: answers.patient,
    run: parts.key,
    transaction: delivery === 'exactly-once' ? parts.transactionOf(epoch) : undefined,
    offsets: [...parts.sources].flatMap(([component, { source, spec }]) => {
      const position = meta.sources[component]?.position
      return source.published?.(position) ?? committedOffsets(parts.spec, spec.settings, position)
    }),
  }
}
