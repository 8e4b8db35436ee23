// What flows in and out of a pipeline over HTTP: ingest, taps, outputs, events.
// Runs on: control; bodies go to the bridge worker as they are.

import type { Hono } from 'hono'
import { SpqrError } from '../../schemas/errors.ts'
import { formOf } from '../../schemas/reader-form.ts'
import type { Host } from '../pipeline/host.ts'
import type { PipelineControl } from '../pipeline/pipeline-control.ts'
import { RecordRun, tappedRecordJson } from '../record/json-records.ts'
import { type EventWriter, eventStream, eventText } from './event-stream.ts'

export function streamRoutes(app: Hono, host: Host): void {
  app.post('/pipelines/:tenant/:id/ingest/:source', async (c) => {
    const pipeline = running(host, c.req.param('tenant'), c.req.param('id'))
    const body = new Uint8Array(await c.req.arrayBuffer())
    const contentType = c.req.header('content-type') ?? ''
    return c.json(await host.records.ingest(pipeline, c.req.param('source'), contentType, body), 202)
  })

  app.get('/pipelines/:tenant/:id/tap/:component', (c) => {
    const pipeline = host.pipeline(c.req.param('tenant'), c.req.param('id'))
    const component = c.req.param('component')
    const port = host.portOf(pipeline, component, c.req.query('port'))
    const every = Number(c.req.query('every') ?? 1)
    let left = Number(c.req.query('limit') ?? Number.POSITIVE_INFINITY)
    let reading: { ready(): void; stop(): void } | undefined
    return eventStream(
      (writer) => {
        const onFrames = (frames: Uint8Array, skipped: number): void => {
          // One piece of the stream for all: pieces cost this thread more than what is in them.
          let text = skipped > 0 ? eventText(JSON.stringify({ skipped }), { event: 'gap' }) : ''
          const run = new RecordRun(frames)
          for (let at = 0; at < frames.length && left > 0; at = run.next(at), left--) {
            text += eventText(tappedRecordJson(run, at))
          }
          const keepsUp = writer.push(text)
          if (left <= 0) writer.close()
          else if (keepsUp) reading?.ready()
        }
        reading = host.readers.tap(pipeline, component, port, every, onFrames, () => writer.close())
        return () => reading?.stop()
      },
      () => reading?.ready(),
    )
  })

  app.get('/pipelines/:tenant/:id/out/:component', (c) => {
    const pipeline = running(host, c.req.param('tenant'), c.req.param('id'))
    const form = formOf(c.req.header('accept'))
    let keepsUp = true
    // A browser that has had no event yet says nothing.
    const lastEventId = c.req.header('last-event-id') || undefined
    let reading: { ready(): void; stop(): void } | undefined
    const begin = async (writer: EventWriter): Promise<() => void> => {
      reading = await host.readers.read(pipeline, c.req.param('component'), {
        form,
        lastEventId,
        onPiece: (piece) => {
          keepsUp = writer.push(piece)
          return keepsUp
        },
        onEnd: () => writer.close(),
      })
      return () => reading?.stop()
    }
    // Said once: the stream asks for more after each piece.
    const onReady = (): void => {
      if (keepsUp) return
      keepsUp = true
      reading?.ready()
    }
    return eventStream(begin, onReady, form)
  })

  app.get('/pipelines/:tenant/:id/events', (c) => {
    const { tenant, id } = c.req.param()
    host.pipeline(tenant, id)
    return eventStream((writer) =>
      host.events.watch(
        tenant,
        id,
        (event) => writer.push(eventText(JSON.stringify(event), { event: event.kind })),
        () => writer.close(),
      ),
    )
  })

  app.get('/events', () =>
    eventStream((writer) => host.events.watchStates((event) => writer.push(eventText(JSON.stringify(event))))),
  )

  app.all('/pipelines/*', () => {
    throw new SpqrError('METHOD_NOT_ALLOWED', 'There is no such call on a pipeline.')
  })
}

/** @throws SpqrError NOT_FOUND; INVALID_STATE where nothing goes in or out */
function running(host: Host, tenant: string, id: string): PipelineControl {
  const pipeline = host.pipeline(tenant, id)
  if (pipeline.isLive) return pipeline
  const verb = pipeline.state === 'completed' ? 'restart' : 'resume'
  throw new SpqrError('INVALID_STATE', `The pipeline "${id}" is ${pipeline.state}; ${verb} it first.`)
}
