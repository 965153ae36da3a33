import { LowbitError } from '../errors.js'
import type { SiteWeight } from '../contract/v2/host.js'

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
  const { rows, columns, groups, columnsPerChannel } = layout
  const channels = (columns / columnsPerChannel) * groups
  if (channels !== scales.length || weight.length !== rows * columns) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: 'channel scales', found: `${scales.length} scales, a weight of ${weight.length} in ${rows} rows with ${channels} input channels`, expected: 'one scale an input channel' })
  }
  const out = new Float32Array(weight.length)
  for (let n = 0; n < rows; n++) {
    const channel = channelsOfRow(layout, n)
    for (let k = 0; k < columns; k++) out[n * columns + k] = weight[n * columns + k] * scales[channel(k)]
  }
  return out
}

/** max|w| of each input channel over all the sites that read it, `[channels]`. */
export function channelAbsMax(sites: readonly { readonly weight: ChannelLayout; readonly data: Float32Array }[], channels: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(channels)
  for (const { weight, data } of sites) {
    for (let n = 0; n < weight.rows; n++) {
      const channel = channelsOfRow(weight, n)
      for (let k = 0; k < weight.columns; k++) {
        const c = channel(k)
        const v = Math.abs(data[n * weight.columns + k])
        if (v > out[c]) out[c] = v
      }
    }
  }
  return out
}
