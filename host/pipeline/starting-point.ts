// Where a pipeline starts from: its newest checkpoint, one that somebody names, a place in its sources, or nothing.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import type { Plan, PlanOperator } from '../../schemas/plan.ts'
import { parseStart, RESTART_WORDS } from '../../schemas/start.ts'
import type { CheckpointMeta } from '../bridges/runtime/messages.ts'
import type { Checkpoint, SlotId, Snapshot, Transport } from '../transport/transport.ts'
import { asSplitNow } from './split-state.ts'

/**
 * What the plan starts from; undefined: anew.
 * @throws SpqrError NOT_FOUND, INVALID_STATE (damaged, of another version of an operator, or split in another way)
 */
export async function startingPoint(transport: Transport, slot: SlotId, plan: Plan): Promise<Checkpoint | undefined> {
  if (plan.fresh) return undefined
  const start = plan.startFrom === undefined ? undefined : parseStart(plan.startFrom, RESTART_WORDS, true)
  if (plan.startFrom !== undefined && !start) {
    throw new SpqrError('INVALID_BODY', `Cannot start pipeline "${plan.id}" from "${plan.startFrom}".`)
  }
  if (!start || (start.at === 'word' && start.word === 'checkpoint')) {
    const newest = await transport.checkpoint(slot)
    if (!newest) return undefined
    checkVersions(plan, newest, newest.revision >= plan.revision && plan.forkOf === undefined)
    return asSplitNow(plan, newest)
  }
  // Epochs go up, whatever is gone back to.
  const [newest] = await transport.checkpoints(slot)
  if (start.at === 'savepoint' || start.at === 'checkpoint') {
    const which = start.at === 'savepoint' ? { savepoint: start.name } : { epoch: start.epoch }
    const kept = await transport.checkpoint(slot, which)
    const name = start.at === 'savepoint' ? `savepoint "${start.name}"` : `checkpoint of epoch ${start.epoch}`
    if (!kept) throw new SpqrError('NOT_FOUND', `Pipeline "${plan.id}" has no ${name}.`)
    checkVersions(plan, kept, true)
    const fitting = asSplitNow(plan, kept)
    const meta: CheckpointMeta = { ...(fitting.meta as CheckpointMeta), completed: false, failed: undefined }
    return { ...fitting, epoch: Math.max(kept.epoch, newest?.epoch ?? 0) + 1, meta }
  }
  // From a place in the sources: no state.
  if (!newest) return undefined
  const meta: CheckpointMeta = { sources: {}, emitters: {}, operators: {}, completed: false }
  return { ...newest, meta, snapshots: [] }
}

/** The sources say by themselves where they begin. */
export function isPlaceInSources(from: Checkpoint | undefined): boolean {
  return from === undefined || Object.keys((from.meta as CheckpointMeta).sources).length === 0
}

/** Somebody went back to it on purpose, so it is to be the newest. */
export function isGoneBackTo(plan: Plan): boolean {
  return /^(savepoint|checkpoint):/.test(plan.startFrom ?? '')
}

/** What stores the checkpoint that somebody goes back to as the newest, so that a crash does not undo it. */
export function keepAsNewest(transport: Transport, slot: SlotId, from: Checkpoint): () => Promise<unknown> {
  const { epoch, revision, meta } = from
  // The memory of the others is given to the workers.
  const snapshots = from.snapshots.map((snapshot) => ({ ...snapshot, memory: snapshot.memory.slice() }))
  return () => transport.commit({ slot, epoch, revision, meta, snapshots })
}

/** Operators whose state in the checkpoint was made by another version. */
export function ofOtherVersions(plan: Plan, { snapshots }: Checkpoint): PlanOperator[] {
  return plan.components.filter((component): component is PlanOperator => {
    return component.kind === 'operator' && snapshots.some((snapshot) => isOfAnother(snapshot, component))
  })
}

/** One of several instances is enough: a change may hold between two of them, never within one. */
function isOfAnother(snapshot: Snapshot, { id, digest }: { id: string; digest: string }): boolean {
  return snapshot.component === id && snapshot.digest !== digest
}

/**
 * State means something to the version of an operator alone that made it.
 * @param isAsked somebody wants this state, or no change of the document says that it starts anew
 * @throws SpqrError INVALID_STATE
 */
function checkVersions(plan: Plan, checkpoint: Checkpoint, isAsked: boolean): void {
  if (!isAsked) return
  for (const { id, name, version, digest } of ofOtherVersions(plan, checkpoint)) {
    const kept = checkpoint.snapshots.find((snapshot) => isOfAnother(snapshot, { id, digest }))!
    throw new SpqrError(
      'INVALID_STATE',
      `Cannot start pipeline "${plan.id}" from the checkpoint of epoch ${checkpoint.epoch}: the state of "${id}" in it was made by another version of the operator (digest ${kept.digest.slice(0, 12)}) than ${name}@${version} (${digest.slice(0, 12)}); put that version back, or restart from earliest`,
    )
  }
}
