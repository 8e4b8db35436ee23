// spqr tenant …: who shares this manager, and what each may do. Most of it asks for the administrator's token in SPQR_TOKEN.

import { type Command, InvalidArgumentError, Option } from 'commander'
import { QUOTA_NAMES, SCOPES } from '../../schemas/api.ts'
import type {
  AuditItem,
  SecretItem,
  TenantAnswer,
  TenantItem,
  TokenAnswer,
  TokenItem,
} from '../../schemas/api-answers.ts'
import type { Grants, Quotas } from '../../schemas/tenant.ts'
import { ApiClient, jsonBody } from './api-client.ts'
import { readFile } from './files.ts'
import { print, printJson, SILENT, tableOf, timeText } from './output.ts'
import { SPQR } from './product.ts'
import { countOf } from './values.ts'

interface Json {
  json?: boolean
}

const KINDS = ['net', 'read', 'write', 'env', 'topic'] as const

const tenantPath = (id: string, rest = ''): string => `/v1/tenants/${encodeURIComponent(id)}${rest}`

export function tenantCommands(program: Command): void {
  const tenant = program.command('tenant').description('tenants, their tokens, permissions, quotas and secrets')

  tenant
    .command('create')
    .description('make a tenant; nothing outside of its own topics is permitted to it')
    .argument('<tenant>')
    .option('--json', "print the API's answer")
    .action(async (id: string, { json }: Json) => {
      const made = await new ApiClient().json<TenantItem>('POST', '/v1/tenants', jsonBody({ id }))
      if (json) return printJson(made)
      print(`created ${made.id}; next: ${SPQR} tenant token ${made.id} --scopes write,read,ingest`)
    })

  tenant
    .command('ls')
    .description('list tenants')
    .option('--json', "print the API's answer")
    .action(async ({ json }: Json) => {
      const items = await new ApiClient().all<TenantItem>('/v1/tenants')
      if (json) return printJson({ items })
      print(
        tableOf(
          ['TENANT', 'CREATED'],
          items.map((item) => [item.id, timeText(item.createdAt)]),
        ),
      )
    })

  tenant
    .command('get')
    .description('what a tenant may use, and uses')
    .argument('<tenant>')
    .option('--json', "print the API's answer")
    .action(async (id: string, { json }: Json) => {
      const answer = await new ApiClient().json<TenantAnswer>('GET', tenantPath(id))
      if (json) return printJson(answer)
      const used = answer.used as Record<string, number | undefined>
      print(
        tableOf(
          ['QUOTA', 'USED', 'LIMIT'],
          QUOTA_NAMES.map((name) => [name, shown(used[name]), shown(answer.quotas[name])]),
        ),
      )
      for (const kind of KINDS) {
        if (answer.permissions) print(`${kind}: ${answer.permissions[kind]?.join(', ') || 'nothing'}`)
      }
    })

  tenant
    .command('rm')
    .description('remove a tenant')
    .argument('<tenant>')
    .option('--force', 'with its pipelines')
    .option('--json', SILENT)
    .action(async (id: string, { force, json }: { force?: boolean; json?: boolean }) => {
      await new ApiClient().json('DELETE', tenantPath(id, force ? '?force=true' : ''))
      if (!json) print(`removed ${id}`)
    })

  tokenCommand(tenant)
  permitCommand(tenant)
  quotaCommand(tenant)
  secretCommand(tenant)
  auditCommand(tenant)
}

const shown = (n: number | undefined): string | number => n ?? '–'

function tokenCommand(tenant: Command): void {
  tenant
    .command('token')
    .description('make a token (printed once), list tokens, or revoke one')
    .argument('<tenant>')
    .option('--scopes <list>', `some of ${SCOPES.join(', ')}`, 'read')
    .option('--expires <when>', 'a time such as 2027-01-31T00:00:00Z, or 12h, 30d from now', expiryOf)
    .option('--ls', 'list those that there are')
    .option('--revoke <id>', 'end this one')
    .option('--json', "print the API's answer")
    .action(async (id: string, options: TokenOptions) => {
      const client = new ApiClient()
      const path = tenantPath(id, '/tokens')
      if (options.revoke !== undefined) {
        await client.json('DELETE', `${path}/${encodeURIComponent(options.revoke)}`)
        return print(`revoked ${options.revoke}`)
      }
      if (options.ls) {
        const items = await client.all<TokenItem>(path)
        if (options.json) return printJson({ items })
        const rows = items.map((t) => [t.id, t.scopes.join(', '), timeText(t.createdAt), t.expiresAt ?? 'never'])
        return print(tableOf(['TOKEN', 'SCOPES', 'CREATED', 'EXPIRES'], rows))
      }
      const body = { scopes: options.scopes.split(',').map((scope) => scope.trim()), expiresAt: options.expires }
      const made = await client.json<TokenAnswer>('POST', path, jsonBody(body))
      // The token alone, so that it can be taken into a variable.
      if (options.json) printJson(made)
      else print(made.token)
    })
}

interface TokenOptions extends Json {
  scopes: string
  expires?: string
  ls?: boolean
  revoke?: string
}

const UNIT_MS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 }

function expiryOf(text: string): string {
  const span = /^(\d{1,6})([mhd])$/.exec(text)
  if (span) return new Date(Date.now() + Number(span[1]) * UNIT_MS[span[2]!]!).toISOString()
  if (Number.isNaN(Date.parse(text))) throw new InvalidArgumentError('It must be a time, or a span such as 12h or 30d.')
  return new Date(text).toISOString()
}

function permitCommand(tenant: Command): void {
  const command = tenant
    .command('permit')
    .description("say what a tenant's pipelines may touch; a kind that is not named stays as it is")
    .argument('<tenant>')
  for (const kind of KINDS) {
    command.addOption(new Option(`--${kind} [list]`, `names, parted by commas; nothing: none`))
  }
  command.option('--json', "print the API's answer").action(async (id: string, options: PermitOptions) => {
    const client = new ApiClient()
    const { permissions = {} } = await client.json<TenantAnswer>('GET', tenantPath(id))
    const next: Grants = { ...permissions }
    for (const kind of KINDS) {
      const list = options[kind]
      if (list !== undefined) next[kind] = list === true ? [] : list.split(',').map((name) => name.trim())
    }
    const answer = await client.json<Grants>('PUT', tenantPath(id, '/permissions'), jsonBody(next))
    if (options.json) return printJson(answer)
    for (const kind of KINDS) print(`${kind}: ${answer[kind]?.join(', ') || 'nothing'}`)
  })
}

type PermitOptions = Json & Partial<Record<(typeof KINDS)[number], string | true>>

function quotaCommand(tenant: Command): void {
  tenant
    .command('quota')
    .description('bound what a tenant uses; a quota that is not named stays as it is')
    .argument('<tenant>')
    .argument('<name=number...>', `names: ${QUOTA_NAMES.join(', ')}; name=none takes the bound away`)
    .option('--json', "print the API's answer")
    .action(async (id: string, args: string[], { json }: Json) => {
      const client = new ApiClient()
      const { quotas } = await client.json<TenantAnswer>('GET', tenantPath(id))
      const next: Record<string, number> = { ...quotas }
      for (const arg of args) {
        const [name = '', value = ''] = arg.split('=')
        if (value === 'none') delete next[name]
        else if (/^\d{1,15}$/.test(value)) next[name] = Number(value)
        else throw new InvalidArgumentError(`"${arg}" is not NAME=NUMBER.`)
      }
      const answer = await client.json<Quotas>('PUT', tenantPath(id, '/quotas'), jsonBody(next))
      if (json) return printJson(answer)
      print(tableOf(['QUOTA', 'LIMIT'], Object.entries(answer)))
    })
}

function secretCommand(tenant: Command): void {
  tenant
    .command('secret')
    .description('keep a secret, whose value is read from the standard input; list names, or forget one')
    .argument('<tenant>')
    .argument('[name]')
    .option('--rm', 'forget it')
    .option('--json', "print the API's answer")
    .action(async (id: string, name: string | undefined, { rm, json }: Json & { rm?: boolean }) => {
      const client = new ApiClient()
      const path = tenantPath(id, '/secrets')
      if (name === undefined) {
        const items = await client.all<SecretItem>(path)
        if (json) return printJson({ items })
        return print(
          tableOf(
            ['SECRET', 'CHANGED'],
            items.map((item) => [item.name, timeText(item.changedAt)]),
          ),
        )
      }
      const one = `${path}/${encodeURIComponent(name)}`
      if (rm) {
        await client.json('DELETE', one)
        return print(`forgot ${name}`)
      }
      // Not an argument: those are seen by everybody on the machine, and kept by shells.
      await client.json('PUT', one, jsonBody({ value: readFile('-').replace(/\r?\n$/, '') }))
      print(`kept ${name}; pipelines that use it get it at their next start or change`)
    })
}

function auditCommand(tenant: Command): void {
  tenant
    .command('audit')
    .description('who changed what, newest first')
    .argument('[tenant]', 'of this one alone')
    .option('--limit <n>', 'so many entries', countOf, 50)
    .option('--json', "print the API's answer")
    .action(async (id: string | undefined, { limit, json }: Json & { limit: number }) => {
      const query = new URLSearchParams({ limit: String(limit), ...(id === undefined ? {} : { tenant: id }) })
      const answer = await new ApiClient().json<{ items: AuditItem[] }>('GET', `/v1/audit?${query}`)
      if (json) return printJson(answer)
      const rows = answer.items.map((e) => [timeText(e.at), e.tenant, e.by, e.from, e.what, e.made ?? ''])
      print(tableOf(['WHEN', 'TENANT', 'BY', 'FROM', 'WHAT', 'MADE'], rows))
    })
}
