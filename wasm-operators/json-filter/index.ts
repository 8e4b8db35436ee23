// json-filter: `where` decides; records leave unchanged, by `out` or by `rejected`. What is not JSON is rejected to the
// dead letters, whatever the conditions are.

import { Change, Emitter, Operator, Record, register, Settings } from 'spqr'
import { Paths } from 'spqr/json/paths'
import { Condition, conditionOf } from '../conditions/condition.ts'

const OUT: u32 = 0
const REJECTED: u32 = 1

class JsonFilter extends Operator {
  private paths: Paths = new Paths()
  private where: Condition | null = null

  configure(settings: Settings): Change {
    const paths = new Paths()
    const where = conditionOf(settings.get('where'), paths)
    if (this.where) this.where!.free()
    this.paths.free()
    this.paths = paths
    this.where = where
    return Change.Keep
  }

  // hot
  process(record: Record, out: Emitter): void {
    const at = record.valuePointer
    if (!this.paths.read(at, at + record.valueBytes)) {
      record.reject('the value is not JSON')
      return
    }
    out.emitTo(this.where!.holds(this.paths) ? OUT : REJECTED, record)
  }
}

register(new JsonFilter())
