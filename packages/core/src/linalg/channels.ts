import { LowbitError } from '../errors.js'
import type { SiteWeight } from '../contract/v2/host.js'
import { wholly, type Slices } from '../slices/slices.js'

/** Elements between two cuts. */
const PIECE = 2 ** 18

/** What says which input channel a weight multiplies. */
export type ChannelLayout = Pick<SiteWeight, 'rows' | 'columns' | 'groups' | 'columnsPerChannel'>

/** Input channel of each weight of row `row`, by column: a grouped convolution's rows read the channels of their group. */
export function channelsOfRow(layout: ChannelLayout, row: number): (column: number) => number {
  const { rows, columns, groups, columnsPerChannel } = layout
  const first = Math.floor(row / (rows / groups)) * (columns / columnsPerChannel)
  return (column) => first + Math.floor(column / columnsPerChannel)
}

/**
 * Copy of a weight `[rows, columns]` with each column multiplied by the scale of its input channel: what a host does to the sites of
 * a fold group when the group's input is divided by `scales`.
 * @throws LOWBIT_SHAPE if the weight has channels without a scale.
 */
export function scaleColumns(weight: Float32Array, layout: ChannelLayout, scales: Float32Array): Float32Array<ArrayBuffer> {
  return wholly(scaleColumnSlices(weight, layout, scales))
}

/** {@link scaleColumns} in slices. */
export function* scaleColumnSlices(weight: Float32Array, layout: ChannelLayout, scales: Float32Array): Slices<Float32Array<ArrayBuffer>> {
  const { rows, columns, groups, columnsPerChannel } = layout
  const channels = (columns / columnsPerChannel) * groups
  if (channels !== scales.length || weight.length !== rows * columns) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: 'channel scales', found: `${scales.length} scales, a weight of ${weight.length} in ${rows} rows with ${channels} input channels`, expected: 'one scale an input channel' })
  }
  const out = new Float32Array(weight.length)
  const perCut = Math.ceil(PIECE / Math.max(1, columns))
  for (let n = 0; n < rows; n++) {
    const channel = channelsOfRow(layout, n)
    for (let k = 0; k < columns; k++) out[n * columns + k] = weight[n * columns + k] * scales[channel(k)]
    if (n % perCut === perCut - 1) yield
  }
  return out
}

/** max|w| of each input channel over all the sites that read it, `[channels]`. */
export function channelAbsMax(sites: readonly { readonly weight: ChannelLayout; readonly data: Float32Array }[], channels: number): Float32Array<ArrayBuffer> {
  return wholly(channelAbsMaxSlices(sites, channels))
}

/** {@link channelAbsMax} in slices. */
export function* channelAbsMaxSlices(sites: readonly { readonly weight: ChannelLayout; readonly data: Float32Array }[], channels: number): Slices<Float32Array<ArrayBuffer>> {
  const out = new Float32Array(channels)
  for (const { weight, data } of sites) {
    const perCut = Math.ceil(PIECE / Math.max(1, weight.columns))
    for (let n = 0; n < weight.rows; n++) {
      const channel = channelsOfRow(weight, n)
      for (let k = 0; k < weight.columns; k++) {
        const c = channel(k)
        const v = Math.abs(data[n * weight.columns + k])
        if (v > out[c]) out[c] = v
      }
      if (n % perCut === perCut - 1) yield
    }
  }
  return out
}
