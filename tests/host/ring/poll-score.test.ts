// Polling goes on where it finds something, ends where it does not, and is tried again.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { BridgePoll } from '../../../host/bridges/runtime/bridge-poll.ts'
import { PollScore } from '../../../host/ring/poll-score.ts'

const test = suite('polling')

/** Asks until it is not worth it. @returns how often it was */
function missUntilOff(score: PollScore): number {
  let worth = 0
  for (; score.isWorth(); worth++) {
    score.miss()
    assert.ok(worth < 100, 'it goes on for ever')
  }
  return worth
}

test('a few misses in a row end it', () => {
  assert.is(missUntilOff(new PollScore()), 5)
})

test('while it hits, a miss now and then does not end it', () => {
  const score = new PollScore()
  for (let i = 0; i < 1000; i++) {
    assert.ok(score.isWorth())
    if (i % 4 === 3) score.miss()
    else score.hit()
  }
})

test('left off, it is tried now and then, and goes on where that hits', () => {
  const score = new PollScore()
  missUntilOff(score)
  let tries = 0
  for (let i = 0; i < 640; i++) if (score.isWorth()) tries++
  assert.is(tries, 10)
  while (!score.isWorth());
  score.hit()
  assert.ok(score.isWorth())
})

test('a bridge waits longer for an answer than for more, and no longer than that', () => {
  const poll = new BridgePoll()
  poll.sent(1000)
  poll.moved(1000.01)
  assert.ok(poll.goesOn(1000.1))
  assert.not.ok(poll.goesOn(1000.2))
  assert.not.ok(poll.goesOn(1000.1), 'it is over')
  poll.moved(1001)
  assert.ok(poll.goesOn(1001.02))
  assert.not.ok(poll.goesOn(1001.1))
})

test('a bridge whose records go nowhere leaves off waiting for answers', () => {
  const poll = new BridgePoll()
  for (let i = 0; i < 5; i++) {
    poll.sent(i)
    assert.not.ok(poll.goesOn(i + 0.2))
  }
  poll.sent(10)
  assert.not.ok(poll.goesOn(10))
})

test.run()
