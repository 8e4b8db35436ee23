// spqr pipeline …

import type { Command } from 'commander'
import pc from 'picocolors'
import { ApiClient, jsonBody } from './api-client.ts'
import { deadLetterCommands } from './dead-letter-commands.ts'
import { coloured, print, printJson, SILENT, tableOf, timeText } from './output.ts'
import { pathOf } from './paths.ts'
import { showStats, tail, tap } from './pipeline-watch.ts'
import { countOf, patchOf } from './values.ts'

interface Json {
  json?: boolean
}

interface Pipeline {
  id: string
  state: string
  reason?: { code: string; message: string }
  revision: number
  hosts: string[]
  document: unknown
}

interface Savepoint {
  name: string
  epoch: number
  createdAt: number
  bytes: number
}

/** The check of documents is loaded where it is used: most commands only ask the manager. */
const documents = (): Promise<typeof import('./pipeline-files.ts')> => import('./pipeline-files.ts')

export function pipelineCommands(program: Command): void {
  const pipeline = program.command('pipeline').description('make, watch, change and remove pipelines')

  pipeline
    .command('apply')
    .description('create or replace the pipelines of these documents')
    .argument('<file...>', 'YAML or JSON; "-" is the standard input')
    .option('--json', "print the API's answers")
    .action(async (files: string[], { json }: Json) => (await documents()).applyFiles(new ApiClient(), files, json))

  pipeline
    .command('lint')
    .description('check documents and change nothing; without a manager, against what comes with the product')
    .argument('<file...>', 'YAML or JSON; "-" is the standard input')
    .option('--json', 'print what was found as JSON')
    .action(async (files: string[], { json }: Json) => (await documents()).lintFiles(new ApiClient(), files, json))

  pipeline
    .command('import')
    .description('turn a document of the original SPQR into one of this, on the standard output')
    .argument('<file>', 'spqr.json')
    .option('--json', 'as JSON instead of YAML')
    .action(async (file: string, { json }: Json) => (await import('./import-file.ts')).importFile(file, json))

  pipeline
    .command('schema')
    .description('print the JSON Schema of documents, for editors')
    .action(async () => printJson((await import('../../schemas/json-schema.ts')).documentJsonSchema()))

  reading(pipeline)
  changing(pipeline)
  deadLetterCommands(pipeline)
}

function reading(pipeline: Command): void {
  pipeline
    .command('ls')
    .description('list pipelines')
    .option('--json', "print the API's answer")
    .action(async ({ json }: Json) => {
      const items = await new ApiClient().all<Pipeline>('/v1/pipelines')
      if (json) return printJson({ items })
      const rows = items.map((p) => [p.id, coloured(p.state), p.revision, p.hosts.join(', '), reasonText(p.reason)])
      print(tableOf(['ID', 'STATE', 'REVISION', 'HOSTS', 'REASON'], rows))
    })

  pipeline
    .command('get')
    .description('show a pipeline and its document')
    .argument('<id>')
    .option('--json', "print the API's answer")
    .action(async (id: string, { json }: Json) => {
      const found = await new ApiClient().json<Pipeline>('GET', pathOf(id))
      if (json) return printJson(found)
      const reason = found.reason === undefined ? '' : `, ${reasonText(found.reason)}`
      print(`# ${found.state}${reason}, revision ${found.revision}, on ${found.hosts.join(', ') || 'no host'}`)
      const { stringify } = await import('yaml')
      print(stringify(found.document))
    })

  pipeline
    .command('stats')
    .description('show what moves through a pipeline')
    .argument('<id>')
    .option('--watch', 'again each second, with rates')
    .option('--json', "print the API's answer")
    .action((id: string, options: { watch?: boolean; json?: boolean }) => showStats(new ApiClient(), id, options))

  pipeline
    .command('tap')
    .description('watch the records that leave a component, as JSON lines')
    .argument('<id>')
    .argument('<component>')
    .option('--port <name>', 'of this port alone')
    .option('--limit <n>', 'end after so many', countOf)
    .option('--every <n>', 'one of so many', countOf)
    .option('--json', 'as without it')
    .action((id: string, component: string, { json: _, ...options }: Json & Record<string, string | number>) =>
      tap(new ApiClient(), id, component, options),
    )

  pipeline
    .command('events')
    .description('watch the life cycle, the logs of operators and errors')
    .argument('<id>')
    .option('--json', 'as without it')
    .action((id: string) => tail(new ApiClient(), pathOf(id, '/events')))

  const savepoints = pipeline
    .command('savepoints')
    .description('list the savepoints of a pipeline, or remove some')
    .argument('<id>')
    .option('--json', "print the API's answer")
    .action(async (id: string, { json }: Json) => {
      const items = await new ApiClient().all<Savepoint>(pathOf(id, '/savepoints'))
      if (json) return printJson({ items })
      const rows = items.map((s) => [s.name, s.epoch, timeText(s.createdAt), s.bytes])
      print(tableOf(['NAME', 'EPOCH', 'CREATED', 'BYTES'], rows))
    })
  savepoints
    .command('rm')
    .description('remove savepoints')
    .argument('<id>')
    .argument('<name...>')
    .action(async (id: string, names: string[]) => {
      for (const name of names) {
        await new ApiClient().json('DELETE', pathOf(id, `/savepoints/${encodeURIComponent(name)}`))
        print(`removed the savepoint ${name} of ${id}`)
      }
    })
}

function changing(pipeline: Command): void {
  pipeline
    .command('set')
    .description('change settings of a component while it runs')
    .argument('<id>')
    .argument('<component>')
    .argument('<key=value...>', 'a dotted path and JSON, else a text; key=null removes')
    .option('--operator <name@version>', 'change to this version of the operator too')
    .option('--keep-state', 'refuse the change where it would start the state anew')
    .option('--json', "print the API's answer")
    .action(async (id: string, component: string, values: string[], options: SetOptions) => {
      const path = pathOf(
        id,
        `/components/${encodeURIComponent(component)}${options.keepState ? '?keepState=required' : ''}`,
      )
      const body = jsonBody({ settings: patchOf(values), operator: options.operator })
      const answer = await new ApiClient().json<Patched>('PATCH', path, body)
      if (options.json) return printJson(answer)
      const from = answer.fromSequence ? `, from record ${answer.fromSequence.sequence} of ${component}` : ''
      print(`changed ${id}/${component}: revision ${answer.revision}${from}${answer.stateReset ? ', state anew' : ''}`)
    })

  for (const [action, done, description] of ACTIONS) {
    pipeline
      .command(action)
      .description(description)
      .argument('<id...>')
      .option('--json', "print the API's answer")
      .action(async (ids: string[], { json }: Json) => {
        for (const id of ids) {
          const answer = await new ApiClient().json<Pipeline>('POST', pathOf(id, `/${action}`))
          if (json) printJson(answer)
          else print(`${done} ${id}`)
        }
      })
  }

  pipeline
    .command('rm')
    .description('remove pipelines with their checkpoints and own topics')
    .argument('<id...>')
    .option('--drain', 'deliver first what was taken in')
    .option('--json', SILENT)
    .action(async (ids: string[], { drain, json }: { drain?: boolean; json?: boolean }) => {
      for (const id of ids) {
        await new ApiClient().json('DELETE', pathOf(id, drain ? '?drain=true' : ''))
        if (!json) print(`removed ${id}`)
      }
    })

  pipeline
    .command('savepoint')
    .description('keep the present state under a name')
    .argument('<id>')
    .argument('[name]')
    .option('--json', "print the API's answer")
    .action(async (id: string, name: string | undefined, { json }: Json) => {
      const answer = await new ApiClient().json<Savepoint>('POST', pathOf(id, '/savepoints'), jsonBody({ name }))
      if (json) return printJson(answer)
      print(`kept ${id} as ${pc.bold(answer.name)}, ${answer.bytes} bytes`)
    })

  pipeline
    .command('fork')
    .description("make a second pipeline from one's state, beside it")
    .argument('<id>')
    .argument('<new-id>')
    .option('--savepoint <name>', 'from this one, not from now')
    .option('--set <component.key=value...>', 'change settings in the fork')
    .option('--json', "print the API's answer")
    .action(async (id: string, newId: string, options: { savepoint?: string; set?: string[]; json?: boolean }) => {
      const changes = Object.entries(patchOf(options.set ?? [])).map(([component, settings]) => ({
        id: component,
        settings,
      }))
      const body = jsonBody({ id: newId, savepoint: options.savepoint, components: changes })
      const answer = await new ApiClient().json<Pipeline>('POST', pathOf(id, '/fork'), body)
      if (options.json) return printJson(answer)
      print(`forked ${id} as ${answer.id}: ${answer.state}`)
    })

  pipeline
    .command('restart')
    .description('run again from a place')
    .argument('<id>')
    .option(
      '--from <place>',
      'checkpoint, checkpoint:EPOCH, savepoint:NAME, earliest, latest, offset:N or time:ISO',
      'checkpoint',
    )
    .option('--json', "print the API's answer")
    .action(async (id: string, { from, json }: { from: string; json?: boolean }) => {
      const answer = await new ApiClient().json<Pipeline>('POST', pathOf(id, '/restart'), jsonBody({ from }))
      if (json) return printJson(answer)
      print(`restarted ${id} from ${from}: ${answer.state}`)
    })
}

interface SetOptions extends Json {
  operator?: string
  keepState?: boolean
}

interface Patched {
  revision: number
  fromSequence?: { component: string; sequence: number }
  stateReset: boolean
}

const ACTIONS = [
  ['pause', 'paused', 'let nothing flow until it is resumed'],
  ['resume', 'resumed', 'let a paused pipeline go on, or start a stopped one from its checkpoint'],
  ['stop', 'stopped', 'take a checkpoint and free everything but the document'],
] as const

function reasonText(reason: Pipeline['reason']): string {
  return reason ? `${reason.code}: ${reason.message}` : ''
}
