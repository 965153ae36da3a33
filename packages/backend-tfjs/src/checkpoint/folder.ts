import { LowbitError, parseJsonText } from '@lowbit/core'
import type { io } from '@tensorflow/tfjs-core'

/** Largest `model.json` that is read. */
const MAX_JSON = 256 * 2 ** 20
/** Largest file of weights. */
const MAX_WEIGHTS = 2 ** 33

/**
 * A folder with `model.json` and its weights, in tfjs's own form, for Node without tfjs-node. Weights get a new name each time and
 * `model.json` is renamed last, so that a killed process leaves the old checkpoint or the new one, whole.
 */
export function checkpointFolder(path: string): io.IOHandler {
  return {
    async save(artifacts) {
      const { atomicWrite, join, makeFolder, removeFiles } = await import('@lowbit/formats/node')
      await makeFolder(path)
      const data = artifacts.weightData
      if (data === undefined || Array.isArray(data)) throw new LowbitError('LOWBIT_INTERNAL', { thing: path, found: 'weights that are not one buffer' })
      const weights = `weights.${Date.now().toString(36)}.bin`
      await atomicWrite(join(path, weights), [new Uint8Array(data)])
      const json = { format: 'layers-model', generatedBy: 'lowbit', convertedBy: null, modelTopology: artifacts.modelTopology, userDefinedMetadata: artifacts.userDefinedMetadata, weightsManifest: [{ paths: [weights], weights: artifacts.weightSpecs }] }
      await atomicWrite(join(path, 'model.json'), [new TextEncoder().encode(JSON.stringify(json))])
      await removeFiles(path, (old) => /^weights\.\w+\.bin$/.test(old) && old !== weights)
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } }
    },
    async load() {
      const { join, readTextFile, readWholeFile } = await import('@lowbit/formats/node')
      const main = join(path, 'model.json')
      const text = await readTextFile(main, MAX_JSON)
      let json: unknown
      try {
        json = parseJsonText(text)
      } catch (cause) {
        throw new LowbitError('LOWBIT_CHECKPOINT', { thing: main, found: 'not JSON', expected: 'a checkpoint', cause })
      }
      if (!isManifest(json)) throw new LowbitError('LOWBIT_CHECKPOINT', { thing: main, found: 'no list of weights', expected: 'a checkpoint' })
      const [group] = json.weightsManifest
      const name = group.paths[0]
      // The name comes from the file: it must stay in the folder.
      if (!/^[\w.-]+$/.test(name) || name.includes('..')) throw new LowbitError('LOWBIT_CHECKPOINT', { thing: main, found: `weights in '${name}'`, expected: 'a file of the same folder' })
      const wanted = group.weights.reduce((sum, w) => sum + 4 * w.shape.reduce((a, b) => a * b, 1), 0)
      const bytes = await readWholeFile(join(path, name), MAX_WEIGHTS)
      if (bytes.length !== wanted) throw new LowbitError('LOWBIT_CHECKPOINT', { thing: join(path, name), found: `${bytes.length} bytes`, expected: `${wanted}` })
      const weightData = bytes.buffer
      return { modelTopology: json.modelTopology, weightSpecs: group.weights, weightData, userDefinedMetadata: json.userDefinedMetadata }
    },
  }
}

interface Manifest {
  readonly modelTopology: object
  readonly userDefinedMetadata: { [key: string]: object }
  readonly weightsManifest: readonly { readonly paths: readonly string[]; readonly weights: io.WeightsManifestEntry[] }[]
}

function isManifest(json: unknown): json is Manifest {
  if (typeof json !== 'object' || json === null || !('weightsManifest' in json) || !Array.isArray(json.weightsManifest)) return false
  const group: unknown = json.weightsManifest[0]
  if (typeof group !== 'object' || group === null || !('paths' in group) || !('weights' in group)) return false
  const { paths, weights } = group
  return Array.isArray(paths) && typeof paths[0] === 'string' && Array.isArray(weights) && weights.every((w: unknown) => typeof w === 'object' && w !== null && 'name' in w && 'shape' in w && Array.isArray(w.shape))
}
