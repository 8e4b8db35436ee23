// Every endpoint of the product's HTTP API: what it takes, what it answers. openapi.ts makes the description of it.

import * as api from './api.ts'
import * as answers from './api-answers.ts'
import type { AnySchema } from './shapes.ts'

type Content = AnySchema | 'document' | 'json-schema' | 'text' | 'bytes' | 'ndjson' | 'events'

export interface ApiOperation {
  method: 'get' | 'post' | 'put' | 'patch' | 'delete'
  /** With `{name}` for what varies. */
  path: string
  summary: string
  query?: AnySchema
  /** Media type → what it holds. */
  body?: Record<string, Content>
  bodyOptional?: boolean
  /** Status → media type and content; null: no body. */
  answers: Record<number, [string, Content] | null>
  /** Answers without a token. */
  open?: boolean
}

const JSON_TYPE = 'application/json'
const EVENTS = 'text/event-stream'
const json = (schema: Content): [string, Content] => [JSON_TYPE, schema]
const events: [string, Content] = [EVENTS, 'events']
const body = (schema: Content): Record<string, Content> => ({ [JSON_TYPE]: schema })
const documentBody: Record<string, Content> = { [JSON_TYPE]: 'document', 'application/yaml': 'document' }
const noBody = { 204: null }

const pipeline = '/v1/pipelines/{id}'
const topic = '/v1/topics/{topic}'
const tenant = '/v1/tenants/{tenant}'
const version = '/v1/operators/{name}/{version}'

export const API_OPERATIONS: readonly ApiOperation[] = [
  {
    method: 'get',
    path: '/healthz',
    summary: 'Whether the process answers',
    answers: { 200: json('json-schema') },
    open: true,
  },
  {
    method: 'get',
    path: '/readyz',
    summary: 'Whether every pipeline that was running runs again',
    answers: { 200: json('json-schema'), 503: json('json-schema') },
    open: true,
  },
  {
    method: 'get',
    path: '/metrics',
    summary: 'Metrics as Prometheus reads them',
    answers: { 200: ['text/plain', 'text'] },
  },
  {
    method: 'get',
    path: '/openapi.json',
    summary: 'This description',
    answers: { 200: json('json-schema') },
    open: true,
  },
  {
    method: 'get',
    path: '/docs',
    summary: 'This description, for reading',
    answers: { 200: ['text/html', 'text'] },
    open: true,
  },

  {
    method: 'put',
    path: version,
    summary: 'Admit a module',
    query: api.noQuery,
    body: { 'application/wasm': 'bytes' },
    answers: { 200: json(answers.operatorAnswer), 201: json(answers.operatorAnswer) },
  },
  {
    method: 'post',
    path: '/v1/operators',
    summary: 'Compile AssemblyScript and admit it',
    query: api.noQuery,
    body: body(api.operatorBody),
    answers: { 200: json(answers.operatorAnswer), 201: json(answers.operatorAnswer) },
  },
  {
    method: 'get',
    path: '/v1/operators',
    summary: 'List operators',
    query: api.listQuery,
    answers: { 200: json(answers.operatorList) },
  },
  {
    method: 'get',
    path: '/v1/operators/{name}',
    summary: 'The newest version of an operator, and all of them',
    query: api.noQuery,
    answers: { 200: json(answers.operatorAnswer) },
  },
  {
    method: 'get',
    path: version,
    summary: 'Describe a version',
    query: api.noQuery,
    answers: { 200: json(answers.operatorAnswer) },
  },
  {
    method: 'delete',
    path: version,
    summary: 'Remove a version that nothing uses',
    query: api.noQuery,
    answers: noBody,
  },

  {
    method: 'post',
    path: '/v1/pipelines',
    summary: 'Create a pipeline; answered when it runs',
    query: api.dryRunQuery,
    body: documentBody,
    answers: { 200: json(answers.dryRunAnswer), 201: json(answers.createdAnswer) },
  },
  {
    method: 'get',
    path: '/v1/pipelines',
    summary: 'List pipelines',
    query: api.listQuery,
    answers: { 200: json(answers.pipelineList) },
  },
  {
    method: 'get',
    path: pipeline,
    summary: 'A pipeline with its document',
    query: api.noQuery,
    answers: { 200: json('document') },
  },
  {
    method: 'put',
    path: pipeline,
    summary: 'Replace the document; what did not change keeps its state',
    query: api.keepStateQuery,
    body: documentBody,
    answers: { 200: json(answers.createdAnswer) },
  },
  {
    method: 'patch',
    path: `${pipeline}/components/{component}`,
    summary: 'Change settings (merge patch) or the version of an operator while it runs',
    query: api.keepStateQuery,
    body: body(api.patchComponentBody),
    answers: { 200: json(answers.changeAnswer) },
  },
  { method: 'delete', path: pipeline, summary: 'Stop and remove a pipeline', query: api.removeQuery, answers: noBody },
  {
    method: 'post',
    path: `${pipeline}/pause`,
    summary: 'Pause',
    query: api.noQuery,
    answers: { 200: json(answers.stateAnswer) },
  },
  {
    method: 'post',
    path: `${pipeline}/resume`,
    summary: 'Go on',
    query: api.noQuery,
    answers: { 200: json(answers.stateAnswer) },
  },
  {
    method: 'post',
    path: `${pipeline}/stop`,
    summary: 'Take a checkpoint and free everything but the document',
    query: api.noQuery,
    answers: { 200: json(answers.stateAnswer) },
  },
  {
    method: 'post',
    path: `${pipeline}/restart`,
    summary: 'Run again from a checkpoint, a savepoint or a position',
    body: body(api.restartBody),
    answers: { 200: json(answers.stateAnswer) },
  },
  {
    method: 'post',
    path: `${pipeline}/savepoints`,
    summary: 'Take a checkpoint with a name',
    body: body(api.savepointBody),
    bodyOptional: true,
    answers: { 201: json(answers.savepointAnswer) },
  },
  {
    method: 'get',
    path: `${pipeline}/savepoints`,
    summary: 'List savepoints',
    query: api.listQuery,
    answers: { 200: json(answers.savepointList) },
  },
  {
    method: 'delete',
    path: `${pipeline}/savepoints/{name}`,
    summary: 'Remove a savepoint',
    query: api.noQuery,
    answers: noBody,
  },
  {
    method: 'post',
    path: `${pipeline}/fork`,
    summary: 'A second pipeline from the state of this one',
    body: body(api.forkBody),
    answers: { 201: json(answers.createdAnswer) },
  },
  {
    method: 'get',
    path: `${pipeline}/stats`,
    summary: 'Counters',
    query: api.noQuery,
    answers: { 200: json(answers.statsAnswer) },
  },
  {
    method: 'get',
    path: `${pipeline}/out/{component}`,
    summary: 'Records of an emitter sse or websocket, as events or over WebSocket',
    answers: { 200: events },
  },
  {
    method: 'get',
    path: `${pipeline}/tap/{component}`,
    summary: 'A copy of the records that leave a component',
    query: api.tapQuery,
    answers: { 200: events },
  },
  {
    method: 'get',
    path: `${pipeline}/events`,
    summary: 'Life cycle, logs of operators, errors',
    answers: { 200: events },
  },
  {
    method: 'post',
    path: `${pipeline}/ingest/{source}`,
    summary: 'Give records to a source http',
    body: { 'application/x-ndjson': 'ndjson', 'application/octet-stream': 'bytes' },
    answers: { 202: json(answers.ingestAnswer) },
  },
  {
    method: 'get',
    path: `${pipeline}/dead-letters`,
    summary: 'What could not be processed',
    query: api.listQuery,
    answers: { 200: json(answers.deadLetterList) },
  },
  {
    method: 'post',
    path: `${pipeline}/dead-letters/replay`,
    summary: 'Process it again',
    query: api.noQuery,
    answers: { 200: json(answers.replayAnswer) },
  },

  {
    method: 'post',
    path: '/v1/topics',
    summary: 'Make a topic',
    query: api.noQuery,
    body: body(api.topicBody),
    answers: { 201: json(answers.topicAnswer) },
  },
  {
    method: 'get',
    path: '/v1/topics',
    summary: 'List topics',
    query: api.listQuery,
    answers: { 200: json(answers.topicList) },
  },
  {
    method: 'get',
    path: topic,
    summary: 'Describe a topic',
    query: api.noQuery,
    answers: { 200: json(answers.topicAnswer) },
  },
  { method: 'delete', path: topic, summary: 'Remove a topic', query: api.noQuery, answers: noBody },
  {
    method: 'post',
    path: `${topic}/records`,
    summary: 'Produce; answered once it is durable',
    body: { [JSON_TYPE]: answers.recordsPost, 'application/x-ndjson': 'ndjson' },
    answers: { 200: json(answers.recordsPosted) },
  },
  {
    method: 'get',
    path: `${topic}/records`,
    summary: 'Read what is committed; with follow as events',
    query: api.readRecordsQuery,
    answers: { 200: json(answers.recordsAnswer) },
  },
  {
    method: 'get',
    path: `${topic}/ws`,
    summary: 'Read over WebSocket',
    query: api.readRecordsQuery,
    answers: { 101: null },
  },

  {
    method: 'post',
    path: '/v1/tenants',
    summary: 'Make a tenant',
    body: body(api.tenantBody),
    answers: { 201: json(answers.tenantAnswer) },
  },
  {
    method: 'get',
    path: '/v1/tenants',
    summary: 'List tenants',
    query: api.listQuery,
    answers: { 200: json(answers.tenantList) },
  },
  {
    method: 'get',
    path: tenant,
    summary: 'Describe a tenant',
    query: api.noQuery,
    answers: { 200: json(answers.tenantAnswer) },
  },
  {
    method: 'delete',
    path: tenant,
    summary: 'Remove a tenant; with force also its pipelines',
    query: api.removeTenantQuery,
    answers: noBody,
  },
  {
    method: 'post',
    path: `${tenant}/tokens`,
    summary: 'Make a token; it is shown once',
    body: body(api.tokenBody),
    answers: { 201: json(answers.tokenAnswer) },
  },
  {
    method: 'get',
    path: `${tenant}/tokens`,
    summary: 'List tokens, without their values',
    query: api.listQuery,
    answers: { 200: json(answers.tokenList) },
  },
  {
    method: 'delete',
    path: `${tenant}/tokens/{token}`,
    summary: 'Revoke a token; streams that it opened end',
    query: api.noQuery,
    answers: noBody,
  },
  {
    method: 'put',
    path: `${tenant}/permissions`,
    summary: 'What its pipelines may touch',
    body: body(api.permissionsBody),
    answers: { 200: json(api.permissionsBody) },
  },
  {
    method: 'put',
    path: `${tenant}/quotas`,
    summary: 'How much it may use',
    body: body(api.quotasBody),
    answers: { 200: json(api.quotasBody) },
  },
  {
    method: 'put',
    path: `${tenant}/secrets/{name}`,
    summary: 'Keep a secret; it never comes back',
    body: body(api.secretBody),
    answers: noBody,
  },
  {
    method: 'get',
    path: `${tenant}/secrets`,
    summary: 'List the names of secrets',
    query: api.listQuery,
    answers: { 200: json(answers.secretList) },
  },
  {
    method: 'delete',
    path: `${tenant}/secrets/{name}`,
    summary: 'Forget a secret',
    query: api.noQuery,
    answers: noBody,
  },
  {
    method: 'get',
    path: '/v1/audit',
    summary: 'Who changed what, when, from where; newest first',
    query: api.listQuery,
    answers: { 200: json(answers.auditList) },
  },

  {
    method: 'post',
    path: '/v1/hosts/hello',
    summary: 'What a host asks first: the manager proves that it knows the shared secret',
    body: body(api.hostHelloBody),
    answers: { 200: json(answers.hostHello) },
  },
  {
    method: 'post',
    path: '/v1/hosts',
    summary: 'Register a host, which proves that it knows the shared secret',
    body: body(api.hostBody),
    answers: { 201: json(answers.hostAnswer) },
  },
  {
    method: 'post',
    path: '/v1/hosts/{id}/heartbeat',
    summary: 'A host is still there; 401 where it must register again',
    body: body(api.heartbeatBody),
    answers: { 200: json(answers.heartbeatAnswer) },
  },
  {
    method: 'get',
    path: '/v1/hosts',
    summary: 'List hosts with resources and load',
    query: api.listQuery,
    answers: { 200: json(answers.hostList) },
  },
  {
    method: 'delete',
    path: '/v1/hosts/{id}',
    summary: 'Remove a host: its pipelines go on elsewhere, from a checkpoint',
    query: api.noQuery,
    answers: noBody,
  },
]
