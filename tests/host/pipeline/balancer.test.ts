import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Balancer, type WorkerLoad } from '../../../host/pipeline/balancer.ts'
import type { PipelineControl } from '../../../host/pipeline/pipeline-control.ts'

/** The balancer only passes pipelines on: any object is one. */
const pipeline = (name: string): PipelineControl => ({ name }) as unknown as PipelineControl
const a = pipeline('a')
const b = pipeline('b')
const c = pipeline('c')

const load = (share: number, ...pipelines: [PipelineControl, number][]): WorkerLoad => ({
  share,
  pipelines: pipelines.map(([one, part]) => ({ pipeline: one, share: part })),
})

/** Looks until something is to be moved. */
function looks(
  balancer: Balancer,
  workers: WorkerLoad[],
  most: number,
): { after: number; pipeline: unknown } | undefined {
  for (let after = 1; after <= most; after++) {
    const move = balancer.look(workers)
    if (move) return { after, pipeline: move.pipeline }
  }
  return undefined
}

const balancer = suite('Balancer')

balancer('moves the one that makes both alike, after a while', () => {
  const workers = [load(0.2, [c, 0.2]), load(1, [a, 0.6], [b, 0.4])]
  const found = looks(new Balancer(), workers, 20)
  assert.is(found?.pipeline, b)
  assert.ok(found!.after > 4)
})

balancer('leaves a pipeline alone that is alone', () => {
  assert.is(looks(new Balancer(), [load(1, [a, 0.97], [b, 0.01]), load(0)], 50), undefined)
})

balancer('does not have two workers change places', () => {
  assert.is(looks(new Balancer(), [load(0.95, [a, 0.9], [b, 0.05]), load(0.2)], 50)?.pipeline, b)
  assert.is(looks(new Balancer(), [load(0.91, [a, 0.85], [b, 0.049]), load(0.2)], 50), undefined)
})

balancer('takes no burst for a load', () => {
  const one = new Balancer()
  const busy = [load(1, [a, 0.5], [b, 0.5]), load(0)]
  for (let round = 0; round < 10; round++) {
    assert.is(looks(one, busy, 4), undefined)
    assert.is(one.look([load(0.5, [a, 0.3], [b, 0.2]), load(0)]), undefined)
  }
})

balancer('rests after a move', () => {
  const one = new Balancer()
  const busy = [load(1, [a, 0.5], [b, 0.5]), load(0)]
  assert.ok(looks(one, busy, 20))
  assert.is(looks(one, busy, 10), undefined)
  assert.ok(looks(one, busy, 20))
})

balancer('moves nothing while no worker idles', () => {
  assert.is(looks(new Balancer(), [load(1, [a, 0.5], [b, 0.5]), load(0.8, [c, 0.8])], 50), undefined)
})

balancer.run()
