// Removes a host: its pipelines go on elsewhere, each from a checkpoint.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import { type HostClient, pipelinePath } from '../hosts/host-client.ts'
import type { Registrar } from '../hosts/registrar.ts'
import type { PipelineContext } from './pipeline-context.ts'
import { keyOf } from './pipeline-index.ts'
import type { Reconcile } from './reconcile.ts'

/**
 * A host that is away may still run what it had until it hears of its removal: what it then commits at least once comes twice.
 * @throws SpqrError INVALID_STATE where no other host is present
 */
export async function evacuate(
  context: PipelineContext,
  reconcile: Reconcile,
  registrar: Registrar | undefined,
  host: HostClient,
): Promise<void> {
  const { hosts, index, serial } = context
  const others = hosts.all().filter((other) => other !== host)
  if (others.length === 0 && hosts.count(host.id) > 0) {
    const message = `Cannot remove the host "${host.id}": its pipelines have nowhere to go; start another host first.`
    throw new SpqrError('INVALID_STATE', message)
  }
  for (const entry of index.all()) {
    const { tenant, id } = entry
    if (hosts.placeOf(tenant, id) !== host.id) continue
    await serial.run(keyOf(tenant, id), async () => {
      if (!host.isAway) await release(host, `${pipelinePath(tenant, id)}/release`)
      const [next = host] = [...others].sort((a, b) => hosts.count(a.id) - hosts.count(b.id))
      hosts.place(tenant, id, next)
      entry.placed = false
    })
  }
  registrar?.remove(host.id)
  for (const other of others) await reconcile.run(other)
}

/** @throws SpqrError, but not where the host turns out to be gone */
async function release(host: HostClient, path: string): Promise<void> {
  try {
    await host.json('POST', path)
  } catch (error) {
    if (!host.isAway) throw error
  }
}
