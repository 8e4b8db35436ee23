// The sample pipelines of `spqr dev`: real flights, replayed as a stream, with delay KPIs per airport and alerts. They are
// created through the API, from the documents in examples/, as anybody would.

import { readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { type Problem, SpqrError } from '../../../schemas/errors.ts'
import { ROOT } from '../product.ts'

type Fetch = (request: Request) => Response | Promise<Response>

/** In this order: the first one fills the topic that the others read. */
const SAMPLES = ['flights', 'airport-kpis', 'delay-alerts']
const REPLAY = 'flights'
const DATA_FILE = 'examples/data/flights.ndjson.gz'
/** Some days of the replay; more is let go, oldest first. */
const TOPIC = { name: 'flights', retentionBytes: 64 << 20 }
/** How soon the replay begins again once it is through. */
const AGAIN_MS = 2000

export interface Samples {
  /** What to try next, for people. */
  readonly hints: string
  /** Ends what is done for them; the pipelines stay. */
  stop(): void
}

/**
 * Creates those that are not there yet, and lets the replay begin again whenever it is through.
 * @param adminToken where the manager asks for tokens
 * @returns also where they cannot be made: the hints then say why
 */
export async function addSamples(fetch: Fetch, url: string, adminToken?: string): Promise<Samples> {
  const api = apiOf(fetch, url, adminToken)
  try {
    await api('POST', '/v1/topics', JSON.stringify(TOPIC), ['ALREADY_EXISTS'])
    for (const id of SAMPLES) {
      if ((await stateOf(api, id)) !== undefined) continue
      await api('POST', '/v1/pipelines', documentOf(id), ['ALREADY_EXISTS'])
    }
  } catch (error) {
    return { hints: `The samples are left out: ${(error as Error).message}${howTo(error)}`, stop: () => undefined }
  }
  const timer = setInterval(() => {
    // It may have been changed or removed meanwhile; only the end of the file is answered with a new beginning.
    stateOf(api, REPLAY)
      .then((state) =>
        state === 'completed'
          ? api('POST', `/v1/pipelines/${REPLAY}/restart`, '{"from":"earliest"}', ['NOT_FOUND'])
          : undefined,
      )
      .catch((error: Error) => process.stderr.write(`Cannot replay the flights again: ${error.message}\n`))
  }, AGAIN_MS)
  timer.unref()
  return { hints: hintsOf(url, adminToken !== undefined), stop: () => clearInterval(timer) }
}

type Api = (method: string, path: string, body?: string, but?: string[]) => Promise<unknown>

/** Asks and answers what came; a problem whose code is in `but` is answered with undefined. */
function apiOf(fetch: Fetch, url: string, adminToken?: string): Api {
  return async (method, path, body, but = []) => {
    const headers: Record<string, string> = {}
    if (adminToken !== undefined) headers.authorization = `Bearer ${adminToken}`
    if (body !== undefined) headers['content-type'] = body.startsWith('{') ? 'application/json' : 'application/yaml'
    const response = await fetch(new Request(url + path, { method, body, headers }))
    const text = await response.text()
    if (response.ok) return text === '' ? undefined : JSON.parse(text)
    const problem = JSON.parse(text) as Problem
    if (but.includes(problem.code)) return undefined
    throw new SpqrError(problem.code, problem.detail, { issues: problem.issues })
  }
}

async function stateOf(api: Api, id: string): Promise<string | undefined> {
  const found = (await api('GET', `/v1/pipelines/${id}`, undefined, ['NOT_FOUND'])) as { state: string } | undefined
  return found?.state
}

/** Its document; the data file is named from where this process was started. */
function documentOf(id: string): string {
  const text = readFileSync(join(ROOT, 'examples', `${id}.yaml`), 'utf8')
  const file = relative(process.cwd(), resolve(ROOT, DATA_FILE))
  return text.replace(DATA_FILE, file)
}

function howTo(error: unknown): string {
  const isDenied = error instanceof SpqrError && error.code === 'PERMISSION_DENIED'
  return isDenied ? '\n  `npm start` gives this permission; `--empty` starts without the samples.' : ''
}

function hintsOf(url: string, asksForToken: boolean): string {
  const curl = asksForToken ? 'curl -H "authorization: Bearer $SPQR_ADMIN_TOKEN"' : 'curl'
  return `
Real flights of 2001 land as you read this. Three things to try, each in a terminal of its own:

  # 1. watch the delays per airport, each second (Ctrl-C ends it)
  ${curl} -N ${url}/v1/pipelines/airport-kpis/out/live

  # 2. drill down into one airport while all this runs, then watch it
  ${curl} -X POST ${url}/v1/pipelines -H 'content-type: application/json' -d '
    {"id":"chicago","components":[
      {"id":"flights","source":"topic","settings":{"topic":"flights","from":"earliest"}},
      {"id":"from-chicago","operator":"json-filter","from":"flights","settings":{"where":[{"path":"origin","equals":"ORD"}]}},
      {"id":"per-destination","operator":"json-aggregate","from":"from-chicago","settings":{"groupBy":"destination",
        "fields":[{"as":"flights","fn":"count"},{"path":"delay","as":"meanDelay","fn":"mean"}]}},
      {"id":"live","emitter":"sse","from":"per-destination"}]}'
  ${curl} -N ${url}/v1/pipelines/chicago/out/live

  # 3. lower the threshold of the alerts from 120 to 30 minutes while they run, then watch them
  ${curl} -X PATCH ${url}/v1/pipelines/delay-alerts/components/too-late -H 'content-type: application/json' \\
    -d '{"settings":{"where":[{"path":"delay","gt":30}]}}'
  ${curl} -N ${url}/v1/pipelines/delay-alerts/out/live

The API: ${url}/docs   More: README.md, docs/tutorial.md   Ctrl-C ends it, nothing is lost.
`
}
