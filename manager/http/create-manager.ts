// The manager: what is kept, what runs on hosts, and the product's HTTP API over both.
// Runs on: control.

import { Hono } from 'hono'
import type { HostClient } from '../hosts/host-client.ts'
import { type HostSpec, Hosts } from '../hosts/hosts.ts'
import { Registrar } from '../hosts/registrar.ts'
import { Catalogs } from '../operators/catalogs.ts'
import { Compiler, type CompilerFiles } from '../operators/compiler.ts'
import { Operators } from '../operators/operators.ts'
import { OperatorRegistry } from '../operators/registry.ts'
import { readShipped } from '../operators/shipped.ts'
import { evacuate } from '../pipelines/evacuate.ts'
import { KnownDocuments } from '../pipelines/known-documents.ts'
import { moduleUser } from '../pipelines/module-uses.ts'
import type { PipelineContext } from '../pipelines/pipeline-context.ts'
import { PipelineIndex } from '../pipelines/pipeline-index.ts'
import { Reconcile } from '../pipelines/reconcile.ts'
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
import { hostRoutes } from './host-routes.ts'
import { operatorRoutes } from './operator-routes.ts'
import { pipelineRoutes } from './pipeline-routes.ts'
import { streamRoutes } from './stream-routes.ts'
import { systemRoutes } from './system-routes.ts'
import { tenantRoutes } from './tenant-routes.ts'
import { topicRoutes } from './topic-routes.ts'

export interface ManagerOptions {
  store: ControlStore
  /** Those that are there from the start. */
  hosts?: readonly HostSpec[]
  /** What hosts that register must know; absent: none may. */
  hostSecret?: string
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
  /** Resolves when every pipeline of the hosts that are there was tried once; what is answered before then is answered well. */
  readonly started: Promise<void>
  /** Ends its own work; pipelines and the store are left as they are. */
  stop(): Promise<void>
}

/**
 * Registers the operators, then starts to bring back what ran.
 * @throws SpqrError, Error where the shipped operators cannot be read or admitted
 */
export async function createManager(options: ManagerOptions): Promise<Manager> {
  const { store, log, hostSecret } = options
  const places = hostSecret === undefined ? undefined : store.hosts
  const hosts = new Hosts(options.hosts ?? [], (digest) => store.operators.files(digest), places)
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
    documents: new KnownDocuments(),
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
  const access: Access = { tenants, tokens, rates, takesHosts: hostSecret !== undefined }
  if (adminToken !== undefined) access.adminHash = hashOf(adminToken)
  const reconcile = new Reconcile(context, (entry, error) =>
    log(`Cannot start "${entry.id}" of ${entry.tenant}: ${error.message}`),
  )
  const shipped = readShipped(options.shippedFolder)
  operators.start(shipped)
  let stopped = false
  /** What a pipeline may touch and use, and its secrets, before any pipeline. */
  const prepare = async (host: HostClient): Promise<void> => {
    await operators.admitShipped(host)
    await tenants.sendAll(host)
  }
  const fill = async (host: HostClient): Promise<void> => {
    await reconcile.run(host)
    for (const id of tenants.halfRemoved()) {
      await finishTenant(removal, id).catch((error: Error) => log(`Cannot remove the tenant ${id}: ${error.message}`))
    }
  }
  const warm = (host: HostClient): Promise<void> =>
    operators
      .warm(host, shipped, () => !stopped)
      .catch((error: Error) => log(`Cannot send the shipped operators ahead: ${error.message}`))
  for (const host of hosts.all()) await prepare(host)
  const started = Promise.all(hosts.all().map(fill)).then(() => undefined)
  const warmed = started.then(
    () => Promise.all(hosts.all().map(warm)),
    // Told by `started`.
    () => undefined,
  )
  const registrar =
    hostSecret === undefined
      ? undefined
      : new Registrar({
          secret: hostSecret,
          version: options.version,
          hosts,
          table: store.hosts,
          welcome: async (host) => {
            await prepare(host)
            await fill(host)
            void warm(host)
          },
          onAway: (host) => reconcile.lost(host),
          log,
        })
  const app = new Hono<Env>()
  app.onError(
    onError((error, method, path) => {
      // Said once where the host or the brokers went, not for each request that finds them away.
      if (error.code === 'TRANSPORT_UNAVAILABLE') return
      log(`${method} ${path}: ${error.message}${error.code === 'INTERNAL' && error.stack ? `\n${error.stack}` : ''}`)
    }),
  )
  app.use('*', access.adminHash === undefined ? localOnly() : sameOrigin())
  app.use('*', authorize(access))
  app.use('/v1/*', auditTrail(audit))
  systemRoutes(app, context, reconcile, options.version)
  hostRoutes(app, hosts, registrar, (host) => evacuate(context, reconcile, registrar, host))
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
      reconcile.stop()
      registrar?.stop()
      tokens.stop()
      audit.stop()
      await Promise.all([compiler.stop(), warmed])
    },
  }
}
