import { LowbitError, type Json, type PluginTable } from '@lowbit/core'
import { serveQuantize } from '@lowbit/jobs'
import { openOnnx } from './open-onnx.js'
import { ortModuleOf } from './ort.js'

/** What the ready worker takes as `open`; all by address, since modules cannot move to a worker. */
export interface OnnxWorkerOptions {
  /** Address of ONNX Runtime's module (`ort.wasm.min.mjs`), for all that runs the model. Rounding without data needs none. */
  readonly ort?: string
  /** Package name → address of its module, whose factory it exports under the name after `algos-`: `gptq`, `awq`, `hqq` … */
  readonly algorithms?: Readonly<Record<string, string>>
}

/** Filled by the `open` of a run, before its recipe is read. */
const algorithms: Record<string, PluginTable[string]> = {}

serveQuantize({
  algorithms,
  async open(model, options) {
    const { ort, algorithms: modules = {} } = readOptions(options)
    for (const [name, address] of Object.entries(modules)) algorithms[name] ??= await factoryIn(address, name)
    return openOnnx(model, ort === undefined ? {} : { ort: ortModuleOf(await load(ort)) })
  },
})

/** What comes from another thread is checked. */
function readOptions(options: Json): OnnxWorkerOptions {
  if (options === null) return {}
  if (typeof options !== 'object' || Array.isArray(options)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'open', found: JSON.stringify(options), expected: '{ ort, algorithms }, addresses of modules' })
  const { ort, algorithms: modules } = options as { readonly [key: string]: Json | undefined }
  const addresses = typeof modules === 'object' && modules !== null && !Array.isArray(modules) ? Object.entries(modules).filter((entry): entry is [string, string] => typeof entry[1] === 'string') : []
  return { ...(typeof ort === 'string' ? { ort } : {}), algorithms: Object.fromEntries(addresses) }
}

async function load(address: string): Promise<unknown> {
  try {
    return await import(/* @vite-ignore */ /* webpackIgnore: true */ address)
  } catch (cause) {
    throw new LowbitError('LOWBIT_DEPENDENCY', { thing: `module ${address}`, found: 'it could not be loaded in the worker', expected: 'the address of a module that imports nothing by a bare name', fix: 'workers know no import map: give a bundled file, or write a worker of your own with serveQuantize and let a bundler build it', cause })
  }
}

async function factoryIn(address: string, name: string): Promise<PluginTable[string]> {
  const loaded = await load(address)
  const short = name.replace(/^.*algos-/, '')
  const found = Object.entries(typeof loaded === 'object' && loaded !== null ? loaded : {}).find(([key]) => key.toLowerCase() === short)
  if (found === undefined || typeof found[1] !== 'function') throw new LowbitError('LOWBIT_DEPENDENCY', { thing: `module ${address}`, found: `no export named ${short}`, expected: `the factory of ${name}` })
  const factory: unknown = found[1]
  return factory as PluginTable[string]
}
