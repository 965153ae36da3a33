import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** A training that was cut off: everything the next step follows from. */
export interface TrainState {
  /** Steps done. */
  readonly step: number
  /** Per variable: its values and the optimizer's two moments. */
  readonly slots: readonly { readonly values: Float32Array; readonly m: Float32Array; readonly v: Float32Array }[]
  /** `[step, loss]`, as the learning curve shows it. */
  readonly points: readonly (readonly [number, number])[]
}

/** Keeps a training's state in a folder, under everything that decides it: a changed setting starts anew. */
export interface Checkpoints {
  load(): Promise<TrainState | undefined>
  save(state: TrainState): Promise<void>
}

export async function checkpoints(folder: string, key: unknown): Promise<Checkpoints> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, `${createHash('sha256').update(JSON.stringify(key)).digest('hex').slice(0, 16)}.ckpt`)
  return {
    async load() {
      const bytes = await readFile(path).catch(() => undefined)
      return bytes === undefined ? undefined : parse(bytes)
    },
    async save({ step, slots, points }) {
      const head = new TextEncoder().encode(JSON.stringify({ step, points, sizes: slots.map(({ values }) => values.length) }))
      const parts = slots.flatMap(({ values, m, v }) => [values, m, v].map((a) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength)))
      await writeFile(`${path}.tmp`, Buffer.concat([new Uint8Array(Uint32Array.of(head.length).buffer), head, ...parts]))
      await rename(`${path}.tmp`, path)
    },
  }
}

function parse(bytes: Buffer): TrainState {
  const headLength = bytes.readUInt32LE(0)
  const { step, points, sizes } = JSON.parse(bytes.toString('utf8', 4, 4 + headLength)) as { step: number; points: [number, number][]; sizes: number[] }
  let at = 4 + headLength
  if (bytes.length !== at + sizes.reduce((sum, size) => sum + 12 * size, 0)) throw new Error('the checkpoint is cut off: remove it to start anew')
  const floats = (size: number): Float32Array => {
    const out = new Float32Array(bytes.buffer.slice(bytes.byteOffset + at, bytes.byteOffset + at + 4 * size))
    at += 4 * size
    return out
  }
  return { step, points, slots: sizes.map((size) => ({ values: floats(size), m: floats(size), v: floats(size) })) }
}
