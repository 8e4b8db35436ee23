// A stop does not wait for ever for who does not take what is delivered; nothing is lost by that.

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { until } from '../support/client.ts'
import { Product } from '../support/delivery.ts'

const RECORDS = 100
const stop = suite('stop')

stop('ends where an emitter cannot deliver; what it had comes after a resume', async () => {
  const taken = new Set<number>()
  let refuses = true
  const server: Server = createServer((request, response) => {
    let body = ''
    request.on('data', (data) => (body += data))
    request.on('end', () => {
      if (!refuses) for (const line of body.trim().split('\n')) taken.add((JSON.parse(line) as { n: number }).n)
      response.writeHead(refuses ? 503 : 200).end()
    })
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  const product = await Product.start({ flags: [`--allow-net=127.0.0.1:${port}`] })
  try {
    const { client } = product
    await client.topics('in')
    const components = [
      { id: 'in', source: 'topic', settings: { topic: 'in' } },
      { id: 'f', operator: 'json-filter@1', from: 'in', settings: { where: [] } },
      { id: 'out', emitter: 'http', from: 'f', settings: { url: `http://127.0.0.1:${port}/`, retries: 1000 } },
    ]
    await client.ok('POST', '/v1/pipelines', { id: 'p', components })
    await client.feed('in', 0, RECORDS)
    await until(async () => {
      const { components: stats } = await client.ok('GET', '/v1/pipelines/p/stats')
      return stats.f.recordsOut === RECORDS || undefined
    })
    assert.is((await client.ok('POST', '/v1/pipelines/p/stop')).state, 'stopped')
    refuses = false
    await client.ok('POST', '/v1/pipelines/p/resume')
    await until(() => taken.size === RECORDS || undefined)
  } finally {
    await product.remove()
    server.closeAllConnections()
    server.close()
  }
})

stop.run()
