import type { TransformAlgorithm, TransformJob } from '../contract/v2/algorithm.js'
import type { FoldGroup, ModelHost } from '../contract/v2/host.js'
import { isLowbitError } from '../errors.js'
import { referenceLinAlg } from '../linalg/reference.js'
import { collect } from '../pipeline/collect.js'
import { quantize } from '../pipeline/quantize.js'
import { checkPlugin } from '../plugin.js'
import { describeScheme, type Scheme } from '../scheme.js'
import type { HostTensor } from '../tensor.js'
import { check, type TestRunner } from './runner.js'
import { toyBatches } from './toy-data.js'
import { toyHost } from './toy-host.js'

export interface TransformSuiteOptions {
  readonly runner: TestRunner
  readonly factory: () => TransformAlgorithm
  /** Every scheme the algorithm is made for. */
  readonly schemes: readonly Scheme[]
  /** True for an algorithm that only ever clips weights or changes the function in other ways. */
  readonly changesFunction?: boolean
}

/** What every transform algorithm must do, on the toy model. Run it with your test runner. */
export function transformSuite({ runner, factory, schemes, changesFunction = false }: TransformSuiteOptions): void {
  runner.describe(`transform algorithm ${factory().name}`, () => {
    runner.it('is a plugin whose configuration is JSON', () => {
      const plugin = checkPlugin(factory(), 'transform')
      check(JSON.stringify(JSON.parse(JSON.stringify(plugin.config))) === JSON.stringify(plugin.config), 'config does not survive JSON')
    })

    for (const scheme of schemes) {
      runner.describe(describeScheme(scheme), () => {
        runner.it('plans the same twice, leaves its job alone, and says why it skips', async () => {
          const host = toyHost()
          for (const group of host.foldGroups()) {
            const job = await jobOf(host, group, factory(), scheme)
            const before = JSON.stringify(snapshot(job))
            const a = await factory().plan(job)
            const b = await factory().plan(job)
            check(JSON.stringify(a) === JSON.stringify(b), `${group.id}: two plans of one job differ`)
            check(JSON.stringify(snapshot(job)) === before, `${group.id}: the job was changed`)
            check(a.transforms.length > 0 || a.skip !== undefined, `${group.id}: nothing to do, and no reason`)
          }
        })

        if (!changesFunction) {
          runner.it('does not change what the model computes', async () => {
            const host = toyHost()
            const batches = toyBatches()
            const before = await host.run(batches[0])
            for (const group of host.foldGroups()) {
              for (const transform of (await factory().plan(await jobOf(host, group, factory(), scheme))).transforms) {
                if (transform.kind === 'clip') continue
                await host.apply(group.id, transform)
              }
              const after = await host.run(batches[0])
              for (const [name, x] of Object.entries(before)) {
                const values = numbers(x)
                const largest = Math.max(...values.map(Math.abs))
                const now = numbers(after[name])
                const moved = Math.max(...values.map((v, i) => Math.abs(v - now[i])))
                check(moved <= 1e-4 * largest, `${group.id}: ${name} moves by ${moved} of ${largest}`)
              }
            }
          })
        }

        runner.it('runs in the pipeline', async () => {
          const { report } = await quantize(toyHost(), { weights: scheme, transforms: [factory()], calibration: toyBatches() })
          check(report.transforms.length > 0, 'no transform in the report')
          check(report.sites.every((s) => s.status === 'quantized'), 'a site stayed in float')
        })
      })
    }

    runner.it('says so when a statistic it needs is missing', async () => {
      const host = toyHost()
      if (factory().needs(schemes[0]).length === 0) return
      const job = await jobOf(host, host.foldGroups()[0], factory(), schemes[0])
      const error = await factory().plan({ ...job, statistics: {} }).then(() => undefined, (e: unknown) => e)
      check(isLowbitError(error, 'LOWBIT_CALIBRATION'), `a job without statistics gives ${String(error)}`)
    })

    runner.it('stops when asked to', async () => {
      const host = toyHost()
      const stop = new AbortController()
      stop.abort()
      const job = await jobOf(host, host.foldGroups()[0], factory(), schemes[0])
      const error = await factory().plan({ ...job, signal: stop.signal }).then(() => undefined, (e: unknown) => e)
      check(isLowbitError(error, 'LOWBIT_ABORTED'), `an aborted job gives ${String(error)}`)
    })
  })
}

async function jobOf(host: ModelHost, group: FoldGroup, algorithm: TransformAlgorithm, scheme: Scheme): Promise<TransformJob> {
  const members = host.sites().filter((s) => group.sites.includes(s.id))
  const [statistics] = await collect(host, [{ site: members[0], needs: algorithm.needs(scheme) }], toyBatches(), {})
  const sites = []
  for (const { id, kind, weight } of members) sites.push({ id, kind, weight, tensor: await host.readWeight(id), scheme })
  return { group, sites, statistics, linalg: referenceLinAlg, seed: 1 }
}

function snapshot(job: TransformJob): unknown {
  return [job.sites.map((s) => Array.from(s.tensor.data)), Object.entries(job.statistics).map(([name, value]) => [name, JSON.stringify(value)])]
}

function numbers({ data }: HostTensor): number[] {
  return Array.from({ length: data.length }, (_, i) => Number(data[i]))
}
