// Turns: nobody waits for one that is always busy, and nobody is forgotten.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { TurnQueue } from '../../../../host/bridges/runtime/turn-queue.ts'

const test = suite('the queue of turns')

const queueOf = (names: string): TurnQueue<string> => {
  const queue = new TurnQueue<string>()
  for (const name of names) queue.add(name)
  return queue
}

test('one whose turns take all the time does not keep the others from theirs', () => {
  const queue = queueOf('abc')
  const turns: string[] = []
  for (let i = 0; i < 6; i++) {
    queue.run(0, (one) => {
      turns.push(one)
      return true
    })
  }
  assert.is(turns.join(''), 'abcabc')
})

test('with time each has one, and those that have more stay', () => {
  const queue = queueOf('abc')
  const turns: string[] = []
  const turn = (one: string): boolean => {
    turns.push(one)
    return one !== 'b'
  }
  queue.run(Number.POSITIVE_INFINITY, turn)
  assert.is(turns.join(''), 'abc')
  assert.is(queue.size, 2)
  queue.run(Number.POSITIVE_INFINITY, turn)
  assert.is(turns.join(''), 'abcac')
})

test('what is said of one within its turn is not lost', () => {
  const queue = queueOf('a')
  queue.run(0, (one) => {
    queue.add(one)
    return false
  })
  assert.is(queue.size, 1)
})

test('one that is gone has no turn', () => {
  const queue = queueOf('abc')
  const turns: string[] = []
  queue.run(Number.POSITIVE_INFINITY, (one) => {
    turns.push(one)
    queue.delete('b')
    return false
  })
  assert.is(turns.join(''), 'ac')
  assert.is(queue.size, 0)
})

test.run()
