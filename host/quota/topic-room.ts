// Looks whether tenants that may keep only so many bytes in topics have room left, and says so in the quota cells: emitters `topic` of
// one that has none hold back, which slows that pipeline and no other. What is posted is refused by the manager.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import { tenantTopic, topicPrefix } from '../../schemas/names.ts'
import type { Transport } from '../transport/transport.ts'
import type { Tenant, Tenants } from './tenants.ts'

const LOOK_EVERY_MS = 1000

export class TopicRoom {
  private readonly tenants: Tenants
  private readonly transport: Transport
  private readonly timer: NodeJS.Timeout
  private looking: Promise<void> | undefined

  constructor(tenants: Tenants, transport: Transport) {
    this.tenants = tenants
    this.transport = transport
    this.timer = setInterval(() => {
      this.looking ??= this.look().finally(() => {
        this.looking = undefined
      })
    }, LOOK_EVERY_MS).unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.timer)
    await this.looking
  }

  private async look(): Promise<void> {
    for (const tenant of this.tenants.all()) {
      const limit = tenant.spec.quotas.topicBytes
      if (limit === undefined) this.tenants.setFull(tenant, false)
      else {
        const bytes = await this.bytesOf(tenant).catch((error: unknown) => {
          // The transport is away: what was known last holds until it is back.
          if (error instanceof SpqrError) return undefined
          throw error
        })
        if (bytes !== undefined) this.tenants.setFull(tenant, bytes >= limit)
      }
    }
  }

  private async bytesOf({ spec: { id } }: Tenant): Promise<number | undefined> {
    const all = await this.transport.topicBytes?.(topicPrefix(id))
    if (!all) return undefined
    const ids = [...this.tenants.all()].map((tenant) => tenant.spec.id)
    let sum = 0
    for (const [name, bytes] of all) if (tenantTopic(id, name, ids) !== undefined) sum += bytes
    return sum
  }
}
