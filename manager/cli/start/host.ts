// `spqr host`: runs pipelines for a manager, and answers that one alone.

import { availableParallelism, totalmem } from 'node:os'
import { dirname } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { createHostApp } from '../../../host/http/app.ts'
import { Registration } from '../../../host/http/registration.ts'
import { requireToken } from '../../../host/http/require-token.ts'
import { Host } from '../../../host/pipeline/host.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import { ID_PATTERN } from '../../../schemas/names.ts'
import { serve } from '../../http/serve.ts'
import { errorText, printError } from '../output.ts'
import { productVersion } from '../product.ts'
import { dataFolder, ownFiles } from './data-folder.ts'
import { keepIdentity, readIdentity } from './host-identity.ts'
import { hostHostToken } from './host-token.ts'
import { addKafkaOptions, type KafkaOptions, kafkaOf } from './kafka-options.ts'
import { addListenOptions, type ListenOptions, numberIn } from './listen-options.ts'
import { addPermissionOptions, permissionsOf } from './permission-options.ts'
import { takeEnvironmentSecrets } from './secrets-of-environment.ts'
import { stopOnSignals } from './until-stopped.ts'

interface HostOptions extends KafkaOptions, ListenOptions {
  manager: string
  tokenFile?: string
  id?: string
  url?: string
  data: string
  workers?: number
  [permission: string]: unknown
}

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command('host')
    .description('start a host, which runs pipelines for a manager')
    .requiredOption('--manager <url>', 'the manager to register at', baseUrl)
    .option('--token-file <file>', "with the manager's secret, in place of SPQR_HOST_TOKEN")
    .option('--data <folder>', 'where its transport and its name are kept', '.spqr')
    .option('--id <name>', 'its name at the manager; else one is made up and kept', idOf)
    .option('--url <url>', 'where the manager reaches it; else where it listens', baseUrl)
    .option('--workers <n>', 'threads that run operators; else as many as there are cores', numberIn(1, 256))
  addListenOptions(command, 8401)
  addKafkaOptions(command)
  addPermissionOptions(command).action(async (options: HostOptions) => {
    try {
      await start(options)
    } catch (error) {
      // Some of its threads may run already, and would keep the process.
      printError(errorText(error))
      process.exit(1)
    }
  })
}

async function start(options: HostOptions): Promise<void> {
  const { manager, tokenFile, id, url, data, listen, port, workers } = options
  const log = (line: string): void => void process.stderr.write(`${line}\n`)
  // What else is there for a manager is none of a pipeline's business either.
  const { hostToken } = takeEnvironmentSecrets(log)
  const secret = hostHostToken(hostToken, tokenFile)
  const dataDir = dataFolder(data)
  if (url === undefined && (listen === '0.0.0.0' || listen === '::')) {
    throw new SpqrError(
      'INVALID_STATE',
      `With --listen ${listen} the manager must be told where to reach it: add --url.`,
    )
  }
  const closed = [dataDir, ...(tokenFile === undefined ? [] : [dirname(tokenFile)])].flatMap(ownFiles)
  const host = await Host.start({
    dataDir,
    permissions: permissionsOf(options).withoutPaths(tokenFile === undefined ? closed : [...closed, tokenFile]),
    kafka: kafkaOf(options),
    onTransport: (state, detail) => log(`Kafka: ${state}${detail ? `, ${detail}` : ''}`),
    computeWorkers: workers,
  })
  // Its transport holds the folder: no other process makes up another name at the same time.
  const identity = readIdentity(dataDir, id)
  const app = createHostApp(host)
  let registration: Registration | undefined
  const guarded = requireToken(
    (request) => app.fetch(request),
    (token) => registration?.isToken(token) ?? false,
  )
  const listening = await serve({ fetch: guarded, port, hostname: listen })
  stopOnSignals(async () => {
    registration?.stop()
    await listening.stop()
    await host.stop()
  })
  const end = (error: Error): void => {
    log(error.message)
    process.exit(1)
  }
  // A host whose threads are gone can keep no promise: better to end, and to be started again.
  host.closed.catch(end)
  const transport = { kind: host.transport.kind, id: (await host.transport.clusterId?.()) ?? identity.folder }
  registration = new Registration({
    manager,
    secret,
    host: {
      id: identity.id,
      url: url ?? listening.url,
      folder: identity.folder,
      transport,
      version: productVersion(),
      resources: { cores: availableParallelism(), memoryMiB: Math.floor(totalmem() / (1 << 20)) },
    },
    managerId: identity.manager,
    onManager: (managerId) => keepIdentity(dataDir, { ...identity, manager: managerId }),
    onReady: () => {
      const line = `SPQR ${productVersion()} host "${identity.id}" is ready at ${listening.url} for ${manager}\n`
      process.stdout.write(line)
    },
    log,
  })
  registration.closed.catch(end)
  await registration.start()
}

function baseUrl(text: string): string {
  if (/^https?:\/\//.test(text) && URL.canParse(text)) return text.replace(/\/+$/, '')
  throw new InvalidArgumentError(`"${text}" is no address: write http://host:port.`)
}

function idOf(text: string): string {
  if (ID_PATTERN.test(text)) return text
  throw new InvalidArgumentError('It must be 1 to 63 of a–z, 0–9 and "-", and begin with a letter or digit.')
}
