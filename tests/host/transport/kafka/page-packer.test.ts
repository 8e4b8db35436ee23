// Pages of large states are packed on another thread, as they would be here.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { packPages } from '../../../../host/transport/kafka/pack-pages.ts'
import { PagePacker } from '../../../../host/transport/kafka/page-packer.ts'
import { rejects } from '../suite.ts'

const PAGE = 4096
const test = suite<{ packer: PagePacker }>('page packer')

test.before.each((context) => {
  context.packer = new PagePacker()
})
test.after.each(({ packer }) => packer.stop())

function state(bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => Math.imul((i >> 3) + 1, 0x9e3779b1) >>> 24)
}

test('a large state is packed as it would be here, and then what differs', async ({ packer }) => {
  const memory = state(1 << 20)
  const before = packPages(memory, undefined)
  assert.equal(await packer.pack(memory.slice(), undefined), before)
  for (const [i, chunk] of before.table.chunks.entries()) chunk.id = i
  memory[5 * PAGE]! ^= 1
  const { table, values } = await packer.pack(memory.slice(), before.table)
  assert.equal({ table, values }, packPages(memory, before.table))
  assert.is(values.length, 1)
  assert.equal(
    table.chunks.map(({ id, pieces }) => [id, pieces]),
    [
      [0, 256],
      [-1, 1],
    ],
  )
})

test('shared memory stays where it is', async ({ packer }) => {
  const shared = new Uint8Array(new SharedArrayBuffer(1 << 20))
  shared.set(state(1 << 20))
  assert.equal(await packer.pack(shared, undefined), packPages(state(1 << 20), undefined))
  assert.is(shared.length, 1 << 20)
})

test('a thread that ends fails what it had in work, and another takes its place', async ({ packer }) => {
  const lost = packer.pack(state(4 << 20), undefined)
  await packer.stop()
  const error = await rejects(lost, 'INTERNAL')
  assert.ok(error.retriable)
  assert.is((await packer.pack(state(1 << 20), undefined)).values.length, 1)
})

test.run()
