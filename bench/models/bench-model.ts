import type { Batch, HostTensor } from '@lowbit/core'

/** Runs a model on one batch. */
export type Run = (batch: Batch) => Promise<Batch>

/** A model with the data to calibrate and to judge it. */
export interface BenchModel {
  readonly name: string
  /** The float model. */
  readonly path: string
  /** Calibration inputs: none of them is a test input. */
  calibration(): Promise<readonly Batch[]>
  /** How a model does on the test inputs, beside the float one. */
  evaluate(float: Run, quantized: Run): Promise<Scores>
}

/**
 * Figures by name. `accuracy`: share of inputs whose top-1 is their label; `agreement`: share with the float model's top-1;
 * `decibels`: output signal over output noise.
 */
export type Scores = Readonly<Record<string, number>>

/**
 * Compares classifiers output by output: top-1 agreement and signal-to-noise ratio over all of it, and accuracy where there are labels.
 * @param labels class of each row of the outputs, in order
 */
export async function compareClassifiers(inputs: Iterable<Batch>, float: Run, quantized: Run, labels?: readonly number[]): Promise<Scores> {
  let agree = 0
  let right = 0
  let rows = 0
  let signal = 0
  let noise = 0
  for (const batch of inputs) {
    const want = onlyOutput(await float(batch))
    const got = onlyOutput(await quantized(batch))
    const classes = want.shape.at(-1) ?? 1
    for (let from = 0; from < want.data.length; from += classes) {
      const answer = top(got, from, classes)
      if (answer === top(want, from, classes)) agree++
      if (answer === labels?.[rows]) right++
      rows++
    }
    want.data.forEach((value, i) => {
      signal += value ** 2
      noise += (value - (got.data[i] ?? 0)) ** 2
    })
  }
  if (labels !== undefined && labels.length !== rows) throw new RangeError(`${labels.length} labels for ${rows} rows`)
  return { agreement: agree / rows, decibels: 10 * Math.log10(signal / noise), inputs: rows, ...(labels === undefined ? {} : { accuracy: right / rows }) }
}

/** The first output of a model, which must be float32. */
export function onlyOutput(outputs: Batch): HostTensor<'float32'> {
  const [tensor] = Object.values(outputs)
  if (tensor === undefined || !(tensor.data instanceof Float32Array)) throw new TypeError('expected a float32 output')
  return { dtype: 'float32', shape: tensor.shape, data: tensor.data }
}

function top({ data }: HostTensor<'float32'>, from: number, classes: number): number {
  let best = 0
  for (let c = 1; c < classes; c++) if ((data[from + c] ?? 0) > (data[from + best] ?? 0)) best = c
  return best
}
