// How a worker learns that one of its channels has something: a bit per channel and a word to sleep on.
// Runs on: every worker has one; any thread rings it. The memory belongs to the worker's life.
//
//    word 0  sleeping   (owner sets 1, a ringer takes it back to 0 and wakes)
//    word 1  messages   (senders add 1 after each message they posted to the owner)
//    word 16…           one bit per channel: it has records, or room
//
// A channel is a source or an emitter of a pipeline: one ring. Its number is unique in the host and used at both ends.

const SLEEPING = 0
const MESSAGES = 1
const BITS = 16

/** Channels a host can have at once. */
export const CHANNELS_MAX = 1 << 16

export function makeDoorbell(): SharedArrayBuffer {
  return new SharedArrayBuffer(4 * (BITS + (CHANNELS_MAX >> 5)))
}

/** The side that rings. */
export class Doorbell {
  protected readonly words: Int32Array

  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory)
  }

  /** Something happened in the channel. // hot, once per batch */
  signal(channel: number): void {
    Atomics.or(this.words, BITS + (channel >> 5), 1 << (channel & 31))
    this.wake()
  }

  /** A message was posted to the owner. */
  message(): void {
    Atomics.add(this.words, MESSAGES, 1)
    this.wake()
  }

  /** Wakes the owner if it sleeps. */
  wake(): void {
    // Plain load first: nobody sleeps on a busy path, and a load does not take the cache line away. The exchange lets
    // one of several ringers pay for the wake-up.
    if (Atomics.load(this.words, SLEEPING) === 1 && Atomics.exchange(this.words, SLEEPING, 0) === 1) {
      Atomics.notify(this.words, SLEEPING)
    }
  }
}

/** The side that sleeps. */
export class DoorbellOwner extends Doorbell {
  private messagesSeen = 0
  private highWord = 0

  /** Channels up to this number are looked at. */
  watchUpTo(channel: number): void {
    this.highWord = Math.max(this.highWord, (channel >> 5) + 1)
  }

  /** True once after messages came. */
  takeMessages(): boolean {
    const messages = Atomics.load(this.words, MESSAGES)
    if (messages === this.messagesSeen) return false
    this.messagesSeen = messages
    return true
  }

  /** Calls `each` for every channel that was signalled since the last time, and takes the signals. // hot */
  takeSignals(each: (channel: number) => void): void {
    for (let word = 0; word < this.highWord; word++) {
      if (Atomics.load(this.words, BITS + word) === 0) continue
      // Taken before the channel is looked at: a signal that comes meanwhile is seen the next time.
      let bits = Atomics.exchange(this.words, BITS + word, 0)
      while (bits !== 0) {
        const bit = 31 - Math.clz32(bits & -bits)
        bits &= bits - 1
        each((word << 5) + bit)
      }
    }
  }

  /** Something waits to be taken. */
  anything(): boolean {
    if (Atomics.load(this.words, MESSAGES) !== this.messagesSeen) return true
    for (let word = 0; word < this.highWord; word++) if (Atomics.load(this.words, BITS + word) !== 0) return true
    return false
  }

  /** Says that it sleeps. @returns false: something came meanwhile, it is awake */
  private fallAsleep(): boolean {
    // Said before the last look: whoever signals after that look finds 1 here and wakes us.
    Atomics.store(this.words, SLEEPING, 1)
    if (!this.anything()) return true
    Atomics.store(this.words, SLEEPING, 0)
    return false
  }

  /** Blocks the thread until it is rung or `timeoutMs` passed. */
  sleep(timeoutMs: number): void {
    if (!this.fallAsleep()) return
    Atomics.wait(this.words, SLEEPING, 1, timeoutMs)
    Atomics.store(this.words, SLEEPING, 0)
  }

  /** Resolves when it is rung, at once if something is there already. */
  async rung(): Promise<void> {
    if (!this.fallAsleep()) return
    const wait = Atomics.waitAsync(this.words, SLEEPING, 1)
    if (wait.async) await wait.value
    Atomics.store(this.words, SLEEPING, 0)
  }
}
