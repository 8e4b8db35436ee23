// `spqr manager`: keeps documents, operators and tenants, serves the API, and has hosts run what shall run.

import type { Command } from 'commander'
import { SpqrError } from '../../../schemas/errors.ts'
import { createManager } from '../../http/create-manager.ts'
import { serve } from '../../http/serve.ts'
import { ControlStore } from '../../store/control-store.ts'
import { errorText, printError } from '../output.ts'
import { COMPILER_FILES, productVersion, SHIPPED_FOLDER, SPQR } from '../product.ts'
import { dataFolder } from './data-folder.ts'
import { managerHostToken } from './host-token.ts'
import { addListenOptions, isLoopback, type ListenOptions } from './listen-options.ts'
import { takeEnvironmentSecrets } from './secrets-of-environment.ts'
import { stopOnSignals } from './until-stopped.ts'

interface ManagerOptions extends ListenOptions {
  data: string
}

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command('manager')
    .description('start a manager, which keeps what shall run and has hosts run it')
    .option('--data <folder>', 'where documents, operators and tenants are kept', '.spqr')
  addListenOptions(command, 8400).action(async (options: ManagerOptions) => {
    try {
      await start(options)
    } catch (error) {
      printError(errorText(error))
      process.exit(1)
    }
  })
}

async function start({ data, port, listen }: ManagerOptions): Promise<void> {
  const log = (line: string): void => void process.stderr.write(`${line}\n`)
  const { hostToken, ...secrets } = takeEnvironmentSecrets(log)
  if (secrets.adminToken === undefined && !isLoopback(listen)) {
    const message = `Cannot listen on ${listen} without a token: whoever reaches it could do everything; set SPQR_ADMIN_TOKEN.`
    throw new SpqrError('INVALID_STATE', message)
  }
  const folder = dataFolder(data)
  const store = ControlStore.open(folder)
  const { token, file } = managerHostToken(hostToken, folder)
  const manager = await createManager({
    store,
    hostSecret: token,
    shippedFolder: SHIPPED_FOLDER,
    compiler: COMPILER_FILES,
    version: productVersion(),
    ...secrets,
    log,
  })
  const listening = await serve({ fetch: manager.fetch, port, hostname: listen })
  stopOnSignals(async () => {
    await listening.stop()
    await manager.stop()
    store.stop()
  })
  const how = file === undefined ? 'with the same SPQR_HOST_TOKEN' : `--token-file ${file}`
  process.stdout.write(`SPQR ${productVersion()} manager is ready at ${listening.url}\n`)
  process.stdout.write(`Start hosts: ${SPQR} host --manager ${listening.url} ${how}\n`)
}
