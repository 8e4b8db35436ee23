// The manager: what is kept, what runs on hosts, and the product's HTTP API over both.
// Runs on: control.

import { Hono } from 'hono'
import { type HostSpec, Hosts } from '../hosts/hosts.ts'
import { Catalogs } from '../operators/catalogs.ts'
import { Compiler, type CompilerFiles } from '../operators/compiler.ts'
import { Operators } from '../operators/operators.ts'
import { OperatorRegistry } from '../operators/registry.ts'
import { readShipped } from '../operators/shipped.ts'
import { moduleUser } from '../pipelines/module-uses.ts'
import type { PipelineContext } from '../pipelines/pipeline-context.ts'
import { PipelineIndex } from '../pipelines/pipeline-index.ts'
import { Restore } from '../pipelines/restore.ts'
import { Serial } from '../serial.ts'
import type { ControlStore } from '../store/control-store.ts'
import { Audit } from '../tenants/audit.ts'
import { QuotaKeeper } from '../tenants/quotas.ts'
import { RateLimit } from '../tenants/rate-limit.ts'
import { finishTenant, type Removal } from '../tenants/remove-tenant.ts'
import { SecretBox } from '../tenants/secret-box.ts'
import { Tenants } from '../tenants/tenants.ts'
import { hashOf, Tokens } from '../tenants/tokens.ts'
import { auditTrail } from './audit-trail.ts'
import type { Env } from './context.ts'
import { notFound, onError } from './errors.ts'
import { type Access, authorize, localOnly, sameOrigin } from './guard.ts'
import { operatorRoutes } from './operator-routes.ts'
import { pipelineRoutes } from './pipeline-routes.ts'
import { streamRoutes } from './stream-routes.ts'
import { systemRoutes } from './system-routes.ts'
import { tenantRoutes } from './tenant-routes.ts'
import { topicRoutes } from './topic-routes.ts'

export interface ManagerOptions {
  store: ControlStore
  hosts: readonly HostSpec[]
  /** Folder with index.json of the operators that come with the product. */
  shippedFolder: string
  compiler: CompilerFiles
  /** Text of the administrator's token; absent: no token is asked for, and `default` alone is served. */
  adminToken?: string
  /** Seals secrets in place of the file `secrets.key`: 32 bytes as hex or base64. */
  secretsKey?: string
  /** Of the product, as the API tells it. */
  version: string
  /** One line for people: what could not be started, what went wrong inside. */
  log(line: string): void
}

export interface Manager {
  fetch(request: Request, env?: unknown): Response | Promise<Response>
  /** Resolves when every pipeline that was wanted was tried once; what is answered before then is answered well. */
  readonly started: Promise<void>
  /** Ends its own work; pipelines and the store are left as they are. */
  stop(): Promise<void>
}

/**
 * Registers the operators, then starts to bring back what ran.
 * @throws SpqrError, Error where the shipped operators cannot be read or admitted
 */
export async function createManager(options: ManagerOptions): Promise<Manager> {
  const { store, log } = options
  const hosts = new Hosts(options.hosts, (digest) => store.operators.files(digest))
  const registry = new OperatorRegistry()
  const compiler = new Compiler(options.compiler)
  const index = new PipelineIndex()
  const { adminToken } = options
  const tenants = new Tenants(store, hosts, new SecretBox(store.folder, options.secretsKey), adminToken !== undefined)
  const quotas = new QuotaKeeper(tenants, hosts, index, registry, store.pipelines)
  const context: PipelineContext = {
    store,
    hosts,
    catalogs: new Catalogs(registry),
    index,
    tenants,
    quotas,
    serial: new Serial(),
  }
  const operators = new Operators(
    registry,
    store.operators,
    hosts,
    compiler,
    (tenant, digest) => moduleUser(context, tenant, digest),
    quotas,
  )
  const tokens = new Tokens(store.tokens)
  const rates = new RateLimit()
  const audit = new Audit(store.audit, adminToken !== undefined)
  const removal: Removal = { context, operators, tokens, rates }
  const access: Access = { tenants, tokens, rates }
  if (adminToken !== undefined) access.adminHash = hashOf(adminToken)
  const restore = new Restore(context, (entry, error) =>
    log(`Cannot start "${entry.id}" of ${entry.tenant}: ${error.message}`),
  )
  const shipped = readShipped(options.shippedFolder)
  await operators.start(shipped)
  // Before any pipeline: what it may touch and use, and its secrets.
  await tenants.start()
  const started = restore.run().then(async () => {
    for (const id of tenants.halfRemoved()) {
      await finishTenant(removal, id).catch((error: Error) => log(`Cannot remove the tenant ${id}: ${error.message}`))
    }
  })
  let stopped = false
  const warm = started
    .then(() => operators.warm(shipped, () => !stopped))
    .catch((error: Error) => log(`Cannot send the shipped operators ahead: ${error.message}`))
  const app = new Hono<Env>()
  app.onError(
    onError((error, method, path) => {
      log(`${method} ${path}: ${error.message}${error.code === 'INTERNAL' && error.stack ? `\n${error.stack}` : ''}`)
    }),
  )
  app.use('*', access.adminHash === undefined ? localOnly() : sameOrigin())
  app.use('*', authorize(access))
  app.use('/v1/*', auditTrail(audit))
  systemRoutes(app, context, restore, options.version)
  pipelineRoutes(app, context)
  streamRoutes(app, context)
  operatorRoutes(app, operators)
  topicRoutes(app, context)
  tenantRoutes(app, { context, tokens, audit, removal })
  app.notFound(notFound(app))
  return {
    fetch: (request, env) => app.fetch(request, env as object),
    started,
    stop: async () => {
      stopped = true
      restore.stop()
      tokens.stop()
      audit.stop()
      await Promise.all([compiler.stop(), warm])
    },
  }
}
