// `spqr dev`: manager, host and transport in one process. One of the few files that import both sides.

import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { createHostApp } from '../../../host/http/app.ts'
import { Host } from '../../../host/pipeline/host.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import { createManager } from '../../http/create-manager.ts'
import { serve } from '../../http/serve.ts'
import { ControlStore } from '../../store/control-store.ts'
import { errorText, printError } from '../output.ts'
import { COMPILER_FILES, productVersion, SHIPPED_FOLDER } from '../product.ts'
import { addKafkaOptions, type KafkaOptions, kafkaOf } from './kafka-options.ts'
import { addPermissionOptions, permissionsOf } from './permission-options.ts'
import { addSamples, type Samples } from './samples.ts'
import { takeEnvironmentSecrets } from './secrets-of-environment.ts'

/** Of the data folder: no pipeline reads or writes them, whatever is permitted. */
const OWN_FILES = ['secrets.key', 'control.db', 'log.db'].flatMap((file) =>
  ['', '-wal', '-shm', '-journal'].map((suffix) => file + suffix),
)

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
  const secrets = takeEnvironmentSecrets((line) => process.stderr.write(`${line}\n`))
  const dataDir = dataFolder(options.data)
  const store = ControlStore.open(dataDir)
  const host = await Host.start({
    dataDir,
    permissions: permissions.withoutPaths(OWN_FILES.map((file) => join(dataDir, file))),
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
  let isStopping = false
  const stop = async (): Promise<void> => {
    if (isStopping) return
    isStopping = true
    samples?.stop()
    await listening.stop()
    await manager.stop()
    await host.stop()
    store.stop()
    process.exit(0)
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  await manager.started
  samples = options.empty ? undefined : await addSamples(manager.fetch, listening.url, secrets.adminToken)
  process.stdout.write(
    `SPQR ${productVersion()} is ready at ${listening.url} (${Math.round(performance.now() - started)} ms)\n`,
  )
  if (samples) process.stdout.write(`${samples.hints}\n`)
}

/** @throws SpqrError INVALID_STATE where it cannot be made */
function dataFolder(path: string): string {
  const folder = resolve(path)
  try {
    mkdirSync(folder, { recursive: true })
    return folder
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why = code === 'EEXIST' || code === 'ENOTDIR' ? 'that is a file' : `it cannot be made (${code})`
    throw new SpqrError('INVALID_STATE', `Cannot keep data in "${folder}": ${why}; name another folder with --data.`)
  }
}

/** Reads a whole number of an option. */
function numberIn(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`)
  }
}
