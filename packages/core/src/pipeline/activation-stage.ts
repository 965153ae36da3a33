import type { ActivationParams, ModelHost } from '../contract/host.js'
import type { StatisticRequest } from '../contract/statistics.js'
import { LowbitError } from '../errors.js'
import { activationParams } from '../observer/activation-params.js'
import type { ActivationReport } from '../report/report.js'
import type { StageContext } from './context.js'
import { nameMatcher } from './match.js'
import type { QuantizeOptions, StaticActivations } from './options.js'

/** Fine enough that a bin is a small part of an 8-bit step: with 2048 the error found is mostly that of the bins. */
const DEFAULT_BINS = 8192

/**
 * Finds scale and zero point of every static activation from calibration data. Points of one group share the range of
 * the first that was observed with the widest limits.
 */
export async function activationStage(host: ModelHost, wanted: StaticActivations, options: QuantizeOptions, context: StageContext): Promise<readonly ActivationReport[]> {
  const points = host.activations()
  if (context.calibration === undefined) {
    throw new LowbitError('LOWBIT_CALIBRATION', { thing: 'static activations', found: 'no calibration data', fix: 'pass `calibration`, a few dozen typical inputs, or use the `dynamic` format' })
  }
  const method = wanted.method ?? 'mse'
  const statistic = method === 'minmax' ? 'range' : 'histogram'
  const requests = new Map<string, StatisticRequest<'range'> | StatisticRequest<'histogram'>>()
  for (const { id } of points) {
    requests.set(id, statistic === 'range' ? { statistic, target: { tensor: id } } : { statistic, target: { tensor: id }, options: { bins: wanted.bins ?? DEFAULT_BINS } })
  }
  const statistics = await host.observe([...requests.values()], context.calibration, context.observe)
  const overrides = (options.overrides ?? []).filter((o) => o.activation !== undefined).map((o) => ({ ...o, test: nameMatcher(o.match) }))

  const shared = new Map<string, { params: ActivationParams; min: number; max: number }>()
  for (const { id, group } of points) {
    const request = requests.get(id)
    const seen = request?.statistic === 'range' ? statistics.get(request) : request === undefined ? undefined : statistics.get(request)
    if (seen === undefined) continue
    const limits = 'low' in seen ? { min: seen.min, max: seen.max } : { min: seen.min[0], max: seen.max[0] }
    const before = shared.get(group)
    if (before !== undefined && before.max - before.min >= limits.max - limits.min) continue
    shared.set(group, { params: activationParams(seen, { ...wanted, method }), ...limits })
  }
  return points.map(({ id, group }): ActivationReport => {
    const override = overrides.findLast((o) => o.test(id))
    const found = shared.get(group)
    const params = override?.activation === undefined ? found?.params ?? null : override.activation
    host.assignActivation(id, params)
    if (params === null) return { id, status: 'float', reason: override === undefined ? 'never computed during calibration' : 'override' }
    return { id, status: 'quantized', ...params, ...(found === undefined ? {} : { min: found.min, max: found.max }) }
  })
}
