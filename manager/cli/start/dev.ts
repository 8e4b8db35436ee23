// `spqr dev`: manager, host and transport in one process. One of the few files that import both sides.

import type { Command } from 'commander'
import { createHostApp } from '../../../host/http/app.ts'
import { Host } from '../../../host/pipeline/host.ts'
import { createManager } from '../../http/create-manager.ts'
import { serve } from '../../http/serve.ts'
import { ControlStore } from '../../store/control-store.ts'
import { errorText, printError } from '../output.ts'
import { COMPILER_FILES, productVersion, SHIPPED_FOLDER } from '../product.ts'
import { dataFolder, ownFiles } from './data-folder.ts'
import { addKafkaOptions, type KafkaOptions, kafkaOf } from './kafka-options.ts'
import { numberIn } from './listen-options.ts'
import { addPermissionOptions, permissionsOf } from './permission-options.ts'
import { addSamples, type Samples } from './samples.ts'
import { takeEnvironmentSecrets } from './secrets-of-environment.ts'
import { stopOnSignals } from './until-stopped.ts'

interface DevOptions extends KafkaOptions {
  port: number
  data: string
  empty?: boolean
  workers?: number
  [permission: string]: unknown
}

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command('dev')
    .description('start a manager, a host and the embedded transport in one process')
    .option(
      '--port <port>',
      'where the API listens, on this machine only; 0 picks a free one',
      numberIn(0, 65_535),
      8400,
    )
    .option('--data <folder>', 'where everything is kept', '.spqr')
    .option('--empty', 'without the sample pipelines')
    .option('--workers <n>', 'threads that run operators; else as many as there are cores', numberIn(1, 256))
  addKafkaOptions(command)
  addPermissionOptions(command).action(async (options: DevOptions) => {
    try {
      await dev(options)
    } catch (error) {
      // Some of its threads may run already, and would keep the process.
      printError(errorText(error))
      process.exit(1)
    }
  })
}

async function dev(options: DevOptions): Promise<void> {
  const started = performance.now()
  const permissions = permissionsOf(options)
  const { hostToken: _hostToken, ...secrets } = takeEnvironmentSecrets((line) => process.stderr.write(`${line}\n`))
  const dataDir = dataFolder(options.data)
  const store = ControlStore.open(dataDir)
  const host = await Host.start({
    dataDir,
    permissions: permissions.withoutPaths(ownFiles(dataDir)),
    kafka: kafkaOf(options),
    onTransport: (state, detail) => process.stderr.write(`Kafka: ${state}${detail ? `, ${detail}` : ''}\n`),
    computeWorkers: options.workers,
  })
  const app = createHostApp(host)
  const manager = await createManager({
    store,
    hosts: [
      {
        id: 'local',
        url: 'http://host',
        fetch: (request) => app.fetch(request),
        put: (plan, options) => host.put(plan, options),
      },
    ],
    shippedFolder: SHIPPED_FOLDER,
    compiler: COMPILER_FILES,
    version: productVersion(),
    ...secrets,
    log: (line) => process.stderr.write(`${line}\n`),
  })
  const listening = await serve({ fetch: manager.fetch, port: options.port })
  // A host whose threads are gone can keep no promise: better to end, and to be started again.
  host.closed.catch((error) => {
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  })
  let samples: Samples | undefined
  stopOnSignals(async () => {
    samples?.stop()
    await listening.stop()
    await manager.stop()
    await host.stop()
    store.stop()
  })
  await manager.started
  samples = options.empty ? undefined : await addSamples(manager.fetch, listening.url, secrets.adminToken)
  process.stdout.write(
    `SPQR ${productVersion()} is ready at ${listening.url} (${Math.round(performance.now() - started)} ms)\n`,
  )
  if (samples) process.stdout.write(`${samples.hints}\n`)
}
