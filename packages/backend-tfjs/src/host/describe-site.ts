import type { Site } from '@lowbit/core'
import type { SiteState } from './site-state.js'

/** A site as the host shows it. */
export function describeSite({ at, input }: SiteState): Site {
  return {
    id: at.id,
    kind: at.weight.kind,
    op: at.op,
    weight: { name: at.variable.originalName, dtype: 'float32', rows: at.rows, columns: at.columns, shape: at.variable.shape, groups: at.groups, columnsPerChannel: at.columnsPerChannel },
    input: { name: input, dtype: at.weight.kind === 'embedding' ? 'int32' : 'float32', ...(at.input === undefined ? {} : { shape: at.input.map((s, i) => s ?? (i === 0 ? 'batch' : `dim${i}`)) }) },
    output: { name: at.weight.suffix === '/depthwise' ? `${at.id}.out` : at.layer.name },
    block: at.block,
  }
}
