import { openOnnx } from '@lowbit/backend-ort'
import { int8, quantize } from '@lowbit/core'
import { magika, mnist, ocr, squeezenet, stories, type BenchModel, type Run, type Scores } from '../models/index.ts'
import type { EvidenceModule } from './types.ts'

interface Row {
  readonly model: BenchModel
  readonly show: (scores: Scores) => string
  /** What the Python tools give, and what is to be reached. */
  readonly python: string
  readonly target: string
}

const percent = (share: number, digits = 1): string => `${(100 * share).toFixed(digits)} %`
const agreement = (s: Scores): string => `${percent(s.agreement)} agreement, ${s.decibels.toFixed(1)} dB`

/** Static int8 with default settings, on every model at hand. */
export const staticInt8: EvidenceModule = {
  name: 'static',
  async run(log) {
    const rows: readonly Row[] = [
      { model: squeezenet(), show: agreement, python: '90.8 %, 29.7 dB with reduced range; 75.6 %, 17.2 dB without', target: '≥ 94 %, ≥ 31 dB, size ≤ 27 %' },
      { model: await ocr(), show: (s) => `${percent(s.errorRate, 2)} of characters wrong`, python: 'per channel does not load; per tensor 100 %', target: '≤ 0.5 %, size ≤ 30 %' },
      { model: magika(), show: agreement, python: '44 % with all operators', target: '≥ 99 %, size ≤ 29 %' },
      { model: mnist(), show: agreement, python: 'per channel raises; 99.7 %', target: '≥ 99.7 %' },
      { model: stories(), show: (s) => `perplexity ${s.perplexity.toFixed(3)}`, python: '3.942', target: '≤ 3.86' },
    ]
    const cells: (string | number)[][] = []
    for (const { model, show, python, target } of rows) {
      const float = await openOnnx(model.path)
      const host = await openOnnx(model.path, { prepare: true })
      const { artifact, report } = await quantize(host, { format: 'qdq', weights: int8(), activations: { dtype: 'uint8' }, calibration: await model.calibration() })
      await host.dispose()
      const quantized = await openOnnx(artifact.bytes())
      const runFloat: Run = (batch) => float.run(batch)
      const result = show(await model.evaluate(runFloat, (batch) => quantized.run(batch)))
      const kept = report.activations.filter((a) => a.reason?.startsWith('rescued') ?? false).length
      cells.push([model.name, percent(artifact.size / float.size()), result, kept, python, target])
      log(`${model.name}: ${percent(artifact.size / float.size())} ${result}, ${kept} rescued`)
      await quantized.dispose()
      await float.dispose()
    }
    return [
      {
        id: 'static',
        title: 'Static int8 with default settings',
        note: 'Calibrated on data that is not measured on. “Rescued”: activations and weights that the run itself found to ruin the model and gave 16 bits or left in float. Python: onnxruntime 1.31 with its defaults, measured elsewhere on this kind of machine',
        columns: ['model', 'size', 'lowbit', 'rescued', 'Python', 'to reach'],
        rows: cells,
      },
    ]
  },
}
