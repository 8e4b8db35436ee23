// Does what the README says, by real processes and ports, and then what it promises: kill -9 and start again.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Step, Walkthrough } from './support/walkthrough.ts'

const test = suite<{ walk: Walkthrough }>('the README')
test.before.each(async (context) => {
  context.walk = await Walkthrough.begin()
})
test.after.each(({ walk }) => walk.remove())

const STEPS: Step[] = [
  {
    command: 'npm start',
    prints: /is ready at http.*\n[\s\S]*Three things to try[\s\S]*nothing is lost/,
    how: 'stays',
  },
  { command: 'curl -N', prints: /data: \{"airport":"[A-Z]{3}","flights":\d+,"meanDelay":/, how: 'streams' },
  { command: 'curl -X POST', prints: /"id":"chicago","state":"running".*"totalMs":/ },
  { command: 'curl -N', prints: /data: \{"destination":"[A-Z]{3}","flights":\d+/, how: 'streams' },
  { command: 'curl -X PATCH', prints: /"fromSequence":\{"component":"too-late","sequence":\d+\},"stateReset":false/ },
  { command: 'curl -N', prints: /"delay":(3[1-9]|[4-9]\d|1[01]\d|120),/, how: 'streams' },
  { command: 'npx spqr operator new', prints: /made / },
  { command: 'cat >' },
  { command: 'npx spqr operator push', prints: /pushed streak@1\.0\.0/ },
  { command: 'npx spqr pipeline apply', prints: /created bad-runs: running/ },
  { command: 'curl -N', prints: /data: \{"time":"2001-/, how: 'streams' },
  { command: 'npx spqr pipeline ls', prints: /airport-kpis +running[\s\S]*flights +running/ },
  { command: 'npx spqr pipeline stats', prints: /per-airport +[1-9]/ },
  { command: 'npx spqr pipeline tap', prints: /("late":[01][\s\S]*){3}/ },
  { command: 'npx spqr pipeline set', prints: /changed flights\/replay: revision 2/ },
  { command: 'npx spqr pipeline fork', prints: /forked delay-alerts as severe-alerts: running/ },
  { command: 'npx spqr topic create', prints: /created orders/ },
  { command: 'npx spqr topic produce', prints: /wrote 1 record to orders/ },
  { command: 'npx spqr topic consume', prints: /"value":\{"id":1,"total":12\.5\}/ },
  { command: 'curl http', prints: /"id":"severe-alerts"/ },
  { command: 'curl http', prints: /"recordsIn":/ },
  { command: 'curl -X POST', prints: /"state":"paused"/ },
  { command: 'curl -X POST', prints: /"state":"running"/ },
  {
    command: 'npx spqr pipeline lint',
    prints: /-:3:\d+: .*"http"[\s\S]*-:4:\d+: .*json-filter[\s\S]*-:4:\d+: .*"in"/,
    how: 'fails',
  },
]

test('what the README says works, and holds over kill -9', async ({ walk }) => {
  await walk.follow('README.md', STEPS)

  const before = await flightsFrom(walk, 'DFW', 1)
  await walk.end('SIGKILL')
  await walk.run('npm start', { prints: /is ready at/, how: 'stays' })
  const { output } = await walk.run('npx spqr pipeline ls')
  for (const id of ['airport-kpis', 'bad-runs', 'chicago', 'delay-alerts', 'severe-alerts']) {
    assert.match(output, new RegExp(`${id} +running`))
  }
  const orders = await walk.run('npx spqr topic consume orders')
  assert.is(orders.output.match(/"total":12\.5/g)?.length, 1)
  // They go on from where they were: not from nothing, and not only up to there.
  await flightsFrom(walk, 'DFW', before + 1)
  await walk.end('SIGTERM')
  assert.not.ok(await fetch(`${walk.url}/healthz`).catch(() => undefined), 'SIGTERM ends it')
})

test('the commands that npm start prints work as they stand', async ({ walk }) => {
  const { output } = await walk.run('npm start', { prints: /nothing is lost/, how: 'stays' })
  // A command goes up to the next one, to a heading or to an empty line.
  const commands = output.match(/^ {2}curl [\s\S]*?(?=\n {2}curl |\n {2}#|\n\n)/gm) ?? []
  const wanted = [
    /"airport":"/,
    /"id":"chicago","state":"running"/,
    /"destination":"/,
    /"stateReset":false/,
    /"delay":/,
  ]
  assert.is(commands.length, wanted.length, output)
  for (const [index, command] of commands.entries()) {
    const prints = wanted[index]!
    const ended = await walk.run(command.trim(), { prints, how: command.includes('curl -N') ? 'streams' : 'ends' })
    assert.match(ended.output, prints, command)
  }
})

/** Waits until the key figures say that so many flights left an airport. @returns how many */
async function flightsFrom(walk: Walkthrough, airport: string, atLeast: number): Promise<number> {
  const until = AbortSignal.timeout(60_000)
  const response = await fetch(`${walk.url}/v1/pipelines/airport-kpis/out/live`, { signal: until })
  let text = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    const found = [...text.matchAll(new RegExp(`\\{"airport":"${airport}","flights":(\\d+)`, 'g'))]
    const flights = Number(found.at(-1)?.[1] ?? 0)
    if (flights >= atLeast) return flights
  }
  throw new Error(`no ${atLeast} flights from ${airport}`)
}

test.run()
