import type { Artifact, Batch, ModelHost } from '../contract/v2/host.js'
import { isLowbitError, type LowbitError } from '../errors.js'
import type { QuantizeOptions } from '../pipeline/options.js'
import { quantize, type QuantizeResult } from '../pipeline/quantize.js'
import { plannedBytes } from '../plan/plan.js'
import { int4, int8 } from '../weight-scheme.js'
import { distance } from './distance.js'
import { check, type Skipped, type TestRunner } from './runner.js'

/** An artifact that was opened again, by whatever runs it. */
export interface ReopenedModel {
  run(batch: Batch): Promise<Batch>
  /** Ids of the sites that the file holds in float; absent where the file does not say. */
  readonly floatSites?: readonly string[]
  dispose(): Promise<void>
}

export interface ArtifactSuiteOptions {
  readonly runner: TestRunner
  readonly factory: () => Promise<ModelHost>
  readonly batches: readonly Batch[]
  /** Opens an artifact as its user would. */
  readonly reopen: (artifact: Artifact) => Promise<ReopenedModel>
  /** Most that an output of the artifact may differ from `run`, relative to its largest value. Default 0: the same bits. */
  readonly bound?: number
  readonly onSkip?: (skipped: Skipped) => void
}

type Case = Omit<QuantizeOptions, 'format'>

/** What is quantized, and how: each in every format that accepts it. */
function casesOf(host: ModelHost, batches: readonly Batch[]): Readonly<Record<string, Case>> {
  const owners = host.sites().filter((s) => s.tiedTo === undefined)
  const [first] = owners
  const last = owners.at(-1)
  const activations: QuantizeOptions['activations'] = { dtype: 'uint8', method: 'minmax' }
  return {
    'int8 a channel': { weights: int8() },
    'int8 a tensor': { weights: int8({ perTensor: true }) },
    'int4 in groups': { weights: int4({ group: 16 }) },
    'one site in float, one in int4': { weights: int8(), overrides: [{ match: literal(first?.id), weights: null }, ...(last === first ? [] : [{ match: literal(last?.id), weights: int4({ group: 32 }) }])] },
    '16-bit weights': { weights: { ...int8(), dtype: 'int16' } },
    'bias correction': { weights: int8({ perTensor: true }), biasCorrection: true, calibration: batches },
    ...(host.supports.activations
      ? {
          'static activations': { weights: int8(), activations, calibration: batches },
          'static signed activations': { weights: int8(), activations: { ...activations, dtype: 'int8' as const }, calibration: batches },
          'static activations, one site in float': { weights: int8(), activations, calibration: batches, overrides: [{ match: literal(first?.id), weights: null }] },
          'static activations in 16 bits': { weights: int8(), activations: { ...activations, dtype: 'uint16' as const }, calibration: batches },
        }
      : {}),
  }
}

/**
 * What the report says, what `run` computes and what the file holds are one thing: for every format of a host, with overrides, tied
 * weights, float sites, 16 bits, bias correction and static activations.
 */
export function artifactSuite({ runner, factory, batches, reopen, bound = 0, onSkip }: ArtifactSuiteOptions): void {
  runner.describe('artifacts', () => {
    runner.it('compute what the host computes, and hold what the report says', async () => {
      const probe = await factory()
      const cases = casesOf(probe, batches)
      const formats = probe.supports.formats
      await probe.dispose()
      for (const [name, options] of Object.entries(cases)) {
        for (const format of formats) await checkCase(`${format}, ${name}`, { ...options, format })
      }
    })
  })

  async function checkCase(name: string, options: QuantizeOptions): Promise<void> {
    const host = await factory()
    try {
      const quantized = await attempt(host, options)
      if (isLowbitError(quantized)) {
        onSkip?.({ test: `artifact: ${name}`, reason: quantized.message })
        return
      }
      const { artifact, report, plan } = quantized
      check(report.sizeAfter === artifact.size && artifact.size === artifact.bytes().length, `${name}: ${artifact.bytes().length} bytes in the file, ${artifact.size} and ${report.sizeAfter} are told`)
      const kept = report.sites.filter((s) => s.status === 'quantized').reduce((sum, s) => sum + s.bytesAfter, 0)
      check(kept <= artifact.size, `${name}: the weights of the report take ${kept} bytes, the file ${artifact.size}`)
      if (plan !== undefined) {
        const planned = plan.weights.reduce((sum, w) => sum + plannedBytes(w), 0)
        check(kept === planned, `${name}: the weights of the report take ${kept} bytes, those of the plan ${planned}`)
      }
      const reopened = await reopen(artifact)
      try {
        if (reopened.floatSites !== undefined) {
          const told = report.sites.filter((s) => s.status === 'float').map((s) => s.id)
          check(sameSet(told, reopened.floatSites), `${name}: the report leaves [${told.join(', ')}] in float, the file [${reopened.floatSites.join(', ')}]`)
        }
        for (const batch of batches) {
          const moved = distance(await host.run(batch), await reopened.run(batch))
          check(moved <= bound, `${name}: the artifact is ${moved} away from run()`)
        }
      } finally {
        await reopened.dispose()
      }
    } finally {
      await host.dispose()
    }
  }
}

/** A format that has no place for what is asked of it says so; everything else that goes wrong is a fault. */
async function attempt(host: ModelHost, options: QuantizeOptions): Promise<QuantizeResult | LowbitError> {
  try {
    return await quantize(host, options)
  } catch (error) {
    if (isLowbitError(error, 'LOWBIT_ARGUMENT') || isLowbitError(error, 'LOWBIT_NOTHING')) return error
    throw error
  }
}

/** A pattern that matches one id, whatever stands in it. */
function literal(id = ''): string {
  return `/^${id.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')}$/`
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((x) => b.includes(x))
}
