// Tenants of a manager under test.

import type { Scope } from '../../schemas/api.ts'
import type { TestManager } from './manager.ts'

export const ADMIN_TOKEN = 'the-administrator-of-a-test-0123456789'

/** Makes the tenant where there is none. @returns asks as it, with a token of these scopes */
export async function tenant(
  m: TestManager,
  id: string,
  scopes: Scope[] = ['write', 'read', 'ingest'],
): Promise<TestManager['ask']> {
  return m.as(await tokenOf(m, id, scopes))
}

export async function tokenOf(m: TestManager, id: string, scopes: Scope[]): Promise<string> {
  await m.ask('POST', '/v1/tenants', { id })
  const { status, body } = await m.ask('POST', `/v1/tenants/${id}/tokens`, { scopes })
  if (status !== 201) throw new Error(`no token of ${id}: ${JSON.stringify(body)}`)
  return body.token
}
