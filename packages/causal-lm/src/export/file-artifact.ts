import { LowbitError, type Artifact } from '@lowbit/core'

/** Files up to this size are made at once, so that `bytes()` can give them; larger ones are made while they are saved. */
const HELD = 256 * 2 ** 20

/** Makes the pieces of a file anew, in order. */
export type MakePieces = (signal?: AbortSignal) => AsyncIterable<Uint8Array>

/** An artifact of one file. A large one reads the model while it is saved: its host must live until then. */
export async function fileArtifact(format: string, size: number, notes: readonly string[], pieces: MakePieces, signal?: AbortSignal): Promise<Artifact> {
  const held = size <= HELD ? await collect(size, pieces(signal)) : undefined
  return {
    format,
    size,
    notes,
    bytes() {
      if (held !== undefined) return held
      throw new LowbitError('LOWBIT_LIMIT', { thing: `a ${format} file of ${size} bytes`, found: 'asked for as one buffer', expected: `at most ${HELD} bytes`, fix: 'save it to a path' })
    },
    async save(path) {
      const { atomicWrite } = await import('@lowbit/formats/node')
      await atomicWrite(path, held === undefined ? pieces(signal) : [held], signal === undefined ? {} : { signal })
    },
  }
}

async function collect(size: number, pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const whole = new Uint8Array(size)
  let at = 0
  for await (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}
