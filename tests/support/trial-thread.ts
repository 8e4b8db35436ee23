// A trial thread for tests that drive a pipeline in their own thread.

import { MessageChannel, Worker } from 'node:worker_threads'
import { makeStatus } from '../../host/compute/status.ts'
import { Trials } from '../../host/compute/trials.ts'
import { makeDoorbell } from '../../host/ring/doorbell.ts'

export class TrialThread {
  readonly trials = new Trials()
  private worker: Worker | undefined

  constructor() {
    this.restart()
  }

  /** Ends the thread, whatever it is at; another takes its place. */
  restart(): void {
    void this.worker?.terminate()
    const control = new MessageChannel()
    this.worker = new Worker(new URL('../../host/compute/trial.worker.js', import.meta.url), {
      workerData: { control: control.port2, status: makeStatus() },
      transferList: [control.port2],
      resourceLimits: { stackSizeMb: 4 },
    })
    const { port1, port2 } = new MessageChannel()
    control.port1.postMessage({ type: 'compute', port: port2, doorbell: makeDoorbell() }, [port2])
    this.trials.connect(port1)
  }

  async stop(): Promise<void> {
    await this.worker?.terminate()
  }
}
