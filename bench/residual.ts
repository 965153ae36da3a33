import { writeFileSync } from 'node:fs'
import { gptq } from '@lowbit/algos-gptq'
import { randomSigns, rotate } from '@lowbit/algos-rotate'
import { openOnnx } from '@lowbit/backend-ort'
import { int3, int4, quantize, rtn, type Report, type Scheme } from '@lowbit/core'
import { needSharedData } from './models/shared.ts'
import { storyCalibration, storyPerplexity } from './models/stories.ts'

const RESULT = new URL('results/residual.md', import.meta.url)
const SEEDS = [0, 1, 2]
const SCHEMES: Readonly<Record<string, Scheme>> = { 'int4, groups of 32': int4({ group: 32 }), 'int3, groups of 32': int3({ group: 32 }), 'int4 per channel': int4(), 'int3 per channel': int3() }
const ROUNDINGS = { 'round to nearest': rtn(), 'GPTQ, searched scales': gptq() }

/** stories260K with its residual stream turned: the float model, and what weights lose when they are rounded. */
export async function benchResidual(): Promise<void> {
  const path = needSharedData('stories260K.onnx')
  const float = await openOnnx(path)
  const [stream] = await float.capabilities.residual.streams()
  const lines = [`| float32 | ${(await storyPerplexity((b) => float.run(b))).toFixed(6)} |`]
  for (const seed of SEEDS) {
    const host = await openOnnx(path)
    await host.capabilities.residual.rotate(stream.id, { kind: 'rotate', signs: randomSigns(stream.channels, seed), order: stream.channels })
    lines.push(`| float32, turned, seed ${seed} | ${(await storyPerplexity((b) => host.run(b))).toFixed(6)} |`)
    await host.dispose()
  }
  await float.dispose()
  const rows: string[] = []
  for (const [name, weights] of Object.entries(SCHEMES)) {
    for (const [method, rounding] of Object.entries(ROUNDINGS)) {
      const run = async (seed: number | undefined): Promise<{ readonly perplexity: number; readonly report: Report }> => {
        const host = await openOnnx(path)
        const { report } = await quantize(host, { format: 'dequantize', weights, calibration: storyCalibration(64), exclude: ['*Gather*'], rounding, ...(seed === undefined ? {} : { seed, transforms: [rotate({ scope: 'residual', accept: 'always' })] }) })
        const perplexity = await storyPerplexity((b) => host.run(b))
        await host.dispose()
        return { perplexity, report }
      }
      const plain = await run(undefined)
      const turned = []
      for (const seed of SEEDS) turned.push(await run(seed))
      const ratios = turned.map(({ report }) => Number(report.transforms[0].notes?.['errorRatio']).toFixed(3))
      rows.push(`| ${name}, ${method} | ${plain.perplexity.toFixed(3)} | ${turned.map((t) => t.perplexity.toFixed(3)).join(', ')} | ${ratios.join(', ')} |`)
      console.log(rows.at(-1))
    }
  }
  writeFileSync(
    RESULT,
    `# The residual stream of stories260K, turned\n\n\`npm run bench -- residual\`: perplexity on the first 40 stories, calibrated on the next 64; ${stream.readers.length} sites read the stream, ${stream.writers.length} write to it. Seeds ${SEEDS.join(', ')}.\n\n| | perplexity |\n| --- | ---: |\n${lines.join('\n')}\n\n| weights | as they are | turned | weight error, turned over plain |\n| --- | ---: | ---: | ---: |\n${rows.join('\n')}\n`,
  )
}
