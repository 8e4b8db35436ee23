import { suite } from 'uvu'
import { DELIVERIES, Product } from '../support/delivery.ts'
import { skipWithoutKafka, startKafka, type TestKafka } from '../support/kafka.ts'
import { comeAndGo, REBALANCES } from '../support/rebalance.ts'

const isSkipped = skipWithoutKafka('a group of pipelines on Kafka')
const test = suite('a group of pipelines on Kafka')
const rebalance: typeof test = isSkipped ? (test.skip as typeof test) : test
const kafka: TestKafka | undefined = isSkipped ? undefined : await startKafka()
// Two hosts, each with a pipeline of the group.
const products: Product[] = []
for (let i = 0; i < 2 && kafka; i++) products.push(await Product.start({ brokers: kafka.brokers, workers: 1 }))

test.after(async () => {
  for (const product of products) await product.remove()
  await kafka?.stop()
})

for (const delivery of DELIVERIES) {
  rebalance(`shares a topic while members come and go ${REBALANCES} times, ${delivery}`, async () => {
    await comeAndGo(products, `${delivery}-${process.pid}`, delivery)
  })
}

test.run()
