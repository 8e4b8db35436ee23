// The commands and how they end: 0 done, 1 failed, 2 not a command.

import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { SpqrError } from '../../schemas/errors.ts'
import { Failed } from './failed.ts'
import { operatorCommands } from './operator-commands.ts'
import { errorText, printError, printJson } from './output.ts'
import { pipelineCommands } from './pipeline-commands.ts'
import { productVersion } from './product.ts'
import { tenantCommands } from './tenant-commands.ts'
import { topicCommands } from './topic-commands.ts'

/** What starts a part of the product: loaded when it is asked for, since hosts and managers are large. */
const STARTERS: Record<string, string> = {
  dev: 'start a manager, a host and the embedded transport in one process',
  manager: 'start a manager, which keeps what shall run and has hosts run it',
  host: 'start a host, which runs pipelines for a manager',
}

interface Starter {
  register(program: Command): void
}

/** @returns the exit code */
export async function run(args: string[]): Promise<number> {
  const program = new Command('spqr')
  program
    .description('Pipelines over live data, made and changed in milliseconds.')
    .version(productVersion())
    .showHelpAfterError('(--help says what there is)')
    .showSuggestionAfterError()
    .exitOverride()
  try {
    for (const [name, description] of Object.entries(STARTERS)) {
      if (args.slice(0, 2).includes(name)) await load(program, name)
      else program.command(name).description(description)
    }
    pipelineCommands(program)
    operatorCommands(program)
    topicCommands(program)
    tenantCommands(program)
    inherit(program)
    await program.parseAsync(args, { from: 'user' })
    return 0
  } catch (error) {
    return exitCodeOf(error, args)
  }
}

async function load(program: Command, name: string): Promise<void> {
  const starter = (await import(new URL(`./start/${name}.js`, import.meta.url).href)) as Starter
  starter.register(program)
}

/** Sub-commands made with `command()` have these from their parent; those of `addCommand` do not. */
function inherit(command: Command): void {
  for (const child of command.commands) {
    child.copyInheritedSettings(command)
    inherit(child)
  }
}

function exitCodeOf(error: unknown, args: string[]): number {
  // Found in a command's own work: nobody has said it yet.
  if (error instanceof InvalidArgumentError) printError(`error: ${error.message}\n(--help says what there is)`)
  // Help that was asked for ends with 0, help in place of a missing sub-command does not.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (error instanceof Failed) return 1
  if (error instanceof SpqrError && args.includes('--json')) printJson(error.toProblem())
  else printError(errorText(error))
  return 1
}
