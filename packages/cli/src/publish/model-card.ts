import { formatBytes, formatDecibels, formatPercent } from '@lowbit/report'
import { VARIANTS } from './dtypes.js'
import type { Variant } from './make-variant.js'

export interface CardFacts {
  readonly name: string
  /** Bytes of the float model. */
  readonly size: number
  readonly variants: readonly Variant[]
  /** The data was the user's, not random numbers. */
  readonly measured: boolean
  readonly batches: number
  /** Runtime and processor that each variant was run on. */
  readonly ranOn: string
}

/** A README.md for the folder: what each file is, how large, how close to the original, and where that was measured. */
export function modelCard({ name, size, variants, measured, batches, ranOn }: CardFacts): string {
  const made = variants.filter((v) => v.bytes !== undefined || v.dtype === 'fp32')
  const refused = variants.filter((v) => v.refused !== undefined)
  const rows = made.map((v) => {
    const bytes = v.bytes?.length ?? size
    const worst = v.comparison?.outputs.reduce((low, o) => Math.min(low, o.sqnr), Infinity)
    const agreement = v.comparison?.outputs.map((o) => o.top1).find((t) => t !== undefined)
    return `| \`onnx/model${VARIANTS[v.dtype].suffix}.onnx\` | ${v.dtype} | ${formatBytes(bytes)} | ${formatPercent(bytes / size, 1)} | ${worst === undefined ? 'the original' : `${formatDecibels(worst)} dB`} | ${agreement === undefined ? '' : formatPercent(agreement, 1)} | ${[VARIANTS[v.dtype].about, ...v.notes].join('; ')} |`
  })
  return [
    '---', 'library_name: transformers.js', '---', '', `# ${name}`, '',
    'Variants for transformers.js and ONNX Runtime. Each was loaded and compared with the float32 model before it was written.', '',
    '| file | dtype | size | of float32 | signal over noise, worst output | same answer | what it is |', '| --- | --- | ---: | ---: | ---: | ---: | --- |', ...rows, '',
    `Compared on ${batches} batches of ${measured ? 'data' : 'random numbers, which show that a variant runs and roughly how far it is off, not how well it does its task'}. Run on ${ranOn}; other runtimes and devices were not tried.`,
    ...(refused.length === 0 ? [] : ['', 'Not made:', '', ...refused.map((v) => `- ${v.dtype}: ${v.refused ?? ''}`)]),
    '', '```js', "import { AutoModel } from '@huggingface/transformers'", '', `const model = await AutoModel.from_pretrained('${name}', { dtype: '${made.some((v) => v.dtype === 'q8') ? 'q8' : (made[0]?.dtype ?? 'fp32')}' })`, '```', '',
  ].join('\n')
}
