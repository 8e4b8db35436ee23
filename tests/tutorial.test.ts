// Does what docs/tutorial.md says, by real processes and ports, its kill -9 included.

import { suite } from 'uvu'
import { type Step, Walkthrough } from './support/walkthrough.ts'

const test = suite<{ walk: Walkthrough }>('the tutorial')
test.before.each(async (context) => {
  context.walk = await Walkthrough.begin()
})
test.after.each(({ walk }) => walk.remove())

const STEPS: Step[] = [
  { command: 'npm run build' },
  { command: 'npx spqr dev', prints: /is ready at/, how: 'stays' },
  { command: 'npx spqr topic create', prints: /created flights/ },
  { command: 'npx spqr pipeline apply', prints: /created flights: running/ },
  { command: 'npx spqr pipeline tap', prints: /("origin":[\s\S]*){2}/ },
  { command: 'npx spqr topic consume', prints: /"offset":"1".*"value":\{"time":"2001-01-01T/ },
  { command: 'npx spqr pipeline apply', prints: /created airport-kpis: running/ },
  { command: 'curl -N', prints: /data: \{"airport":"[A-Z]{3}","flights":\d+,"meanDelay":/, how: 'streams' },
  { command: 'npx spqr pipeline stats', prints: /per-airport +[1-9]/ },
  { command: 'npx spqr pipeline apply', prints: /created chicago: running/ },
  { command: 'curl -N', prints: /data: \{"destination":"[A-Z]{3}","flights":\d+/, how: 'streams' },
  { command: 'npx spqr pipeline apply', prints: /created delay-alerts: running/ },
  { command: 'npx spqr pipeline set', prints: /changed delay-alerts\/too-late: revision 2, from record \d+/ },
  { command: 'curl -N', prints: /"delay":(3[1-9]|[4-9]\d|1[01]\d|120),/, how: 'streams' },
  { command: 'npx spqr pipeline set', prints: /changed airport-kpis\/per-airport: revision 2(?![^\n]*state anew)/ },
  { command: 'npx spqr pipeline set', prints: /keep its state/, how: 'fails' },
  { command: 'npx spqr pipeline fork', prints: /forked airport-kpis as strict-kpis: running/ },
  { command: 'curl -N', prints: /data: \{"airport":"[A-Z]{3}","flights":\d+/, how: 'streams' },
  { command: 'npx spqr pipeline rm', prints: /removed strict-kpis/ },
  { command: 'npx spqr operator new', prints: /made / },
  { command: 'npx spqr operator test', prints: /1 passed, 0 failed/ },
  { command: 'cat > /tmp/streak/index.ts' },
  { command: 'cat > /tmp/streak/manifest.json' },
  { command: 'cat > /tmp/streak/test.json' },
  { command: 'npx spqr operator test', prints: /two late flights in a row[\s\S]*1 passed, 0 failed/ },
  { command: 'npx spqr operator push', prints: /pushed streak@1\.0\.0/ },
  {
    command: 'npx spqr pipeline apply',
    prints: /-:4:\d+: \/components\/1\/settings\/length must be of type integer, not string/,
    how: 'fails',
  },
  { command: 'npx spqr pipeline apply', prints: /created bad-runs: running/ },
  { command: 'curl -N', prints: /data: \{"time":"2001-/, how: 'streams' },
  { command: 'npx spqr pipeline apply', prints: /created orders: running/ },
  { command: 'printf', prints: /"accepted":3/ },
  { command: 'npx spqr pipeline dead-letters', prints: /0 .*large +INVALID_RECORD/ },
  { command: 'kill -9' },
  { command: 'npx spqr dev', prints: /is ready at/, how: 'stays' },
  { command: 'npx spqr pipeline ls', prints: /airport-kpis +running[\s\S]*orders +running/ },
  { command: 'curl -N', prints: /data: \{"airport":"[A-Z]{3}","flights":\d+/, how: 'streams' },
]

test('what the tutorial says works', ({ walk }) => walk.follow('docs/tutorial.md', STEPS))

test.run()
