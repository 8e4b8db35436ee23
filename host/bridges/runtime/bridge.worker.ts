// Entry of a bridge worker thread: wiring only.
// Runs on: bridge.

import { type MessagePort, workerData } from 'node:worker_threads'
import { Status } from '../../compute/status.ts'
import { Permissions, type PermissionsMessage } from '../../permissions/permissions.ts'
import { QuotaCells } from '../../quota/quota-cells.ts'
import { connectTransport, type TransportAddress } from '../../transport/connect.ts'
import { BridgeLoop } from './bridge-loop.ts'

interface BridgeWorkerData {
  control: MessagePort
  doorbell: SharedArrayBuffer
  status: SharedArrayBuffer
  quota: SharedArrayBuffer
  cores: number
  transport: TransportAddress
  permissions: PermissionsMessage
}

const data = workerData as BridgeWorkerData
new BridgeLoop({
  control: data.control,
  doorbell: data.doorbell,
  status: new Status(data.status),
  cores: data.cores,
  transport: await connectTransport(data.transport),
  permissions: Permissions.fromJSON(data.permissions),
  quota: new QuotaCells(data.quota),
}).run()
