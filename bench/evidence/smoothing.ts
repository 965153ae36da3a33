import { smoothQuant } from '@lowbit/algos-smoothquant'
import { openOnnx } from '@lowbit/backend-ort'
import { int8, quantize, type QuantizeOptions } from '@lowbit/core'
import { stories, type Run } from '../models/index.ts'
import type { EvidenceModule } from './types.ts'

const KINDS: Readonly<Record<string, Pick<QuantizeOptions, 'format' | 'activations'>>> = {
  'static int8': { format: 'qdq', activations: { dtype: 'uint8' } },
  'dynamic int8': { format: 'dynamic' },
}

const SMOOTHING: Readonly<Record<string, Pick<QuantizeOptions, 'transforms'>>> = {
  'as it is': {},
  'α 0.5': { transforms: [smoothQuant()] },
  'α 0.8': { transforms: [smoothQuant({ alpha: 0.8 })] },
  'α searched': { transforms: [smoothQuant({ alpha: 'search', activations: 'tensor' })] },
}

/** int8 on both sides with and without SmoothQuant: the written model, run by ONNX Runtime. */
export const smoothing: EvidenceModule = {
  name: 'ptq-smoothquant',
  async run(log) {
    const model = stories(64)
    const calibration = await model.calibration()
    const float = await openOnnx(model.path)
    const runFloat: Run = (batch) => float.run(batch)
    const rows: string[][] = [['float32', (await model.evaluate(runFloat, runFloat))['perplexity'].toFixed(3), '']]
    for (const [smooth, transforms] of Object.entries(SMOOTHING)) {
      const cells: string[] = []
      for (const [kind, options] of Object.entries(KINDS)) {
        const host = await openOnnx(model.path)
        const { artifact } = await quantize(host, { ...options, weights: int8(), exclude: ['*Gather*'], calibration, ...transforms })
        await host.dispose()
        const written = await openOnnx(artifact.bytes())
        cells.push((await model.evaluate(runFloat, (batch) => written.run(batch)))['perplexity'].toFixed(3))
        await written.dispose()
        log(`SmoothQuant: ${kind}, ${smooth}: ${cells.at(-1)}`)
      }
      rows.push([smooth, ...cells])
    }
    await float.dispose()
    return [{ id: 'smoothquant', title: 'stories260K with int8 activations', note: 'Perplexity on the first 40 stories, calibrated on the next 64; weights int8 per channel, 36 MatMul sites', columns: ['SmoothQuant', ...Object.keys(KINDS)], rows }]
  },
}
