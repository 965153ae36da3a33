import { DifferenceMeter, LowbitError, top1Agreement, type Batch, type BatchSource, type HostTensor } from '@lowbit/core'

/** A measure of a model on data; higher is better. */
export type Metric = (run: (batch: Batch) => Promise<Batch>) => Promise<number>

export const METRICS = ['top1', 'agreement', 'sqnr'] as const

export type MetricName = (typeof METRICS)[number]

/**
 * The built-in metrics over the first output: `top1` accuracy against labels, `agreement` of the top-1 with the float model's,
 * `sqnr` in dB against the float model's output.
 */
export function builtInMetric(name: MetricName, data: BatchSource, reference: (batch: Batch) => Promise<Batch>, labels: readonly number[] | undefined): Metric {
  if (name === 'top1') {
    if (labels === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--metric top1', found: 'no labels', expected: '--labels, a file with one class index a sample', fix: 'or use --metric agreement, which needs none' })
    return (run) => accuracy(data, run, labels)
  }
  return async (run) => {
    const meter = new DifferenceMeter()
    let agreeing = 0
    let rows = 0
    for await (const batch of data) {
      const want = firstOutput(await reference(batch))
      const got = firstOutput(await run(batch))
      const [a, n] = top1Agreement(want.values, got.values, want.width)
      agreeing += a
      rows += n
      meter.add(want.values, got.values)
    }
    return name === 'sqnr' ? meter.result().sqnr : agreeing / Math.max(1, rows)
  }
}

async function accuracy(data: BatchSource, run: (batch: Batch) => Promise<Batch>, labels: readonly number[]): Promise<number> {
  let right = 0
  let seen = 0
  for await (const batch of data) {
    const { values, width } = firstOutput(await run(batch))
    for (let row = 0; (row + 1) * width <= values.length; row++, seen++) {
      if (seen >= labels.length) throw new LowbitError('LOWBIT_DATA', { thing: 'labels', found: `${labels.length} of them`, expected: 'one for each sample' })
      let best = 0
      for (let c = 1; c < width; c++) if (values[row * width + c] > values[row * width + best]) best = c
      if (best === labels[seen]) right++
    }
  }
  return right / Math.max(1, seen)
}

function firstOutput(outputs: Batch): { readonly values: Float64Array; readonly width: number } {
  const [tensor]: readonly (HostTensor | undefined)[] = Object.values(outputs)
  if (tensor === undefined) throw new LowbitError('LOWBIT_DATA', { thing: 'model', found: 'no output', expected: 'at least one' })
  return { values: Float64Array.from({ length: tensor.data.length }, (_, i) => Number(tensor.data[i])), width: tensor.shape.at(-1) ?? 1 }
}
