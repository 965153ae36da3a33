import { channelsOfRow, roundHalfEven, wholly, type ChannelLayout, type HostTensor, type Slices } from '@lowbit/core'

/** Elements between two cuts. */
const PIECE = 2 ** 17

/** A consumer of the smoothed input. */
export interface Consumer {
  readonly weight: ChannelLayout
  readonly tensor: HostTensor<'float32'>
}

/** How the input is quantized: a scale for each row, or one for all. */
export type ActivationScale = 'token' | 'tensor'

/**
 * Mean squared error of the consumers' outputs with int8 activations and int8 weights (one scale a row), averaged over consumers,
 * after smoothing by `scales`. Codes are `rint(v / s)`, `s = absmax / 127`.
 * @param x rows of the input in the columns of the weight, `[rows, groups · K]`
 */
export function int8Error(x: HostTensor<'float32'>, consumers: readonly Consumer[], scales: Float32Array, mode: ActivationScale): number {
  return wholly(int8ErrorSlices(x, consumers, scales, mode))
}

/** {@link int8Error} in slices. */
export function* int8ErrorSlices(x: HostTensor<'float32'>, consumers: readonly Consumer[], scales: Float32Array, mode: ActivationScale): Slices<number> {
  let total = 0
  for (const { weight, tensor } of consumers) total += yield* consumerError(x, weight, tensor.data, scales, mode)
  return total / consumers.length
}

function* consumerError(x: HostTensor<'float32'>, layout: ChannelLayout, w: Float32Array, scales: Float32Array, mode: ActivationScale): Slices<number> {
  const [samples, width] = x.shape
  const { rows, columns: k, groups, columnsPerChannel } = layout
  const perCut = Math.ceil(PIECE / k)
  const smoothed = Float64Array.from(x.data, (v, i) => v / scales[Math.floor((i % width) / columnsPerChannel)])
  yield
  const activations = mode === 'tensor' ? yield* rounded(smoothed, smoothed.length) : yield* rounded(smoothed, width)
  const scaled = new Float64Array(w.length)
  for (let n = 0; n < rows; n++) {
    const channel = channelsOfRow(layout, n)
    for (let c = 0; c < k; c++) scaled[n * k + c] = w[n * k + c] * scales[channel(c)]
    if (n % perCut === perCut - 1) yield
  }
  const weights = yield* rounded(scaled, k)
  let error = 0
  for (let r = 0; r < samples; r++) {
    for (let n = 0; n < rows; n++) {
      const from = r * width + Math.floor(n / (rows / groups)) * k
      let want = 0
      let got = 0
      for (let c = 0; c < k; c++) {
        want += smoothed[from + c] * scaled[n * k + c]
        got += activations[from + c] * weights[n * k + c]
      }
      error += (got - want) ** 2
      if (n % perCut === perCut - 1) yield
    }
  }
  return error / (samples * rows)
}

/** Rounded to int8 and back, one scale for each run of `length` values. */
function* rounded(values: Float64Array, length: number): Slices<Float64Array> {
  const out = new Float64Array(values.length)
  for (let from = 0; from < values.length; from += length) {
    let top = 0
    for (let i = from; i < from + length; i++) top = Math.max(top, Math.abs(values[i]))
    const scale = top === 0 ? 1 : top / 127
    for (let i = from; i < from + length; i++) out[i] = roundHalfEven(values[i] / scale) * scale
    if (from % PIECE < length) yield
  }
  return out
}
