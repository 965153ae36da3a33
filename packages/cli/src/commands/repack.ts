import type { Command } from 'commander'
import { LowbitError } from '@lowbit/core'
import { PACKINGS, repackFolder, type Packing, type RepackedWeight } from '@lowbit/formats/checkpoints'
import { atomicWrite, folderFiles, join, lockOutput, makeFolder, openHuggingFaceFolder, resolvePath } from '@lowbit/formats/node'
import { QUIET_FLAGS, type OutputValues } from '../flags/common.js'
import { addFlags, readFlags, type FlagsOf } from '../flags/flag.js'
import { processTerminal } from '../output/terminal.js'

interface RepackValues extends Pick<OutputValues, 'json' | 'quiet'> {
  readonly to: Packing
}

const FLAGS: FlagsOf<RepackValues> = {
  to: { flags: '--to <format>', option: { type: 'choice', values: PACKINGS, required: true, about: 'how weights are packed' } },
  ...QUIET_FLAGS,
}

/** `lowbit repack` */
export function repackCommand(program: Command): void {
  const command = program.command('repack').description('bring a folder of packed weights into another packing: exact, or with the error of each weight').argument('<from>', 'a model folder: GPTQ, AWQ, compressed-tensors, bitsandbytes, MLX or BitNet').argument('<folder>', 'where the new one is written')
  addFlags(command, FLAGS)
    .addHelpText('after', '\nEvery weight is read back from its new tensors before it is written.\n\nExamples:\n  $ lowbit repack Qwen2.5-0.5B-GPTQ/ Qwen2.5-0.5B-AWQ/ --to awq\n  $ lowbit repack model-gptq-v1/ model-gptq-v2/ --to gptq_v2\n  $ lowbit repack bitnet-2b/ bitnet-mlx/ --to mlx')
    .action(async (from: string, folder: string) => {
      const { to, json, quiet } = readFlags<RepackValues>(command, FLAGS)
      if (resolvePath(from) === resolvePath(folder)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'output', found: `the folder that is read, ${from}`, expected: 'another folder' })
      const terminal = processTerminal({ quiet: quiet === true || json === true })
      await using source = await openHuggingFaceFolder(from)
      await makeFolder(folder)
      const lock = await lockOutput(join(folder, 'config.json'))
      const weights: RepackedWeight[] = []
      try {
        for await (const { name, bytes } of repackFolder(source, folderFiles(from), to, { signal: terminal.signal, onProgress: terminal.onProgress, onWeight: (w) => weights.push(w) })) await atomicWrite(join(folder, name), [bytes])
      } finally {
        terminal.stop()
        await lock.release()
      }
      terminal.print(json === true ? JSON.stringify({ folder, to, weights }, null, 2) : describe(folder, to, weights))
    })
}

function describe(folder: string, to: Packing, weights: readonly RepackedWeight[]): string {
  const changed = weights.filter((w) => !w.exact)
  if (changed.length === 0) return `${folder}: ${weights.length} weights as ${to}, exact`
  const worst = [...changed].sort((a, b) => b.largest - a.largest).slice(0, 5)
  return [
    `${folder}: ${weights.length} weights as ${to}, ${weights.length - changed.length} exact`,
    ...[...new Set(changed.map((w) => w.changed ?? 'another order of roundings'))].map((why) => `  ${changed.filter((w) => (w.changed ?? 'another order of roundings') === why).length} changed: ${why}`),
    'Largest errors:',
    ...worst.map((w) => `  ${w.layer}: ${w.largest.toPrecision(3)} at row ${w.row}, column ${w.column}; ${w.rms.toPrecision(3)} in the mean square`),
  ].join('\n')
}
