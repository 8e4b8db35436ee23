// route: each route has a port of its own, numbered as the routes are; the last port is `unmatched`.

import { Change, Emitter, Operator, Record, register, Settings } from 'spqr'
import { Paths } from 'spqr/json/paths'
import { Condition, conditionOf } from '../conditions/condition.ts'

const ROUTES_MAX: i32 = 63

class Route extends Operator {
  private paths: Paths = new Paths()
  private routes: Condition[] = []
  private toAll: bool = false

  configure(settings: Settings): Change {
    const list = settings.get('routes')
    if (!list.isArray || list.length == 0) throw new Error('routes is a list of {port, where}, at least one')
    if (list.length > ROUTES_MAX) throw new Error('routes may be ' + ROUTES_MAX.toString() + ' at most')
    const paths = new Paths()
    const routes: Condition[] = []
    for (let i = 0; i < list.length; i++) routes.push(conditionOf(list.at(i).get('where'), paths))
    for (let i = 0; i < this.routes.length; i++) this.routes[i].free()
    this.paths.free()
    this.paths = paths
    this.routes = routes
    this.toAll = settings.str('match', 'first') == 'all'
    return Change.Keep
  }

  // hot
  process(record: Record, out: Emitter): void {
    const at = record.valuePointer
    if (!this.paths.read(at, at + record.valueBytes)) {
      record.reject('the value is not JSON')
      return
    }
    const count = this.routes.length
    let matched = false
    for (let i = 0; i < count; i++) {
      if (!unchecked(this.routes[i]).holds(this.paths)) continue
      matched = true
      out.emitTo(i, record)
      if (!this.toAll) return
    }
    if (!matched) out.emitTo(count, record)
  }
}

register(new Route())
