import type { Batch, ModelHost, Site } from '../contract/v2/host.js'
import type { StatisticName } from '../contract/v2/statistics.js'
import { isLowbitError, type ErrorCode } from '../errors.js'
import { quantize } from '../pipeline/quantize.js'
import type { QTensor } from '../qtensor.js'
import { dequantize } from '../reference/dequantize.js'
import { rtn } from '../rounding/rtn.js'
import { referenceLinAlg } from '../linalg/reference.js'
import type { Scheme } from '../scheme.js'
import { int8 } from '../weight-scheme.js'
import { tensor, type HostTensor } from '../tensor.js'
import { SCHEMES } from './artifact-cases.js'
import { artifactSuite, type ArtifactSuiteOptions } from './artifacts.js'
import { distance, sameShape } from './distance.js'
import { check, type Skipped, type TestRunner } from './runner.js'
import { closeStatistic } from './statistic-checks.js'

export interface HostSuiteOptions {
  readonly runner: TestRunner
  /** A freshly opened model with at least one linear site. */
  readonly factory: () => Promise<ModelHost>
  /** Two or more batches for it. */
  readonly batches: readonly Batch[]
  /** Opens what `emit` wrote. Without it nothing is known of artifacts but that they are not empty. */
  readonly reopen?: ArtifactSuiteOptions['reopen']
  /** Most that an output of a reopened artifact may differ from `run`. Default 0: the same bits. */
  readonly bound?: number
  /** Which of the cases of artifacts are tried, by their place in the list. Default: all. */
  readonly cases?: ArtifactSuiteOptions['cases']
  /** Told what the manifest excuses, and why. */
  readonly onSkip?: (skipped: Skipped) => void
}

/**
 * What every backend must do: run it with your test runner. It skips what `supports` excuses and nothing else.
 */
export function hostSuite(options: HostSuiteOptions): void {
  const { runner, factory, batches } = options
  const test = (name: string, body: (host: ModelHost) => Promise<void>): void => {
    runner.it(name, async () => {
      const host = await factory()
      try {
        await body(host)
      } finally {
        await host.dispose()
      }
    })
  }
  const first = batches[0]
  const { reopen, bound, cases, onSkip } = options
  if (reopen === undefined) onSkip?.({ test: 'artifacts', reason: 'the suite was given no way to reopen one' })
  else artifactSuite({ runner, factory, batches, reopen, ...(bound === undefined ? {} : { bound }), ...(cases === undefined ? {} : { cases }), ...(onSkip === undefined ? {} : { onSkip }) })

  runner.describe('model host', () => {
    test('names its sites once and shows finite [N, K] weights', async (host) => {
      check(host.sites().length > 0, 'the model of a host suite needs at least one site')
      const ids = host.sites().map((s) => s.id)
      check(new Set(ids).size === ids.length, `site ids repeat: ${ids.join(', ')}`)
      for (const site of host.sites()) {
        const weight = await host.readWeight(site.id)
        check(sameShape(weight.shape, [site.weight.rows, site.weight.columns]), `${site.id}: weight [${weight.shape.join(', ')}] is not [${site.weight.rows}, ${site.weight.columns}]`)
        check(weight.data.every(Number.isFinite), `${site.id}: weight is not finite`)
        check(site.weight.rows % site.weight.groups === 0, `${site.id}: ${site.weight.groups} groups do not divide ${site.weight.rows} rows`)
        weight.data.fill(0)
        check((await host.readWeight(site.id)).data.some((v) => v !== 0), `${site.id}: readWeight hands out its own memory, or all weights are 0`)
      }
    })

    test('has the abilities it names, and no others', async (host) => {
      const named = [...host.supports.capabilities].sort()
      const there = Object.entries(host.capabilities).filter(([, ability]) => ability !== undefined).map(([name]) => name).sort()
      check(named.join() === there.join(), `supports.capabilities names [${named.join(', ')}], capabilities has [${there.join(', ')}]`)
      check(host.supports.activations || host.activations().length === 0, 'shows activations, which supports.activations denies')
    })

    test('answers what outputs would be under other decisions as it does when they are made', async (host) => {
      const own = host.capabilities.outputsUnder
      if (own === undefined) {
        options.onSkip?.({ test: 'outputsUnder', reason: 'supports.capabilities leaves it out' })
        return
      }
      const format = host.supports.formats.find((f) => owners(host).some((s) => host.accepts(s.id, int8(), f).ok))
      const [a, b] = owners(host).filter((s) => format !== undefined && host.accepts(s.id, int8(), format).ok)
      if (a === undefined) return
      const q = await rounded(host, a, int8())
      const float = await host.run(first)
      host.assign(a.id, q)
      const decided = await host.run(first)
      const sets = [{}, { weights: new Map([[a.id, null]]) }, ...(b === undefined ? [] : [{ weights: new Map([[a.id, null], [b.id, await rounded(host, b, int8())]]) }])]
      const seen = sets.map((): Batch[] => [])
      await own.run(sets, batches, (set, batch, outputs) => {
        check(batch === seen[set].length, `set ${set}: batch ${batch} where ${seen[set].length} was due`)
        seen[set].push(outputs)
        return set !== 1
      })
      check(seen.every((outputs, set) => outputs.length === (set === 1 ? 1 : batches.length)), `saw ${seen.map((outputs) => outputs.length).join(', ')} batches a set`)
      const near = Math.max(1e-3, host.supports.tolerance.relative)
      check(distance(decided, seen[0][0]) <= near, 'outputs under no other decision are not those of a run')
      check(distance(float, seen[1][0]) <= near, 'outputs under a weight in float are not those without the decision')
      check(distance(decided, await host.run(first)) === 0, 'asking changed what was decided')
    })

    test('runs, and gives the same twice', async (host) => {
      const a = await host.run(first)
      const b = await host.run(first)
      const c = await host.run(first, { model: 'original' })
      check(Object.keys(a).length > 0, 'a run gives no output')
      check(distance(a, b) === 0, 'two runs on one batch differ')
      check(distance(a, c) <= host.supports.tolerance.relative, 'an untouched model differs from the original')
    })

    test('computes with the assigned codes, and takes a decision back', async (host) => {
      const before = await host.run(first)
      for (const site of owners(host)) {
        const q = await rounded(host, site, int8())
        host.assign(site.id, q)
        const assigned = await host.run(first)
        check(distance(before, assigned) > 0, `${site.id}: assigning int8 codes changes nothing`)
        check(distance(before, assigned) < 0.5, `${site.id}: int8 codes move the output by ${distance(before, assigned)}`)
        host.assign(site.id, null)
        check(distance(before, await host.run(first)) <= host.supports.tolerance.relative, `${site.id}: assign(null) does not restore the model`)
        await host.writeWeight(site.id, dequantize(q))
        check(distance(assigned, await host.run(first)) <= host.supports.tolerance.relative, `${site.id}: assigned codes and their dequantized weights compute different outputs`)
        await host.writeWeight(site.id, await originalWeight(factory, site))
      }
    })

    test('adds to a bias, and takes it away', async (host) => {
      for (const site of owners(host).filter((s) => s.kind !== 'embedding' && s.kind !== 'stored')) {
        const before = await host.run(first)
        await host.addBias(site.id, new Float32Array(site.weight.rows).fill(0.25))
        check(distance(before, await host.run(first)) > 0, `${site.id}: addBias changes nothing`)
        await host.addBias(site.id, new Float32Array(site.weight.rows).fill(-0.25))
        check(distance(before, await host.run(first)) <= 1e-4, `${site.id}: adding and subtracting a bias does not cancel`)
      }
    })

    test('computes the same after a scale or rotation', async (host) => {
      for (const kind of ['scale', 'rotate'] as const) {
        if (!host.supports.transforms.includes(kind)) {
          options.onSkip?.({ test: `transform ${kind}`, reason: 'supports.transforms leaves it out' })
          continue
        }
        for (const group of host.foldGroups()) {
          if (kind === 'rotate' && (group.channels & (group.channels - 1)) !== 0) continue
          const before = await host.run(first)
          const result = await host.apply(
            group.id,
            kind === 'scale'
              ? { kind, scales: Float32Array.from({ length: group.channels }, (_, i) => 0.5 + ((i * 7) % 11) / 8) }
              : { kind, order: group.channels, signs: Int8Array.from({ length: group.channels }, (_, i) => ((i * 5) % 3 === 0 ? -1 : 1)) },
          )
          check(result.how !== 'refused' || result.reason !== undefined, `${group.id}: refuses ${kind} without a reason`)
          const moved = distance(before, await host.run(first))
          check(moved <= Math.max(1e-4, host.supports.tolerance.relative), `${group.id}: ${kind} ${result.how} changes the function by ${moved}`)
        }
      }
    })

    test('turns a residual stream without changing what it computes, or says why not', async (host) => {
      const [first] = batches
      const { residual } = host.capabilities
      if (residual === undefined) {
        options.onSkip?.({ test: 'residual streams', reason: 'supports.capabilities leaves out residual' })
        return
      }
      for (const stream of await residual.streams()) {
        const ids = new Set(host.sites().map((s) => s.id))
        check([...stream.readers.map((r) => r.site), ...stream.writers].every((id) => ids.has(id)), `${stream.id} names a site that is not there`)
        if ((stream.channels & (stream.channels - 1)) !== 0) continue
        const before = await host.run(first)
        const result = await residual.rotate(stream.id, { kind: 'rotate', order: stream.channels, signs: Int8Array.from({ length: stream.channels }, (_, i) => ((i * 5) % 3 === 0 ? -1 : 1)) })
        check(result.how !== 'inserted', `${stream.id}: a stream is turned without an operator, or not at all`)
        check((result.how === 'refused') === (stream.reason !== undefined), `${stream.id}: ${result.how}, though the reason against it is ${stream.reason ?? 'none'}`)
        const moved = distance(before, await host.run(first))
        check(moved <= Math.max(1e-4, host.supports.tolerance.relative), `${stream.id}: turning it changes the function by ${moved}`)
      }
    })

    test('gives statistics that agree with the activations themselves', async (host) => {
      if (!host.supports.statistics.includes('samples')) {
        options.onSkip?.({ test: 'statistics', reason: 'supports.statistics leaves out samples, which the others are checked by' })
        return
      }
      const names = host.supports.statistics.filter((s): s is StatisticName => s !== 'samples' && s !== 'cross-gram' && s !== 'histogram')
      for (const site of owners(host).filter((s) => s.kind !== 'embedding' && s.kind !== 'stored')) {
        const target = { site: site.id }
        const samples = { statistic: 'samples', target, options: { rows: 1e6 } } as const
        const requests = names.map((statistic) => ({ statistic, target }))
        const statistics = await host.observe([samples, ...requests], batches)
        const rows = statistics.get(samples)
        check(rows !== undefined, `${site.id}: no samples`)
        for (const request of requests) {
          const value = statistics.get(request)
          check(value !== undefined, `${site.id}: ${request.statistic} is in supports.statistics and was not given`)
          closeStatistic(request.statistic, value, rows, site)
        }
      }
    })

    test('accepts what it offers instead of what it refuses', async (host) => {
      for (const format of host.supports.formats) {
        for (const site of host.sites()) {
          for (const [name, scheme] of SCHEMES) {
            const answer = host.accepts(site.id, scheme, format)
            if (answer.ok) continue
            check(answer.reason !== '', `${format}: ${site.id} refuses ${name} without a reason`)
            check(answer.instead === undefined || host.accepts(site.id, answer.instead, format).ok, `${format}: ${site.id} refuses ${name}, and what it offers instead, ${JSON.stringify(answer.instead)}`)
          }
        }
      }
    })

    test('emits every format it names', async (host) => {
      for (const format of host.supports.formats) {
        const site = owners(host).find((s) => host.accepts(s.id, int8(), format).ok)
        if (site === undefined) {
          options.onSkip?.({ test: `emit ${format}`, reason: 'accepts no int8 per channel' })
          continue
        }
        host.assign(site.id, await rounded(host, site, int8()))
        const artifact = await host.emit(format, { provenance: { recipe: { probe: true } } })
        check(artifact.bytes().length > 0, `${format}: an empty artifact`)
        host.assign(site.id, null)
      }
    })

    test('is quantized end to end', async (host) => {
      const format = host.supports.formats.find((f) => owners(host).some((s) => host.accepts(s.id, int8(), f).ok))
      if (format === undefined) {
        options.onSkip?.({ test: 'end to end', reason: 'no format accepts int8 per channel' })
        return
      }
      const before = await host.run(first)
      const { report } = await quantize(host, { format, weights: int8() })
      check(report.sites.some((s) => s.status === 'quantized'), 'quantize() left every site in float')
      check(distance(before, await host.run(first)) < 0.5, 'int8 weights ruin the model')
    })

    test('refuses what cannot be', async (host) => {
      await refuses(() => host.readWeight('no such site'), 'LOWBIT_NOT_FOUND', 'readWeight of an unknown site')
      await refuses(() => host.run({}), 'LOWBIT_DATA', 'a run without inputs')
      const stop = new AbortController()
      stop.abort()
      const request = { statistic: host.supports.statistics[0], target: { site: owners(host)[0].id } }
      if (host.supports.statistics.length > 0) {
        await refuses(() => host.observe([request], batches, { signal: stop.signal }), 'LOWBIT_ABORTED', 'an aborted observe')
      }
      const owner = owners(host)[0]
      await refuses(() => host.writeWeight(owner.id, { dtype: 'float32', shape: [1, 1], data: new Float32Array(1) }), 'LOWBIT_SHAPE', 'a weight of another shape')
      await refuses(() => host.addBias(owner.id, new Float32Array(owner.weight.rows + 1)), 'LOWBIT_SHAPE', 'a bias of another length')
      await refuses(async () => host.assign(owner.id, { ...(await rounded(host, owner, int8())), shape: [1, 1] }), 'LOWBIT_SHAPE', 'codes of another shape')
      await refuses(async () => host.assignActivation('no such tensor', { dtype: 'uint8', scale: 1, zeroPoint: 0 }), host.supports.activations ? 'LOWBIT_NOT_FOUND' : undefined, 'a decision about a tensor that is not there')
      await refuses(() => host.apply('no such group', { kind: 'scale', scales: new Float32Array(1) }), 'LOWBIT_NOT_FOUND', 'a transform of an unknown group')
      await refuses(async () => host.emit('no such format'), 'LOWBIT_UNSUPPORTED', 'an unknown format')
      await host.dispose()
      await refuses(() => host.run(first), 'LOWBIT_DISPOSED', 'a run after dispose')
    })
  })
}

function owners(host: ModelHost): readonly Site[] {
  return host.sites().filter((s) => s.tiedTo === undefined)
}

async function rounded(host: ModelHost, site: Site, scheme: Scheme): Promise<QTensor> {
  const weight = await host.readWeight(site.id)
  return (await rtn().round({ site, weight, scheme, statistics: {}, linalg: referenceLinAlg, seed: 0 })).q
}

async function originalWeight(factory: () => Promise<ModelHost>, site: Site): Promise<HostTensor<'float32'>> {
  const host = await factory()
  const weight = await host.readWeight(site.id)
  await host.dispose()
  return tensor('float32', weight.shape, weight.data.slice())
}

async function refuses(work: () => Promise<unknown>, code: ErrorCode | undefined, what: string): Promise<void> {
  let thrown: unknown
  try {
    await work()
  } catch (error) {
    thrown = error
  }
  check(thrown !== undefined, `${what} is accepted`)
  check(isLowbitError(thrown, code), `${what} throws ${String(thrown)}, not a LowbitError${code === undefined ? '' : ` ${code}`}`)
}
