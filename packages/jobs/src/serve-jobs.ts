import { fastLinAlg, type LinAlg, type PluginTable } from '@lowbit/core'
import { algorithmTable, remake } from './algorithm-table.js'
import { failureOf } from './failure.js'
import { isMessage, type JobAnswer, type JobMessage, type StopMessage } from './messages.js'
import { endpointOf, type Port } from './port.js'

export interface ServeJobsOptions {
  /** Package name → factory: the algorithms this worker knows beside core's own. */
  readonly algorithms?: PluginTable
  /** Linear algebra beside core's own. A job is done with the one it names, or not here. */
  readonly linalg?: LinAlg
  /** Default: the scope of this worker (`self`). In Node: `parentPort` of `node:worker_threads`. */
  readonly port?: Port
}

/** Makes a worker round sites for {@link workerRunner}. Call it once, in the worker's own module. */
export function serveJobs({ algorithms, linalg, port = globalThis as object as Port }: ServeJobsOptions): void {
  const table = algorithmTable(algorithms)
  const endpoint = endpointOf(port)
  const running = new Map<number, AbortController>()
  const answer = async ({ id, algorithm, linalg: wanted, job }: JobMessage): Promise<JobAnswer> => {
    const plugin = remake(algorithm, table)
    const own = [linalg, fastLinAlg].find((l) => l?.name === wanted)
    if (plugin === undefined || own === undefined) return { type: 'answer', id, unknown: true }
    const controller = new AbortController()
    running.set(id, controller)
    try {
      return { type: 'answer', id, result: await plugin.round({ ...job, linalg: own, signal: controller.signal }) }
    } catch (error) {
      return { type: 'answer', id, failure: failureOf(error) }
    } finally {
      running.delete(id)
    }
  }
  endpoint.listen((message) => {
    if (isMessage(message, 'stop')) running.get((message as StopMessage).id)?.abort()
    if (isMessage(message, 'job')) void answer(message as JobMessage).then((done) => endpoint.post(done))
  })
}
