// kill -9 of host, manager and brokers while records flow, on three brokers; the long run is `node dist/tests/crash/run.js`.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { skipWithoutKafka } from '../support/kafka.ts'
import { kafkaRounds } from './kafka-rounds.ts'

const NAME = 'kill -9 on three brokers'
const test = suite(NAME)
const isSkipped =
  skipWithoutKafka(NAME) ||
  (process.env.KAFKA_BROKERS !== undefined &&
    process.stdout.write(`SKIP ${NAME}: the brokers of KAFKA_BROKERS are not ours to end\n`))
const rounds: typeof test = isSkipped ? (test.skip as typeof test) : test

rounds('exactly once is exactly once, at least once loses nothing, whoever dies', async () => {
  const { problems, sent } = await kafkaRounds(2, 5, () => undefined)
  assert.equal(problems, [])
  assert.ok(sent > 100, `${sent} records`)
})

test.run()
