import { LowbitError, resolveOptions, type DeclarationsOf, type SyncKernelProvider } from '@lowbit/core'
import { MOST_THREADS } from './control.js'
import { SCHEMES, type ByteDot } from './format.js'
import { instantiate, makeMemory, moduleBytes, type WasmTier } from './instance.js'
import { Pool, possibleThreads } from './pool.js'
import { probeRelaxedSimd } from './probe.js'
import { ACTIVATIONS, PROGRAMS } from './program/supports.js'
import { ROUNDINGS } from './roundings.js'
import { ScalarKernels } from './scalar-kernels.js'
import { WasmKernels } from './wasm-kernels.js'

export type Tier = WasmTier | 'scalar'

export interface WasmKernelOptions {
  /** The fastest tier that gives right sums here, unless one is named. */
  readonly tier?: Tier
  /** Default `min(4, cores / 2)`, 1 where memory cannot be shared. */
  readonly threads?: number
  /** Where {@link WORKER_SOURCE} is served as a file: for pages whose Content-Security-Policy forbids workers from `blob:`. */
  readonly workerUrl?: string | URL
}

/** What {@link createWasmKernels} takes. */
export const WASM_KERNEL_OPTIONS = {
  tier: { type: 'choice', values: ['relaxed-simd', 'simd128', 'scalar'], otherwise: 'the fastest that works', about: 'which instructions are used' },
  threads: { type: 'integer', minimum: 1, maximum: MOST_THREADS, otherwise: 'half the cores, at most 4', about: 'threads that share a product' },
  workerUrl: { type: 'either', of: [{ type: 'text' }, { type: 'object', has: ['href'] }], about: 'where the source of the workers is served as a file' },
} as const satisfies DeclarationsOf<WasmKernelOptions>

/**
 * Kernels for low-bit weights in WebAssembly SIMD, for browsers and Node. Nothing is compiled or started before this call.
 *
 * The tier is chosen by trying it on known numbers: relaxed SIMD if its dot product is right, else simd128, else plain
 * TypeScript. All tiers, engines and numbers of threads give the same bits.
 * @throws LOWBIT_UNSUPPORTED if a named tier does not run here, LOWBIT_ARGUMENT naming the option
 */
export async function createWasmKernels(options: WasmKernelOptions = {}): Promise<SyncKernelProvider> {
  resolveOptions<WasmKernelOptions, typeof WASM_KERNEL_OPTIONS>(WASM_KERNEL_OPTIONS, options, 'createWasmKernels')
  const { tier, findings, byteDot } = chooseTier(options.tier)
  if (tier === 'scalar') return new ScalarKernels(findings)
  const wanted = chooseThreads(options.threads, findings)
  const shared = wanted > 1
  const module = await WebAssembly.compile(moduleBytes(tier, shared))
  const memory = makeMemory(shared)
  const exports = instantiate(module, memory)
  const pool = shared ? await Pool.start(wanted - 1, module, memory, exports, (sentence) => findings.push(sentence), options.workerUrl) : undefined
  return new WasmKernels({ exports, memory, pool, dots: { relaxed: tier === 'relaxed-simd', bytes: byteDot }, supports: { tier, threads: pool?.threads ?? 1, synchronous: true, reproducible: 'rows', schemes: SCHEMES, activations: ACTIVATIONS, programs: PROGRAMS, findings, ...ROUNDINGS } })
}

function chooseTier(wanted: Tier | undefined): { tier: Tier; findings: string[]; byteDot?: ByteDot } {
  if (wanted === 'scalar') return { tier: 'scalar', findings: ['plain TypeScript, as asked for'] }
  if (typeof WebAssembly === 'undefined' || !WebAssembly.validate(moduleBytes('simd128', false))) {
    if (wanted !== undefined) throw refused(wanted, ['this engine has no WebAssembly SIMD'])
    return { tier: 'scalar', findings: ['this engine has no WebAssembly SIMD; plain TypeScript runs'] }
  }
  const blocked = compilationBlocked()
  if (blocked !== undefined) {
    if (wanted !== undefined) throw refused(wanted, [blocked], "add 'wasm-unsafe-eval' to script-src, or leave `tier` out to run plain TypeScript")
    return { tier: 'scalar', findings: [`${blocked}; plain TypeScript runs`] }
  }
  if (wanted === 'simd128') return { tier: 'simd128', findings: ['simd128, as asked for'] }
  const { relaxed, findings } = probeRelaxedSimd()
  if (relaxed !== 'absent' && relaxed !== 'wrong') return { tier: 'relaxed-simd', findings: [...findings], byteDot: relaxed === 'saturating' ? undefined : relaxed }
  if (wanted !== undefined) throw refused(wanted, findings)
  return { tier: 'simd128', findings: [...findings] }
}

function refused(tier: Tier, findings: readonly string[], fix = 'leave `tier` out to get the fastest that works'): LowbitError {
  return new LowbitError('LOWBIT_UNSUPPORTED', { thing: `kernel tier ${tier}`, found: findings.join('; '), fix })
}

/** The least module there is: a header. */
const EMPTY_MODULE = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)

/** Why this page may not compile WebAssembly, if it may not: engines only say so when one tries. */
function compilationBlocked(): string | undefined {
  try {
    new WebAssembly.Module(EMPTY_MODULE)
    return undefined
  } catch (cause) {
    return `the page's Content-Security-Policy forbids WebAssembly: script-src lacks 'wasm-unsafe-eval' (${cause instanceof Error ? cause.message.slice(0, 120) : String(cause)})`
  }
}

function chooseThreads(wanted: number | undefined, findings: string[]): number {
  const { cores, shared } = possibleThreads()
  const threads = wanted ?? Math.max(1, Math.min(4, Math.floor(cores / 2)))
  if (threads > 1 && !shared) {
    findings.push('memory cannot be shared here (the page is not cross-origin isolated); one thread runs')
    return 1
  }
  return threads
}
