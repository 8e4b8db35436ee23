import { suite } from 'uvu'
import { DELIVERIES, Product } from '../support/delivery.ts'
import { comeAndGo, REBALANCES } from '../support/rebalance.ts'

const rebalance = suite('a group of pipelines on the embedded transport')
const product = await Product.start()

rebalance.after(() => product.remove())

for (const delivery of DELIVERIES) {
  rebalance(`shares a topic while members come and go ${REBALANCES} times, ${delivery}`, async () => {
    await comeAndGo([product], delivery, delivery)
  })
}

rebalance.run()
