import type { ModelHost } from '../contract/host.js'
import type { ActivationReport } from '../report/report.js'
import type { StageContext } from './context.js'

/** Gives the few activations that ruin the model back to float, and says so in their lines of the report. */
export async function rescueStage(host: ModelHost, activations: readonly ActivationReport[], context: StageContext): Promise<readonly ActivationReport[]> {
  if (host.rescue === undefined || context.calibration === undefined || !activations.some((a) => a.status === 'quantized')) return activations
  const { signal, onProgress } = context
  const { rescued, before, after } = await host.rescue(context.calibration, { onProgress, ...(signal === undefined ? {} : { signal }) })
  const reasons = new Map(rescued.flatMap(({ points, share }) => points.map((point) => [point, `rescued: it made ${(100 * share).toFixed(0)} % of the output noise`] as const)))
  for (const { group } of rescued) context.warnings.push(`activation '${group}' stays in float: its rounding ruins the model`)
  if (rescued.length > 0) context.warnings.push(`output signal over noise, in calibration: ${before.toFixed(1)} dB before the rescue, ${after.toFixed(1)} dB after it`)
  return activations.map((activation): ActivationReport => {
    const reason = reasons.get(activation.id)
    return reason === undefined ? activation : { id: activation.id, status: 'float', reason }
  })
}
