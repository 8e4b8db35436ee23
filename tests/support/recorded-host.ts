// A real host in this process, whose manager-facing calls are written down; a test can have it refuse a plan.

import { createHostApp } from '../../host/http/app.ts'
import { Permissions } from '../../host/permissions/permissions.ts'
import { Host } from '../../host/pipeline/host.ts'
import type { Plan } from '../../schemas/plan.ts'

export class RecordedHost {
  /** `METHOD path` of every request. */
  readonly asked: string[] = []
  /** The last plan that was sent, by pipeline. */
  readonly plans = new Map<string, Plan>()
  /** Answers a plan in place of the host; undefined: the host does. */
  refuse: (plan: Plan) => Response | undefined = () => undefined
  readonly #host: Host
  readonly #app: ReturnType<typeof createHostApp>

  static async start(dataDir: string): Promise<RecordedHost> {
    return new RecordedHost(await Host.start({ dataDir, permissions: Permissions.parse([]), computeWorkers: 1 }))
  }

  private constructor(host: Host) {
    this.#host = host
    this.#app = createHostApp(host)
  }

  fetch = async (request: Request): Promise<Response> => {
    const { pathname, search } = new URL(request.url)
    this.asked.push(`${request.method} ${pathname}${search}`)
    if (request.method === 'PUT' && pathname.startsWith('/pipelines/')) {
      const plan = (await request.clone().json()) as Plan
      this.plans.set(plan.id, plan)
      const refused = this.refuse(plan)
      if (refused) return refused
    }
    return this.#app.fetch(request)
  }

  stop(): Promise<void> {
    return this.#host.stop()
  }
}

export function problem(status: number, code: string, detail: string): Response {
  const headers = { 'content-type': 'application/problem+json' }
  return Response.json({ type: 'about:blank', title: code, status, code, detail }, { status, headers })
}
