// Entry of the thread that packs pages of checkpoints for one bridge: see page-packer.ts.
// Runs on: a thread of its own, behind all others.

import { setPriority } from 'node:os'
import { parentPort } from 'node:worker_threads'
import { asBuffer } from '../pack.ts'
import { packPages } from './pack-pages.ts'
import type { PackReply, PackRequest } from './page-packer.ts'

/** On Linux a priority is a thread's own. Records are to come first where there are fewer cores than threads. */
const NICE = 5

if (process.platform === 'linux') setPriority(NICE)
parentPort!.on('message', ({ id, memory, before }: PackRequest) => {
  const { reply, transfer } = answer(id, memory, before)
  parentPort!.postMessage(reply, transfer)
})

function answer(
  id: number,
  memory: Uint8Array,
  before: PackRequest['before'],
): { reply: PackReply; transfer: ArrayBuffer[] } {
  try {
    const packed = packPages(memory, before && { ...before, hashes: asBuffer(before.hashes) })
    return { reply: { id, packed }, transfer: packed.values.map((value) => value.buffer as ArrayBuffer) }
  } catch (thrown) {
    return { reply: { id, problem: thrown instanceof Error ? thrown.message : String(thrown) }, transfer: [] }
  }
}
